"""Vocabularies of words: text as it is segmented, with white space between the tokens."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from nmt.config.vocabulary_options import Rule
from nmt.data.vocabularies.sentencepiece_training import IDENTITY, make_offset_normalizer
from nmt.data.vocabulary import Span, Vocabulary

SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>")
PAD, BOS, EOS, UNK = range(4)

RULES = get_args(Rule)
WORD = re.compile(r"\S+")


class WordVocabulary(Vocabulary):
    """The most frequent words of a text, which white space separates.

    Other words are unknown. A translation is its words, joined by spaces.

    Args:
        serialized: JSON with the words, and the rule by which text is normalized before
    """

    suffix = ".json"
    kind = "word"

    def __init__(self, serialized: bytes) -> None:
        super().__init__(serialized)
        values = self.read(serialized)
        self._words: list[str] = [*SPECIAL_TOKENS, *values["words"]]
        # The special tokens have no entry: they are unknown words if they occur in a text.
        self._ids = {word: i for i, word in enumerate(values["words"], start=len(SPECIAL_TOKENS))}
        self.pad, self.bos, self.eos, self.unk = PAD, BOS, EOS, UNK
        self._symbols: list[str] = values.get("symbols", [])
        self._normalize = make_offset_normalizer(values["normalization"], self._symbols)

    @classmethod
    def make(
        cls, words: Iterable[str], normalization: str = IDENTITY, **others: object
    ) -> "WordVocabulary":
        """Make a vocabulary of words in the order of their ids.

        Args:
            words: the words, without special tokens
            normalization: SentencePiece rule, applied to a text before it is split
            others: further values of the file
        """
        values = {"type": cls.kind, "normalization": normalization, **others, "words": [*words]}
        return cls(json.dumps(values, ensure_ascii=False).encode())

    @classmethod
    def read(cls, serialized: bytes) -> dict[str, Any]:
        """Return the values of a serialized vocabulary.

        Raises:
            ValueError: if it is not one of this kind
        """
        values = json.loads(serialized)
        if not isinstance(values, dict) or values.get("type") != cls.kind:
            raise ValueError("is not a vocabulary of this kind")
        words = values.get("words", [])
        if not _are_words(words) or len({*words, *SPECIAL_TOKENS}) < len(words) + 4:
            raise ValueError("has words that are not unique strings")
        if not _are_words(values.get("symbols", [])):
            raise ValueError("has symbols that are not strings")
        if values.get("normalization") not in RULES:
            raise ValueError("has an unknown normalization rule")
        return values

    def with_normalization(self, rule: str) -> "WordVocabulary":
        """Return a vocabulary with the same words, and another normalization rule."""
        values = json.loads(self.serialized) | {"normalization": rule}
        return type(self)(json.dumps(values, ensure_ascii=False).encode())

    def extended(self, words: Iterable[str], symbols: Iterable[str]) -> "WordVocabulary":
        """Return a vocabulary with more words, whose ids follow those of its own.

        Args:
            words: the words, which are new
            symbols: strings that are always one token; those that are one already are ignored
        """
        values = json.loads(self.serialized)
        new = [symbol for symbol in symbols if not self.has_symbol(symbol)]
        added = [*(word for symbol in new for word in self.forms(symbol)), *words]
        values["symbols"] = [*self._symbols, *new]
        values["words"] += [word for word in dict.fromkeys(added) if word not in self._ids]
        return type(self)(json.dumps(values, ensure_ascii=False).encode())

    @staticmethod
    def forms(symbol: str) -> list[str]:
        """Return the tokens of a symbol at the end of a word and, if they differ, inside of it."""
        return [symbol]

    @property
    def user_defined_symbols(self) -> list[str]:
        return list(self._symbols)

    def normalize(self, text: str) -> str:
        return self._normalize(text)[0]

    def __len__(self) -> int:
        return len(self._words)

    def tokens(self, ids: Iterable[int]) -> list[str]:
        return [self._words[i] for i in ids]

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        find = self._ids.get
        return [
            [
                find(token, UNK)
                for word in self.normalize(text).split()
                for token in self.split(word)
            ]
            for text in texts
        ]

    def count_unknown(self, lines: Iterable[str]) -> Counter[str]:
        words = (word for line in lines for word in self.normalize(line).split())
        return Counter(
            token for word in words for token in self.split(word) if token not in self._ids
        )

    def split(self, word: str) -> Sequence[str]:
        """Return the tokens of a word."""
        return (word,)

    def surface(self, token: str) -> str:
        """Return the characters of a word that a token covers."""
        return token

    def spans(self, text: str) -> list[Span]:
        normalized, offsets = self._normalize(text)
        spans = []
        for match in WORD.finditer(normalized):
            start = match.start()
            for token in self.split(match.group()):
                end = start + len(self.surface(token))
                spans.append((offsets[start], offsets[end]))
                start = end
        return spans

    def token_texts(self) -> list[str | bytes]:
        texts = list[str | bytes]()
        for i, token in enumerate(self._words):
            surface = self.surface(token)
            ended = f"{surface} " if surface == token else surface
            texts.append("" if i in (PAD, BOS, EOS) else ended)
        return texts

    def decode_with_spans(self, ids: Sequence[int]) -> tuple[str, list[Span]]:
        text, spans = "", list[Span]()
        has_ended = False  # whether the next token starts a word
        for i in ids:
            if i in (PAD, BOS, EOS):
                spans.append((len(text), len(text)))
                continue
            token = self._words[i]
            surface = self.surface(token)
            text += " " * (has_ended and bool(text)) + surface
            spans.append((len(text) - len(surface), len(text)))
            has_ended = surface == token
        return text, spans


def by_frequency(counts: Mapping[str, int]) -> list[str]:
    """Return words in descending order of their counts, ties by spelling; no special tokens."""
    words = counts.keys() - {*SPECIAL_TOKENS}
    return sorted(words, key=lambda word: (-counts[word], word))


def _are_words(words: Any) -> bool:
    return isinstance(words, list) and all(isinstance(one, str) and one for one in words)
