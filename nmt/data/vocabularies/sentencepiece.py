"""SentencePiece vocabularies.

SentencePiece calls an entry of its models a piece. Here it is a token: a subword, a byte or a
special token.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import sentencepiece as spm

from nmt.data.vocabularies.jamo import JAMO, add_jamo
from nmt.data.vocabularies.merging import Drop, merge
from nmt.data.vocabularies.protobuf import (
    BPE,
    CHARSMAP,
    DENORMALIZER_SPEC,
    KIND,
    MODEL_TYPE,
    PIECES,
    TRAINER_SPEC,
    UNIGRAM,
    USER_DEFINED,
    read_fields,
    write_field,
)
from nmt.data.vocabularies.sentencepiece_training import (
    IDENTITY,
    NUM_SPECIAL_TOKENS,
    VocabularyType,
    train_sentencepiece,
)
from nmt.data.vocabulary import SamplingKind, Span, Vocabulary
from nmt.errors import UserError
from nmt.files import MAX_VOCABULARY_BYTES, read_regular

spm.set_min_log_level(3)

# Spaces inside tokens.
SPACE = "\u2581"


class SentencePieceVocabulary(Vocabulary):
    """A SentencePiece model.

    One that was trained elsewhere may lack `<pad>`, `<s>` or `</s>`. They get the ids after its
    last token, and `len` counts them.

    Args:
        model_proto: the serialized SentencePiece model
    """

    suffix = ".model"

    def __init__(self, model_proto: bytes) -> None:
        super().__init__(model_proto)
        self._processor = spm.SentencePieceProcessor(model_proto=model_proto)
        self._added: dict[int, str] = {}
        self.pad = self._find_or_add(self._processor.pad_id(), "<pad>")
        self.bos = self._find_or_add(self._processor.bos_id(), "<s>")
        self.eos = self._find_or_add(self._processor.eos_id(), "</s>")
        self.unk = self._processor.unk_id()

    def _find_or_add(self, token_id: int, token: str) -> int:
        # SentencePiece returns -1 for a special token that the model lacks.
        if token_id >= 0:
            return token_id
        token_id = len(self)
        self._added[token_id] = token
        return token_id

    @classmethod
    def train(
        cls,
        lines: Iterable[str],
        *,
        size: int,
        type: VocabularyType = "unigram",
        byte_fallback: bool = False,
        normalization: str = "nmt_nfkc",
        character_coverage: float = 1.0,
        user_defined_symbols: Sequence[str] = (),
        split_digits: bool = False,
    ) -> "SentencePieceVocabulary":
        """Train a vocabulary on text; the same text and options give the same bytes.

        Padding gets id 0, begin 1, end 2 and unknown 3.

        Args:
            lines: text, one sentence per line; read once
            size: number of tokens, including special tokens; an upper bound for `char`
            type: segmentation algorithm: `unigram`, `bpe` or `char`
            byte_fallback: encode characters outside the vocabulary as bytes instead of `<unk>`
            normalization: SentencePiece rule, nmt_nfkc, nfkc, nmt_nfkc_cf, nfkc_cf or identity; or
                jamo, see `nmt.data.vocabularies.jamo`
            character_coverage: share of the text's characters that become tokens, 0.98 to 1
            user_defined_symbols: strings that are always one token, and are never normalized
            split_digits: make every digit a token of its own

        Raises:
            SizeError: if the size does not suit the text
            UserError: if the text is empty, or an option is unknown
        """
        return cls(
            train_sentencepiece(
                lines,
                size=size,
                type=type,
                byte_fallback=byte_fallback,
                normalization=normalization,
                character_coverage=character_coverage,
                user_defined_symbols=user_defined_symbols,
                split_digits=split_digits,
            )
        )

    @classmethod
    def load(cls, path: Path | str, content: bytes | None = None) -> "SentencePieceVocabulary":
        """Load a SentencePiece model file.

        Args:
            path: the file
            content: its content, if it is known already

        Raises:
            UserError: if the file cannot be read or is not a usable SentencePiece model
        """
        model_proto = content
        if model_proto is None:
            model_proto = read_regular(Path(path), max_bytes=MAX_VOCABULARY_BYTES)
        try:
            # SentencePiece accepts empty bytes and fails later.
            if not model_proto:
                raise RuntimeError("empty file")
            vocabulary = cls(model_proto)
            # It also accepts tokens that Python cannot represent.
            vocabulary.tokens(range(len(vocabulary)))
            vocabulary.decode([vocabulary.unk])
        except RuntimeError as error:
            message = "is not a SentencePiece model; give a .model file written by SentencePiece"
            raise UserError(message, str(path)) from error
        except UnicodeDecodeError as error:
            message = "has a token that is not UTF-8; give the file that SentencePiece has written"
            raise UserError(message, str(path)) from error
        if len({*vocabulary.special_tokens, vocabulary.unk}) < NUM_SPECIAL_TOKENS:
            raise UserError(
                "has one token as two of <pad>, <s>, </s> and <unk>; train it with different ones",
                str(path),
            )
        return vocabulary

    def with_normalization(self, rule: str) -> "SentencePieceVocabulary":
        """Return a vocabulary with the same tokens, and a normalization rule in place of identity.

        It encodes a text as this one encodes the normalized text.
        """
        if rule == IDENTITY:
            return self
        if rule == JAMO:
            return SentencePieceVocabulary(add_jamo(self.serialized))
        # Serialized messages of protobuf are merged by concatenation: later fields replace earlier
        # ones. This one contains only the rule.
        normalizer = spm.SentencePieceNormalizer(
            rule_name=rule,
            add_dummy_prefix=True,
            escape_whitespaces=True,
            remove_extra_whitespaces=True,
        )
        return SentencePieceVocabulary(self.serialized + normalizer.serialized_model_proto())

    def normalize(self, text: str) -> str:
        normalized: str = self._processor.normalize(text)
        return normalized.replace(SPACE, " ")

    def denormalize(self, text: str) -> str:
        return text if self._denormalizer is None else self._denormalizer.normalize(text)

    @cached_property
    def _denormalizer(self) -> Any:
        """The normalizer of decoded text; None if it has no rules."""
        spec = b"".join(
            value
            for field, value in read_fields(self.serialized)
            if field == DENORMALIZER_SPEC and isinstance(value, bytes)
        )
        has_rules = any(field == CHARSMAP and value for field, value in read_fields(spec))
        return spm.SentencePieceNormalizer(normalizer_spec=spec) if has_rules else None

    @cached_property
    def _span_processor(self) -> Any:
        """A processor whose decoded text is not normalized: SentencePiece has no spans of it."""
        if self._denormalizer is None:
            return self._processor
        without_rules = write_field(DENORMALIZER_SPEC, write_field(CHARSMAP, b""))
        return spm.SentencePieceProcessor(model_proto=self.serialized + without_rules)

    def __len__(self) -> int:
        return self._processor.get_piece_size() + len(self._added)

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        # By default SentencePiece starts a thread per core, even in each of several processes.
        ids: list[list[int]] = self._processor.encode(texts, out_type=int, num_threads=1)
        return ids

    def spans(self, text: str) -> list[Span]:
        spans: list[Span] = self._processor.encode(text, return_type="offset_mapping")["offsets"]
        return spans

    def decode(self, ids: Iterable[int]) -> str:
        """Return the detokenized text of token ids.

        Padding, begin and end produce no text; invalid UTF-8 of byte tokens becomes U+FFFD.
        """
        text: str = self._processor.decode([i for i in map(int, ids) if i not in self._added])
        return text

    def decode_with_spans(self, ids: Sequence[int]) -> tuple[str, list[Span]]:
        known = [i for i in ids if i not in self._added]
        decoded = self._span_processor.decode(known, return_type="offset_mapping")
        text, offsets = decoded["text"], decoded["offsets"]
        if self._denormalizer is not None:
            text, origins = self._denormalizer.normalize(text, with_offsets=True)
            # A token covers the characters that begin in it.
            offsets = [tuple(bisect_left(origins, bound) for bound in span) for span in offsets]
        of_known, spans = iter(offsets), list[Span]()
        for i in ids:
            end = spans[-1][1] if spans else 0
            spans.append((end, end) if i in self._added else next(of_known))
        return text, spans

    def tokens(self, ids: Iterable[int]) -> list[str]:
        return [self._added.get(i) or self._processor.id_to_piece(i) for i in map(int, ids)]

    def token_texts(self) -> list[str | bytes]:
        processor, texts = self._processor, list[str | bytes]()
        for i, token in enumerate(self.tokens(range(processor.get_piece_size()))):
            if processor.is_byte(i):
                texts.append(bytes([int(token[1:-1], 16)]))  # <0x41>
            elif processor.is_control(i):
                texts.append("")
            else:
                texts.append(self.decode([i]) if i == self.unk else token.replace(SPACE, " "))
        return texts + [""] * len(self._added)

    @cached_property
    def sampling(self) -> SamplingKind | None:
        # SentencePiece does not expose the type of a model, but refuses n-best for other types.
        try:
            self._processor.nbest_encode("a", nbest_size=2, out_type=int)
        except RuntimeError:
            return "bpe" if _model_type(self.serialized) == BPE else None
        return "unigram"

    @cached_property
    def user_defined_symbols(self) -> list[str]:
        return [self._processor.id_to_piece(i) for i in _user_defined_ids(self.serialized)]

    def log_probs(self) -> list[float]:
        """Return the log probability of each token; -inf for special, unknown and byte tokens."""
        processor = self._processor
        # The scores of these tokens are 0 or meaningless, not log probabilities.
        excluded = (processor.is_control, processor.is_unknown, processor.is_byte)
        log_probs: list[float] = [
            -math.inf if any(test(i) for test in excluded) else processor.get_score(i)
            for i in range(processor.get_piece_size())
        ]
        return log_probs + [-math.inf] * len(self._added)

    def scores(self) -> list[float]:
        """Return the score of each token, of special ones too; its meaning depends on the type."""
        pieces = range(self._processor.get_piece_size())
        return [self._processor.get_score(i) for i in pieces] + [0.0] * len(self._added)

    def segmentations(self, ids: list[int], count: int) -> list[list[int]]:
        """Return the most probable segmentations of a word, best first.

        Some of them may contain unknown tokens. Only the given segmentation is returned if
        SentencePiece normalizes the text of the word to something else.

        Args:
            ids: token ids of the word
            count: maximum number of segmentations
        """
        nbest: list[list[int]] = self._processor.nbest_encode(
            self.decode(ids), nbest_size=count, out_type=int
        )
        # Normalization may differ for a word without its neighbors, for example at spaces.
        is_same_text = nbest and "".join(self.tokens(nbest[0])) == "".join(self.tokens(ids))
        return nbest if is_same_text else [ids]

    def drop_merges(self, ids: list[int], drop: Drop, count: int) -> list[list[int]]:
        """Return segmentations of a word by BPE, with merges dropped.

        Args:
            ids: token ids of the word, which keeps them if it has characters without a token
            drop: see `merge`
            count: number of segmentations
        """
        symbols = [
            symbol
            for token in self.tokens(ids)
            for symbol in ([token] if token in self.user_defined_symbols else token)
        ]
        ranks, known = self._merges
        if not known.keys() >= {*symbols}:
            return [ids] * count
        found = (
            merge(symbols, lambda left, right: ranks.get(left + right, math.inf), drop)
            for _ in range(count)
        )
        return [[known[token] for token in tokens] for tokens in found]

    @cached_property
    def _merges(self) -> tuple[dict[str, float], dict[str, int]]:
        """The rank of each token that merges may give, and the id of each token of text."""
        symbols, scores = {*self.user_defined_symbols}, self.log_probs()
        known = {
            token: i
            for i, token in enumerate(self.tokens(range(len(self))))
            if scores[i] > -math.inf
        }
        return {one: -scores[i] for one, i in known.items() if one not in symbols}, known


def _model_type(model_proto: bytes) -> int:
    """Return the type of a model, which the API of SentencePiece does not give."""
    specs = [value for field, value in read_fields(model_proto) if field == TRAINER_SPEC]
    trainer = specs[-1] if specs else b""
    assert isinstance(trainer, bytes)
    kinds = [value for field, value in read_fields(trainer) if field == MODEL_TYPE]
    return int(kinds[-1]) if kinds else UNIGRAM


def _user_defined_ids(model_proto: bytes) -> list[int]:
    """Return the ids of user-defined symbols, which the API of SentencePiece does not give."""
    kind = write_field(KIND, USER_DEFINED)
    fields = read_fields(model_proto)
    tokens = [value for field, value in fields if field == PIECES and isinstance(value, bytes)]
    # Searching the bytes first is much faster than reading the fields of every token.
    return [
        i
        for i, token in enumerate(tokens)
        if kind in token and (KIND, USER_DEFINED) in read_fields(token)
    ]
