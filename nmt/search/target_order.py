"""Translations that a model generates from the last token to the first: `data.target_order`.

Such a model makes other mistakes than one that generates from left to right, so that both together
choose better translations; Liu et al. 2016, Sennrich et al. 2016 (WMT). Inside of search, tokens
are in the order of generation; results are in the order of the text.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from nmt.data.vocabulary import Vocabulary
from nmt.search.hypothesis import Hypothesis

Item = TypeVar("Item")


def token_decoder(vocabulary: Vocabulary, *, right_to_left: bool) -> Callable[[list[int]], str]:
    """Return the function from generated tokens, without `</s>`, to their text."""
    return (lambda tokens: vocabulary.decode(tokens[::-1])) if right_to_left else vocabulary.decode


def text_order(hypothesis: Hypothesis) -> list[int]:
    """Return the steps that generated the tokens of a text from right to left, that of `</s>` last.

    Entry i is the step of the token at position i of the text.
    """
    length = len(hypothesis.content)
    return [*reversed(range(length)), *range(length, len(hypothesis.tokens))]


def reorder(items: Sequence[Item], order: Sequence[int]) -> list[Item]:
    """Return one item per step in the order of the text; none if there are none."""
    return [items[step] for step in order] if items else []


def in_text_order(hypothesis: Hypothesis) -> Hypothesis:
    """Return a hypothesis that was generated from right to left in the order of its text."""
    order, weights_ts = text_order(hypothesis), hypothesis.weights_ts
    return hypothesis._replace(
        tokens=reorder(hypothesis.tokens, order),
        token_log_probs=reorder(hypothesis.token_log_probs, order),
        weights_ts=None if weights_ts is None else weights_ts[order],
    )
