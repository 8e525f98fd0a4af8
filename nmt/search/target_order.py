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


def text_order(length: int, steps: int) -> list[int]:
    """Return the step that generated the token at each position of a text from right to left.

    Args:
        length: number of tokens of the text
        steps: number of steps; one more than tokens if the last one generated `</s>`
    """
    return [*reversed(range(length)), *range(length, steps)]


def reorder(items: Sequence[Item], order: Sequence[int]) -> list[Item]:
    """Return the items of all steps in the order of the text; an empty list remains empty."""
    return [items[step] for step in order] if items else []


def in_text_order(hypothesis: Hypothesis) -> Hypothesis:
    """Return a hypothesis that was generated from right to left in the order of its text."""
    order = text_order(len(hypothesis.content), len(hypothesis.tokens))
    weights_ts, alignment_ts = hypothesis.weights_ts, hypothesis.alignment_ts
    leaf = hypothesis.leaf
    if leaf is not None:
        leaf = leaf._replace(tree=leaf.tree._replace(right_to_left=True))
    return hypothesis._replace(
        tokens=reorder(hypothesis.tokens, order),
        token_log_probs=reorder(hypothesis.token_log_probs, order),
        weights_ts=None if weights_ts is None else weights_ts[order],
        leaf=leaf,
        alignment_ts=None if alignment_ts is None else alignment_ts[order],
    )
