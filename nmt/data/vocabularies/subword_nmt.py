"""Vocabularies of subword-nmt: words split by merge operations of BPE (Sennrich et al. 2016).

A word starts as its characters, the last one with the end-of-word marker `</w>`. The pair of
neighbors that was learned first is merged until no pair has been learned. All tokens of a word but
the last end in `@@`: `low@@ er`. fastBPE writes the same operations, each with its frequency.
"""

import re
from collections.abc import Container, Iterable, Sequence
from functools import cached_property
from math import inf
from typing import Any

from nmt.data.vocabularies.merging import Drop, merge
from nmt.data.vocabularies.words import WordVocabulary
from nmt.data.vocabulary import SamplingKind

SEPARATOR = "@@"
END_OF_WORD = "</w>"
HEADER = "#version:"
# Words whose tokens are kept: those of a language recur.
MAX_CACHED_WORDS = 200_000

Merge = tuple[str, str]


class SubwordNmtVocabulary(WordVocabulary):
    """Subwords that merge operations of subword-nmt or fastBPE make.

    A merge whose result is not in the vocabulary is undone, as `subword-nmt apply-bpe --vocabulary`
    does. User-defined symbols are kept whole, as its glossaries.
    """

    kind = "subword_nmt"

    def __init__(self, serialized: bytes) -> None:
        super().__init__(serialized)
        values = self.read(serialized)
        self._codes = Codes(values["codes"], self._symbols)
        self._cache: dict[str, Sequence[str]] = {}

    @classmethod
    def read(cls, serialized: bytes) -> dict[str, Any]:
        values = super().read(serialized)
        if not isinstance(values.get("codes"), str):
            raise ValueError("has no merge operations")
        return values

    def split(self, word: str) -> Sequence[str]:
        tokens = self._cache.get(word)
        if tokens is None:
            tokens = self._codes.split(word, self._ids)
            if len(self._cache) < MAX_CACHED_WORDS:
                self._cache[word] = tokens
        return tokens

    @property
    def sampling(self) -> SamplingKind:
        return "bpe"

    def drop_merges(self, ids: list[int], drop: Drop, count: int) -> list[list[int]]:
        """Return segmentations of a word, with merges dropped.

        Args:
            ids: token ids of the word, which are kept where merges give unknown tokens
            drop: see `merge`
            count: number of segmentations
        """
        if self.unk in ids:
            return [ids] * count
        word, known = "".join(map(self.surface, self.tokens(ids))), self._ids
        found = (self._codes.split(word, known, drop) for _ in range(count))
        return [
            [known[token] for token in tokens] if known.keys() >= {*tokens} else ids
            for tokens in found
        ]

    @staticmethod
    def forms(symbol: str) -> list[str]:
        return [symbol, symbol + SEPARATOR]

    def surface(self, token: str) -> str:
        return token.removesuffix(SEPARATOR)


class Codes:
    """Merge operations of BPE.

    Args:
        text: content of a file of subword-nmt (version 0.1 or 0.2) or fastBPE
        symbols: strings that are never split or merged

    Raises:
        ValueError: if a line is not a merge operation; the message starts with its number
    """

    def __init__(self, text: str, symbols: Sequence[str] = ()) -> None:
        lines = text.removeprefix("\ufeff").rstrip("\n").split("\n")
        first = lines[0]
        self.ranks: dict[Merge, int] = {}
        has_header = first.startswith(HEADER)
        version = first.removeprefix(HEADER).strip() if has_header else ""
        for number, line in enumerate(lines[has_header:], start=1 + has_header):
            fields = line.strip("\r ").split(" ")
            # fastBPE appends the frequency of the pair.
            if not (len(fields) == 2 or (len(fields) == 3 and fields[2].isdecimal())):
                raise ValueError(f"{number}: expected a pair of subwords")
            version = version or ("0.2" if len(fields) == 3 else "0.1")
            self.ranks.setdefault((fields[0], fields[1]), number)
        if any("Ġ" in first for first, _ in self.ranks):
            raise ValueError("1: has merges of byte-level BPE, which belong to a tokenizer.json")
        # Before version 0.2, the end of a word was a symbol by itself.
        self.marks_last_character = version != "0.1"
        self.symbols = sorted(symbols, key=len, reverse=True)

    @cached_property
    def _pair_of(self) -> dict[str, Merge]:
        """The pair that each merge joins; the first one if several give the same subword."""
        pairs: dict[str, Merge] = {}
        for pair in self.ranks:
            pairs.setdefault("".join(pair), pair)
        return pairs

    def tokens(self, characters: Iterable[str]) -> list[str]:
        """Return all tokens that merges can give, dropped ones included.

        Args:
            characters: characters of the text
        """
        subwords = dict.fromkeys([*characters, *map("".join, self.ranks)])
        # Before version 0.2, any subword could be the last one.
        always, tokens = not self.marks_last_character, dict[str, None]()
        for subword in subwords:
            is_last = subword.endswith(END_OF_WORD)
            surface = subword.removesuffix(END_OF_WORD)
            if is_last or always or len(subword) == 1:
                tokens[surface] = None
            if not is_last:
                tokens[surface + SEPARATOR] = None
        tokens.pop("", None)
        return list(tokens)

    def split(
        self, word: str, known: Container[str] | None = None, drop: Drop | None = None
    ) -> list[str]:
        """Return the tokens of a word.

        Args:
            word: text without white space
            known: tokens of the vocabulary; merges that lead to others are undone
            drop: see `merge`
        """
        parts = _isolate(word, self.symbols)
        subwords = [
            subword
            for number, (part, is_symbol) in enumerate(parts, start=1)
            for subword in (
                [part]
                if is_symbol
                else self._merge(part, known, drop, ends_word=number == len(parts))
            )
        ]
        return [one + SEPARATOR for one in subwords[:-1]] + subwords[-1:]

    def _merge(
        self, word: str, known: Container[str] | None, drop: Drop | None, *, ends_word: bool
    ) -> list[str]:
        if self.marks_last_character:
            subwords = [*word[:-1], word[-1] + END_OF_WORD]
        else:
            subwords = [*word, END_OF_WORD]
        subwords = merge(subwords, lambda *pair: self.ranks.get(pair, inf), drop)
        if subwords[-1] == END_OF_WORD:
            subwords.pop()
        subwords[-1] = subwords[-1].removesuffix(END_OF_WORD)
        if known is None:
            return subwords
        last = len(subwords) - 1
        return [
            part
            for i, subword in enumerate(subwords)
            for part in self._undo(
                subword, known, is_last=i == last, separator="" if ends_word else SEPARATOR
            )
        ]

    def _undo(
        self, subword: str, known: Container[str], *, is_last: bool, separator: str
    ) -> list[str]:
        """Split a subword by its merges until all parts are known or are characters.

        Args:
            subword: a subword of a word or of a part before a symbol
            known: tokens of the vocabulary
            is_last: whether it is the last one
            separator: end of the token of the last one
        """
        if subword + (separator if is_last else SEPARATOR) in known:
            return [subword]
        pair = self._pair_of.get(subword + END_OF_WORD if is_last else subword)
        if pair is not None and pair[1] == END_OF_WORD:  # a merge of version 0.1
            pair = self._pair_of.get(subword)
        if pair is None:
            return [subword]
        left, right = pair[0], pair[1].removesuffix(END_OF_WORD)
        return [
            *self._undo(left, known, is_last=False, separator=separator),
            *self._undo(right, known, is_last=is_last, separator=separator),
        ]


def _isolate(word: str, symbols: Sequence[str]) -> list[tuple[str, bool]]:
    """Return the parts of a word, each with whether it is a symbol."""
    if not symbols:
        return [(word, False)]
    parts = re.split(f"({'|'.join(map(re.escape, symbols))})", word)
    return [(part, part in symbols) for part in parts if part]
