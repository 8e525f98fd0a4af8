"""Reranking: other models score the hypotheses of the beam, and the best mean is chosen.

A model that generates from right to left (`data.target_order`) predicts the last words of a
translation first, where one that generates from left to right is least reliable; Liu et al. 2016,
Sennrich et al. 2016 (WMT), section 3.3.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from nmt.config.search_options import SearchOptions
from nmt.data.preparation import Preparation
from nmt.errors import UserError
from nmt.search.hypothesis import Hypothesis
from nmt.search.source_line import SourceLine


class Reranker(NamedTuple):
    """A model that scores hypotheses of another one.

    Attributes:
        score: function of lines with a target and of the options of the search to their scores
        weight: weight of its scores relative to that of the search
    """

    score: Callable[[Sequence[SourceLine], SearchOptions], list[float]]
    weight: float


def check_reranking(options: SearchOptions) -> None:
    """Raise UserError for options of a search whose hypotheses are not reranked."""
    for name in ("sampling", "mbr"):
        if getattr(options, name) is not None:
            raise UserError(f"{name} is not possible with rerank; remove one of them")
    if options.beam_size == 1:
        raise UserError("rerank requires several hypotheses; use a wider beam")


def rerank(
    hypotheses_b: Sequence[Sequence[Hypothesis]],
    lines: Sequence[SourceLine],
    options: SearchOptions,
    decode: Callable[[list[int]], str],
    preparation: Preparation,
    rerankers: Sequence[Reranker],
) -> list[list[Hypothesis]]:
    """Return the `n_best` hypotheses of each line by the weighted mean of the models' scores.

        s(y) = (s_0(y) + Σ_m λ_m s_m(y)) / (1 + Σ_m λ_m)

    s_0 is the score of the search, and s_m that of model m: log p_m(y | x) with the same length
    penalty. Each model segments the text of y by its own vocabulary.

    Args:
        hypotheses_b: hypotheses of each line
        lines: the lines; one with a target has it as its only hypothesis
        options: options of the search
        decode: function from generated tokens to their text
        preparation: preparation of the source, whose inverse applies to translations
        rerankers: the models and their weights
    """
    targets = [
        SourceLine(line.number, line.text, preparation.restore(decode(one.content), line.text))
        if line.target is None
        else line
        for hypotheses, line in zip(hypotheses_b, lines, strict=True)
        for one in hypotheses
    ]
    weights = [1.0, *(one.weight for one in rerankers)]
    scores = zip(*(one.score(targets, options) for one in rerankers), strict=True)
    return [_ranked(own, scores, weights)[: options.n_best] for own in hypotheses_b]


def _ranked(
    hypotheses: Sequence[Hypothesis], scores: Iterator[tuple[float, ...]], weights: list[float]
) -> list[Hypothesis]:
    """Return hypotheses with the mean of their scores, of which each takes the next ones."""
    scored = []
    for one, others in zip(hypotheses, islice(scores, len(hypotheses)), strict=True):
        own = (one.score, *others)
        mean = sum(map(float.__mul__, weights, own)) / sum(weights)
        scored.append(one._replace(score=mean, model_scores=own))
    return sorted(scored, key=lambda one: -one.score)
