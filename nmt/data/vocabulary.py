"""Vocabularies: training, loading and use of SentencePiece models.

SentencePiece calls an entry of its models a piece. Here it is a token: a subword, a byte or a
special token.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Literal

import sentencepiece as spm

from nmt.data.special_tokens import SpecialTokens
from nmt.errors import UserError, is_out_of_memory
from nmt.files import MAX_VOCABULARY_BYTES, is_dir, is_file, read_regular
from nmt.storage.atomic import publish_dir, staging_dir
from nmt.storage.run_dir import RunDir

spm.set_min_log_level(3)

VocabularyType = Literal["unigram", "bpe", "char"]

# SentencePiece ignores lines that are longer than this many bytes; its own default is 4192.
MAX_LINE_BYTES = 1 << 30
# SentencePiece uses this character internally, and ignores lines that contain it.
RESERVED_CHARACTER = "\u2585"
# Spaces inside tokens.
SPACE = "\u2581"
# Name of the normalization rule that changes no character.
IDENTITY = "identity"
# <pad>, <s>, </s> and <unk>.
NUM_SPECIAL_TOKENS = 4
# Tokens that byte_fallback adds.
NUM_BYTES = 256


class SizeError(UserError):
    """A size of a vocabulary that does not suit its text."""


Span = tuple[int, int]
"""First character of a token in a text, and the one after its last; equal if it covers none."""


class Vocabulary:
    """A SentencePiece vocabulary of one or both languages.

    A model that was trained elsewhere may lack `<pad>`, `<s>` or `</s>`. They get the ids after its
    last token, and `len` counts them.

    Attributes:
        pad, bos, eos, unk: ids of `<pad>`, `<s>`, `</s>` and `<unk>`
        model_proto: the serialized SentencePiece model
        fingerprint: sha256 of the serialized model, in hexadecimal
    """

    def __init__(self, model_proto: bytes) -> None:
        self.model_proto = model_proto
        self.fingerprint = hashlib.sha256(model_proto).hexdigest()
        self._processor = spm.SentencePieceProcessor(model_proto=model_proto)
        self._added: dict[int, str] = {}
        self.pad = self._find_or_add(self._processor.pad_id(), "<pad>")
        self.bos = self._find_or_add(self._processor.bos_id(), "<s>")
        self.eos = self._find_or_add(self._processor.eos_id(), "</s>")
        self.unk = self._processor.unk_id()

    def __reduce__(self) -> tuple[type["Vocabulary"], tuple[bytes]]:
        """Pickle only the serialized model, for worker processes."""
        return Vocabulary, (self.model_proto,)

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
    ) -> "Vocabulary":
        """Train a vocabulary on text; the same text and options give the same bytes.

        Padding gets id 0, begin 1, end 2 and unknown 3.

        Args:
            lines: text, one sentence per line; read once
            size: number of tokens, including special tokens; an upper bound for `char`
            type: segmentation algorithm: `unigram`, `bpe` or `char`
            byte_fallback: encode characters outside the vocabulary as bytes instead of `<unk>`
            normalization: SentencePiece rule: nmt_nfkc, nfkc, nmt_nfkc_cf, nfkc_cf or identity
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
    def load(cls, path: Path | str) -> "Vocabulary":
        """Load a SentencePiece model file.

        Raises:
            UserError: if the file cannot be read or is not a usable SentencePiece model
        """
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

    def with_normalization(self, rule: str) -> "Vocabulary":
        """Return a vocabulary with the same tokens, and a normalization rule in place of identity.

        It encodes a text as this one encodes the normalized text.
        """
        if rule == IDENTITY:
            return self
        # Serialized messages of protobuf are merged by concatenation: later fields replace earlier
        # ones. This one contains only the rule.
        normalizer = spm.SentencePieceNormalizer(
            rule_name=rule,
            add_dummy_prefix=True,
            escape_whitespaces=True,
            remove_extra_whitespaces=True,
        )
        return Vocabulary(self.model_proto + normalizer.serialized_model_proto())

    def has_same_tokens(self, other: "Vocabulary") -> bool:
        """Return whether all ids are of the same tokens in both vocabularies."""
        ids = range(max(len(self), len(other)))
        return len(self) == len(other) and self.tokens(ids) == other.tokens(ids)

    def normalize(self, text: str) -> str:
        """Return the text that is segmented, with spaces as spaces."""
        normalized: str = self._processor.normalize(text)
        return normalized.replace(SPACE, " ")

    def save(self, path: Path | str) -> None:
        """Write the model in SentencePiece's format; create parent directories."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.model_proto)

    def __len__(self) -> int:
        return self._processor.get_piece_size() + len(self._added)

    @property
    def special_tokens(self) -> SpecialTokens:
        """Return the ids of the special tokens that batching needs."""
        return SpecialTokens(self.pad, self.bos, self.eos)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, without begin and end."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each text, without begin and end."""
        # By default SentencePiece starts a thread per core, even in each of several processes.
        ids: list[list[int]] = self._processor.encode(texts, out_type=int, num_threads=1)
        return ids

    def spans(self, text: str) -> list[Span]:
        """Return the characters of the text that each token of `encode` covers.

        Normalization may give a token none of them, for example the first two of "1⁄2" for "½".
        """
        spans: list[Span] = self._processor.encode(text, return_type="offset_mapping")["offsets"]
        return spans

    def decode(self, ids: Iterable[int]) -> str:
        """Return the detokenized text of token ids.

        Padding, begin and end produce no text; invalid UTF-8 of byte tokens becomes U+FFFD.
        """
        text: str = self._processor.decode([i for i in map(int, ids) if i not in self._added])
        return text

    def decode_with_spans(self, ids: Sequence[int]) -> tuple[str, list[Span]]:
        """Return the text of `decode`, and the characters of it that each token produces."""
        known = [i for i in ids if i not in self._added]
        decoded = self._processor.decode(known, return_type="offset_mapping")
        of_known, spans = iter(decoded["offsets"]), list[Span]()
        for i in ids:
            end = spans[-1][1] if spans else 0
            spans.append((end, end) if i in self._added else next(of_known))
        return decoded["text"], spans

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the token of each id, including special tokens."""
        return [self._added.get(i) or self._processor.id_to_piece(i) for i in map(int, ids)]

    @property
    def supports_sampling(self) -> bool:
        """Return whether tokens have probabilities, so that segmentations can be sampled."""
        # SentencePiece does not expose the type of a model, but refuses n-best for other types.
        try:
            self._processor.nbest_encode("a", nbest_size=2, out_type=int)
        except RuntimeError:
            return False
        return True

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


Vocabularies = tuple[Vocabulary | None, Vocabulary]
"""Source and target vocabulary; images have no source vocabulary."""


def load_vocabularies(run: RunDir) -> Vocabularies:
    """Load the source and target vocabulary of a run; the same object twice if they are joint.

    Raises:
        UserError: if the directory is not a run, or a vocabulary cannot be read
    """
    if not is_dir(run.vocabulary):
        raise UserError(
            "is not a run: it has no vocabulary; give a directory that nmt-train wrote",
            str(run.path),
        )
    if is_file(run.joint_vocabulary):
        joint = Vocabulary.load(run.joint_vocabulary)
        # The same tokens, with another normalization of the source.
        is_normalized = is_file(run.source_vocabulary)
        return Vocabulary.load(run.source_vocabulary) if is_normalized else joint, joint
    target = Vocabulary.load(run.target_vocabulary)
    if not is_file(run.source_vocabulary) and run.has_images():
        return None, target
    return Vocabulary.load(run.source_vocabulary), target


def save_vocabularies(run: RunDir, vocabularies: Vocabularies) -> None:
    """Write the vocabularies of a run atomically."""
    source, target = vocabularies
    with staging_dir(run.path, run.vocabulary.name) as staging:
        is_joint = source is not None and source.has_same_tokens(target)
        target_file = run.joint_vocabulary if is_joint else run.target_vocabulary
        target.save(staging / target_file.name)
        if source is not None and source is not target:
            source.save(staging / run.source_vocabulary.name)
        publish_dir(staging, run.vocabulary)


def train_sentencepiece(
    lines: Iterable[str],
    *,
    size: int,
    type: VocabularyType,
    byte_fallback: bool,
    normalization: str,
    character_coverage: float,
    user_defined_symbols: Sequence[str] = (),
    split_digits: bool = False,
) -> bytes:
    """Train a SentencePiece model and return it serialized; see `Vocabulary.train`."""
    if size <= NUM_SPECIAL_TOKENS:
        raise SizeError(
            f"vocabulary size {size} has no room for text; use more than {NUM_SPECIAL_TOKENS}"
        )
    text = _TrainingText(lines)
    model = BytesIO()
    try:
        spm.SentencePieceTrainer.train(
            sentence_iterator=iter(text),
            model_writer=model,
            vocab_size=size,
            model_type=type,
            byte_fallback=byte_fallback,
            normalization_rule_name=normalization,
            character_coverage=character_coverage,
            user_defined_symbols=list(user_defined_symbols),
            split_digits=split_digits,
            max_sentence_length=MAX_LINE_BYTES,
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            num_threads=1,
            minloglevel=3,
        )
    except (RuntimeError, ValueError, MemoryError) as error:
        # An error of the text itself, such as invalid UTF-8, is reported as it is.
        if text.error:
            raise text.error from None
        if is_out_of_memory(error):
            raise UserError("out of memory; lower data.vocabulary.lines") from error
        required = len(text.characters) + len(user_defined_symbols) + NUM_BYTES * byte_fallback
        advice = _advisable_size(text.num_lines, required + NUM_SPECIAL_TOKENS)
        raise _explain_training_error(str(error), size, advice) from error
    return model.getvalue()


class _TrainingText:
    """Lines for SentencePiece, which replaces exceptions of its input by its own.

    Attributes:
        error: the exception that ended the iteration, if any
        num_lines: number of lines that were read
        characters: the characters in them
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = lines
        self.error: BaseException | None = None
        self.num_lines = 0
        self.characters: set[str] = set()

    def __iter__(self) -> Iterator[str]:
        try:
            for line in self.lines:
                self.num_lines += 1
                self.characters.update(line)
                yield line.replace(RESERVED_CHARACTER, " ")
        # BaseException, because KeyboardInterrupt would be replaced as well.
        except BaseException as error:
            self.error = error
            raise


def make_normalizer(rule: str) -> Callable[[str], str]:
    """Return the function by which a rule of SentencePiece normalizes a line."""
    if rule == IDENTITY:
        return str
    normalizer = spm.SentencePieceNormalizer(
        rule_name=rule, add_dummy_prefix=False, escape_whitespaces=False
    )
    normalize: Callable[[str], str] = normalizer.normalize
    return normalize


def _advisable_size(num_lines: int, required: int) -> int:
    """Return a size for a small text: a tenth of its lines, but more than the required tokens."""
    size = max(num_lines // 10, 2 * required)
    scale: int = 10 ** (len(str(size)) - 1)
    return size // scale * scale


def _explain_training_error(reason: str, size: int, advisable: int) -> UserError:
    """Return the cause of a SentencePiece error and its remedy in terms of the options."""
    # The messages contain the nearest valid size.
    if maximum := re.search(r"too high .* <= (\d+)", reason):
        # Most tokens of the largest vocabulary occur once or twice.
        return SizeError(
            f"vocabulary size {size} is too large for this text; "
            f"use {min(advisable, int(maximum[1]))} (at most {maximum[1]})"
        )
    if minimum := re.search(r"required_chars\. \d+ vs (\d+)", reason):
        return SizeError(
            f"vocabulary size {size} is too small for the characters of the text; "
            f"use {minimum[1]} or more, or a lower character_coverage"
        )
    if "sentences_.empty()" in reason:
        return UserError("the text to train a vocabulary on is empty; give a file with text")
    return UserError(f"SentencePiece cannot train a vocabulary: {' '.join(reason.split())}")
