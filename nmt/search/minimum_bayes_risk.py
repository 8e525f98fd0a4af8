"""Minimum Bayes risk decoding: the hypothesis with the highest expected metric, not probability."""

from collections.abc import Callable, Sequence

import numpy as np

from nmt.config.search_options import SearchOptions
from nmt.data.bleu_tokenizer import choose_tokenizer
from nmt.data.preparation import Preparation
from nmt.search.hypothesis import Hypothesis
from nmt.search.sentence_metrics import SentenceMetric, make_sentence_metric
from nmt.search.source_line import SourceLine


def minimize_risk(
    hypotheses_b: Sequence[Sequence[Hypothesis]],
    lines: Sequence[SourceLine],
    options: SearchOptions,
    decode: Callable[[list[int]], str],
    preparation: Preparation,
    language: str | None,
) -> list[list[Hypothesis]]:
    """Return the `n_best` hypotheses with the lowest risk of each line, best first.

    Args:
        hypotheses_b: hypotheses of each line
        lines: the lines
        options: options of the search, with a metric as `mbr`
        decode: function from generated tokens to their text
        preparation: preparation of the source, whose inverse applies to translations
        language: code of the target language, which selects the tokenizer of BLEU
    """
    assert options.mbr is not None
    tokenize = choose_tokenizer(language).name if options.mbr == "bleu" else None
    metric = make_sentence_metric(options.mbr, tokenize)
    ranked_b = []
    for hypotheses, line in zip(hypotheses_b, lines, strict=True):
        texts = [preparation.restore(decode(one.content), line.text) for one in hypotheses]
        scale = None if options.sampling is not None else options.mbr_scale
        ranked = rank_by_risk(hypotheses, texts, metric, scale=scale)
        ranked_b.append(ranked[: options.n_best])
    return ranked_b


def rank_by_risk(
    hypotheses: Sequence[Hypothesis],
    texts: Sequence[str],
    metric: SentenceMetric,
    *,
    scale: float | None,
) -> list[Hypothesis]:
    """Rank the hypotheses of distinct texts by their expected metric, which becomes their score.

    score(h) = Σ_r p(r) metric(h, r) over all hypotheses r, h included. n samples have p = 1 / n, so
    that the sum is the Monte Carlo estimate of Eikema and Aziz 2020. The n best hypotheses of a
    search have the model's probabilities, raised to a power and divided by their sum (Kumar and
    Byrne 2004; the power as in Tromble et al. 2008).

    Args:
        hypotheses: samples, or the best hypotheses of a search, best first; ties keep this order
        texts: their texts
        metric: metric between two texts
        scale: exponent of the probabilities; None for samples
    """
    if not hypotheses:
        return []
    weights = np.ones(len(hypotheses))
    if scale is not None:
        log_probs = scale * np.array([one.log_prob for one in hypotheses])
        # At least one exponent is 0, so the sum is not, however long the sentences are.
        weights = np.exp(log_probs - log_probs.max())
    first: dict[str, int] = {}
    mass: dict[str, float] = {}
    for row, text in enumerate(texts):
        first.setdefault(text, row)
        mass[text] = mass.get(text, 0.0) + float(weights[row])
    distinct, masses = list(first), np.array(list(mass.values()))
    # Not a matrix product, whose rounding may depend on the number of threads.
    products = metric.matrix(distinct, distinct) * (masses / masses.sum())
    expected = products.sum(axis=1).tolist()
    order = sorted(range(len(distinct)), key=lambda row: -expected[row])
    return [hypotheses[first[distinct[row]]]._replace(score=expected[row]) for row in order]
