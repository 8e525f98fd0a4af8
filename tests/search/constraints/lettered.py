"""A vocabulary of a few tokens for tables, and an oracle for constraints on their texts."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from nmt.data.vocabulary import Span, Vocabulary
from nmt.search.constraints.compiler import ConstraintCompiler, collate_constraints
from nmt.search.constraints.request import Constraints
from nmt.search.hypothesis import Hypothesis
from tests.search.searching import search
from tests.search.tables import EOS, Table

# Token 1 is the end of sentence. "ab" can only be spelled by two tokens, "b" by one.
TEXTS: list[str | bytes] = [" a", "", "b", " b"]


class LetteredVocabulary(Vocabulary):
    """The given texts of tokens, and segmentation by the longest token that fits."""

    suffix = ""

    def __init__(self, texts: Sequence[str | bytes] = TEXTS, eos: int = EOS) -> None:
        super().__init__(b"")
        self.texts, self.eos, self.unk = list(texts), eos, -1

    def __len__(self) -> int:
        return len(self.texts)

    def tokens(self, ids: Iterable[int]) -> list[str]:
        return [str(self.texts[i]) for i in ids]

    def token_texts(self) -> list[str | bytes]:
        return self.texts

    def normalize(self, text: str) -> str:
        return " ".join(text.split())

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return list(map(self._segment, texts))

    def _segment(self, text: str) -> list[int]:
        tokens, rest = list[int](), f" {text}"
        while rest:
            fitting = [i for i, t in enumerate(self.texts) if t and rest.startswith(str(t))]
            tokens.append(max(fitting, key=lambda i: len(self.texts[i]), default=self.unk))
            rest = rest[len(self.texts[tokens[-1]]) if fitting else 1 :]
        return tokens

    def spans(self, text: str) -> list[Span]:
        raise NotImplementedError

    def decode_with_spans(self, ids: Sequence[int]) -> tuple[str, list[Span]]:
        raise NotImplementedError


def compiler(*arguments: Any) -> ConstraintCompiler:
    return ConstraintCompiler(LetteredVocabulary(*arguments))


def text_of(tokens: Sequence[int], texts: Sequence[str | bytes] = TEXTS) -> str:
    return "".join(str(texts[token]) for token in tokens).removeprefix(" ")


def occurrences(phrase: str, text: str) -> int:
    """Count a sequence of whole words by a regular expression."""
    return len(re.findall(rf"(?<!\w)(?={re.escape(phrase)}(?!\w))", text))


def satisfies(tokens: Sequence[int], constraints: Constraints) -> bool:
    """Return whether the text of tokens satisfies constraints without nested terms."""
    text = text_of(tokens)
    # A vocabulary segments the first word of a text like all others, after a space.
    spaced = "".join(str(TEXTS[token]) for token in tokens)
    counts = Counter(constraints.terms)
    return (
        (not constraints.prefix or f"{spaced} ".startswith(f" {constraints.prefix}"))
        and all(occurrences(term, text) == count for term, count in counts.items())
        and not any(occurrences(phrase, text) for phrase in constraints.forbid)
    )


def constrained_search(
    table: Table,
    constraints: Sequence[Constraints],
    max_lengths_b: list[int],
    *,
    order: Sequence[int] | None = None,
    texts: Sequence[str | bytes] = TEXTS,
    **options: Any,
) -> list[list[Hypothesis]]:
    own = compiler(texts)
    compiled = [own.compile(own.resolve(one)) for one in constraints]
    state = collate_constraints(compiled, max_lengths_b, own, torch.device("cpu"))
    return search(table, order=order, constraints=state, max_lengths_b=max_lengths_b, **options)
