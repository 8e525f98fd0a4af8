"""Tokenizers of Hugging Face: `tokenizer.json`, for example byte-level BPE, unigram or WordPiece.

The package `tokenizers` applies them.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from nmt.data.vocabulary import Span, Vocabulary
from nmt.errors import UserError
from nmt.version import install_command

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Names of special tokens; a missing one gets the first name.
PAD = ("<pad>", "[PAD]", "<|pad|>", "<blank>")
BOS = ("<s>", "[BOS]", "<bos>", "<|startoftext|>", "<|begin_of_text|>", "[CLS]")
EOS = ("</s>", "[EOS]", "<eos>", "<|endoftext|>", "<|end_of_text|>", "[SEP]")
UNK = ("<unk>", "[UNK]")
BYTE = re.compile(r"<0x[0-9A-F]{2}>")


class HuggingFaceVocabulary(Vocabulary):
    """A `tokenizer.json`.

    Special tokens that it lacks get the ids after its last one. Its template of special tokens, its
    padding and its truncation have no effect.

    Args:
        serialized: JSON with the content of the `tokenizer.json` as `tokenizer`

    Raises:
        ValueError: if it is not such a file
        UserError: if the package `tokenizers` is not installed
    """

    suffix = ".json"
    kind = "hugging_face"

    def __init__(self, serialized: bytes) -> None:
        super().__init__(serialized)
        values = json.loads(serialized)
        if not isinstance(values, dict) or values.get("type") != self.kind:
            raise ValueError("is not a vocabulary of this kind")
        content = str(values.get("tokenizer"))
        self._tokenizer = _parse(content)
        self._size: int = 1 + max(self._tokenizer.get_vocab().values(), default=-1)
        self._added: dict[int, str] = {}
        special = {
            token.content: i
            for i, token in self._tokenizer.get_added_tokens_decoder().items()
            if token.special
        }
        self.pad = self._find_or_add(PAD, special)
        self.bos = self._find_or_add(BOS, special)
        self.eos = self._find_or_add(EOS, special)
        unk = _unknown_id(json.loads(content)["model"], special)
        self.unk = self._find_or_add(UNK, {} if unk is None else {UNK[0]: unk})
        self._silent = {*self._added, self.pad, self.bos, self.eos}
        if len({*self.special_tokens, self.unk}) < 4:
            raise ValueError("has one token as two of <pad>, <s>, </s> and <unk>")

    @classmethod
    def make(cls, content: str, **others: object) -> "HuggingFaceVocabulary":
        """Make a vocabulary from the content of a `tokenizer.json`.

        Args:
            content: the content
            others: further values of the file
        """
        values = {"type": cls.kind, **others, "tokenizer": content}
        return cls(json.dumps(values, ensure_ascii=False).encode())

    def _find_or_add(self, names: Sequence[str], known: Mapping[str, int]) -> int:
        for name in names:
            if name in known:
                return known[name]
        added = len(self)
        self._added[added] = names[0]
        return added

    def normalize(self, text: str) -> str:
        normalizer = self._tokenizer.normalizer
        normalized: str = text if normalizer is None else normalizer.normalize_str(text)
        # The normalizer of SentencePiece models replaces spaces and adds one in front.
        return normalized.replace("\u2581", " ").removeprefix(" ")

    def __len__(self) -> int:
        return self._size + len(self._added)

    def tokens(self, ids: Iterable[int]) -> list[str]:
        # Ids may have gaps, which have no token.
        return [self._added.get(i) or self._tokenizer.id_to_token(i) or f"<{i}>" for i in ids]

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        # One by one, since batches of this library start a thread per core in each process.
        # A model may still have a token for text that spells a special one.
        return [
            [self.unk if i in self._silent else i for i in self._encode(text).ids] for text in texts
        ]

    def spans(self, text: str) -> list[Span]:
        return self._encode(text).offsets

    def _encode(self, text: str) -> Any:
        return self._tokenizer.encode(text, add_special_tokens=False)

    def token_texts(self) -> list[str | bytes]:
        content = json.loads(json.loads(self.serialized)["tokenizer"])
        text_of = _text_of_decoder(content.get("decoder") or {})
        # Added tokens are written as they are.
        added = self._tokenizer.get_added_tokens_decoder()
        return [
            "" if i in self._silent else token if i in added else text_of(token)
            for i, token in enumerate(self.tokens(range(len(self))))
        ]

    def decode(self, ids: Iterable[int]) -> str:
        return self._decode([i for i in map(int, ids) if i not in self._silent]).removeprefix(" ")

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False)
        return text

    def decode_with_spans(self, ids: Sequence[int]) -> tuple[str, list[Span]]:
        audible = [i for i in ids if i not in self._silent]
        text = self._decode(audible)
        # A token ends where the text of all tokens up to it ends; incomplete characters, which
        # decode to U+FFFD, belong to the token that completes them.
        ends, count = [0], 0
        for i in ids:
            end = ends[-1]
            if i not in self._silent:
                count += 1
                end = max(end, _equal_length(text, self._decode(audible[:count])))
            ends.append(end)
        skipped = len(text) - len(text.removeprefix(" "))
        ends = [max(end - skipped, 0) for end in ends]
        return text[skipped:], list(pairwise(ends))


def _text_of_decoder(decoder: Mapping[str, Any]) -> Callable[[str], str | bytes]:
    """Return the function from a token to its text, for the kinds of decoders.

    Raises:
        UserError: for another kind
    """
    kinds = [one["type"] for one in decoder.get("decoders", [decoder]) if "type" in one]
    if "ByteLevel" in kinds:
        return _text_of_bytes
    if "Metaspace" in kinds or "Replace" in kinds:
        return _text_of_piece
    if "WordPiece" in kinds:
        return lambda token: token.removeprefix("##") if token.startswith("##") else f" {token}"
    if "BPEDecoder" in kinds:
        return lambda token: token.replace("</w>", " ")
    raise UserError("constraints are not possible with this tokenizer.json; remove them")


def _text_of_piece(token: str) -> str | bytes:
    if BYTE.fullmatch(token):
        return bytes([int(token[3:5], 16)])
    return token.replace("\u2581", " ")


@cache
def _byte_of_characters() -> dict[str, int]:
    """Return the byte of each character that byte-level BPE writes in its place.

    Printable characters of Latin-1 have the bytes of their numbers; others follow U+0100 in order.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + number): byte for number, byte in enumerate(others)
    }


def _text_of_bytes(token: str) -> str | bytes:
    """Return the text of a token of byte-level BPE; its bytes if they are part of a character."""
    byte_of = _byte_of_characters()
    if not all(character in byte_of for character in token):
        return token
    content = bytes(byte_of[character] for character in token)
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def _equal_length(text: str, other: str) -> int:
    """Return the number of characters at the start that both texts share."""
    if text.startswith(other):  # the usual case
        return len(other)
    pairs = enumerate(zip(text, other, strict=False))
    return next((i for i, (one, two) in pairs if one != two), min(len(text), len(other)))


def _parse(content: str) -> "Tokenizer":
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise UserError(
            f"a tokenizer.json requires the package tokenizers; run {install_command('tokenizers')}"
        ) from error
    try:
        tokenizer = Tokenizer.from_str(content)
    except Exception as error:  # the only class that the library raises
        reason = " ".join(str(error).split())
        raise ValueError(f"is not a tokenizer.json that this version reads: {reason}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # Text that spells a special token is text.
    tokenizer.encode_special_tokens = True
    return tokenizer


def _unknown_id(model: Mapping[str, Any], special: Mapping[str, int]) -> int | None:
    """Return the id of the unknown token, which a byte-level model lacks."""
    if model.get("unk_id") is not None:
        return int(model["unk_id"])
    token = model.get("unk_token")
    vocabulary = model.get("vocab")
    if token is not None and isinstance(vocabulary, dict) and token in vocabulary:
        return int(vocabulary[token])
    return next((special[name] for name in UNK if name in special), None)
