"""Interface of vocabularies: text to token ids, and back."""

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from nmt.data.special_tokens import SpecialTokens
from nmt.errors import UserError

Span = tuple[int, int]
"""First character of a token in a text, and the one after its last; equal if it covers none."""


SamplingKind = Literal["unigram", "bpe"]


class Vocabulary(ABC):
    """The tokens of one or both languages, and the segmentation of text into them.

    A subclass sets the ids of the special tokens. Text never yields `<pad>`, `<s>` or `</s>`, even
    if it contains these strings.

    Args:
        serialized: content of the file that the vocabulary is loaded from

    Attributes:
        suffix: suffix of that file
        pad, bos, eos, unk: ids of `<pad>`, `<s>`, `</s>` and `<unk>`
        fingerprint: sha256 of the serialized vocabulary, in hexadecimal
    """

    suffix: ClassVar[str]
    pad: int
    bos: int
    eos: int
    unk: int

    def __init__(self, serialized: bytes) -> None:
        self.serialized = serialized
        self.fingerprint = hashlib.sha256(serialized).hexdigest()

    def __reduce__(self) -> tuple[type["Vocabulary"], tuple[bytes]]:
        """Pickle only the serialized vocabulary, for worker processes."""
        return type(self), (self.serialized,)

    def save(self, path: Path | str) -> None:
        """Write the vocabulary to a file; create parent directories."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.serialized)

    @property
    def special_tokens(self) -> SpecialTokens:
        """Return the ids of the special tokens that batching needs."""
        return SpecialTokens(self.pad, self.bos, self.eos)

    @property
    def sampling(self) -> SamplingKind | None:
        """Return how segmentations can be sampled; None if they cannot.

        By the probabilities of a unigram model, or by dropped merges of BPE with `drop_merges`.
        """
        return None

    @property
    def user_defined_symbols(self) -> list[str]:
        """Return the strings that are always one token."""
        return []

    def has_same_tokens(self, other: "Vocabulary") -> bool:
        """Return whether all ids are of the same tokens in both vocabularies."""
        ids = range(max(len(self), len(other)))
        return len(self) == len(other) and self.tokens(ids) == other.tokens(ids)

    def count_unknown(self, lines: Iterable[str]) -> Counter[str]:
        """Return the unknown characters of a text, and their numbers; of some kinds, words."""
        characters = Counter[str]()
        for line in lines:
            characters.update(line)
        # A character that is unknown by itself is unknown in every word.
        encoded = self.encode_batch(list(characters))
        counts = zip(characters.items(), encoded, strict=True)
        return Counter({one: count for (one, count), ids in counts if self.unk in ids})

    def has_symbol(self, symbol: str) -> bool:
        """Return whether a text without white space is one token, apart from a space before it."""
        tokens = self.tokens(self.encode(symbol))
        return tokens[-1:] == [symbol] and len(tokens) <= 2

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, without begin and end."""
        return self.encode_batch([text])[0]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the detokenized text of token ids; padding, begin and end produce no text."""
        return self.decode_with_spans([*ids])[0]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the token of each id, including special tokens."""

    @abstractmethod
    def normalize(self, text: str) -> str:
        """Return the text that is segmented, with spaces as spaces."""

    def denormalize(self, text: str) -> str:
        """Return normalized text in the form of `decode`; by default it is unchanged."""
        return text

    @abstractmethod
    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each text, without begin and end."""

    @abstractmethod
    def spans(self, text: str) -> list[Span]:
        """Return the characters of the text that each token of `encode` covers.

        Normalization may give a token none of them, for example the first two of "1⁄2" for "½".
        """

    @abstractmethod
    def decode_with_spans(self, ids: Sequence[int]) -> tuple[str, list[Span]]:
        """Return the text of `decode`, and the characters of it that each token produces."""

    def token_texts(self) -> list[str | bytes]:
        """Return the text of each token: empty for a special token, bytes for a byte token.

        `decode` joins these texts and removes spaces at the start and at the end.

        Raises:
            UserError: if the text of a token depends on its neighbors
        """
        raise UserError("constraints are not possible with this vocabulary; remove them")


Vocabularies = tuple[Vocabulary | None, Vocabulary]
"""Source and target vocabulary; images have no source vocabulary."""
