"""Significance of differences between systems whose scores are means over several seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.base import Metric
from sacrebleu.significance import estimate_ci

from nmt.evaluation.significance import SAMPLES, SEED

Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class SystemScores:
    """Scores of a system under one metric.

    Attributes:
        scores: score per seed
        resampled: mean over the seeds in each bootstrap sample of the lines
    """

    scores: Sequence[float]
    resampled: Scores

    @property
    def mean(self) -> float:
        """Return the mean over seeds."""
        return float(np.mean(self.scores))

    @property
    def deviation(self) -> float | None:
        """Return the sample standard deviation over seeds; None for a single one."""
        return float(np.std(self.scores, ddof=1)) if len(self.scores) > 1 else None

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % confidence interval of the mean, over samples of the lines."""
        mean, half = estimate_ci(self.resampled)
        return float(mean - half), float(mean + half)


def resample(
    metric: Metric,
    hypotheses: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    *,
    samples: int = SAMPLES,
    seed: int = SEED,
) -> SystemScores:
    """Score a system, and draw bootstrap samples of the lines, the same ones for every system.

    Args:
        metric: metric of sacreBLEU
        hypotheses: lines of each seed
        references: one list of lines per reference file
        samples: number of bootstrap samples
        seed: seed of the samples
    """
    rows = np.random.default_rng(seed).choice(len(references[0]), (samples, len(references[0])))
    scores, resampled = [], []
    for texts in hypotheses:
        statistics = np.array(metric._extract_corpus_statistics(texts, references))
        scores.append(float(metric._compute_score_from_stats(statistics.sum(0)).score))
        drawn = (metric._compute_score_from_stats(statistics[one].sum(0)) for one in rows)
        resampled.append([one.score for one in drawn])
    return SystemScores(scores, np.mean(resampled, axis=0))


def paired_p_value(system: SystemScores, baseline: SystemScores) -> float:
    """Return the p-value of the difference of two means over seeds, by paired bootstrap.

    With one seed this is the test of `nmt.evaluation.significance.paired_bootstrap` (Koehn 2004),
    with the same samples. The lines are resampled, and the trained models are given: the test does
    not cover the variation between seeds, which is that of the standard deviations.
    """
    if system.mean == baseline.mean:
        return 1.0
    differences = np.abs(system.resampled - baseline.resampled)
    beyond = differences - differences.mean() > abs(system.mean - baseline.mean)
    return float((np.count_nonzero(beyond) + 1) / (len(differences) + 1))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust the p-values of several comparisons by the step-down procedure of Holm (1979).

    The i-th smallest of m p-values becomes max_{j <= i} min(1, (m - j + 1) p_j), so that rejecting
    all values below 5 % makes a false rejection with a probability of 5 % at most.
    """
    adjusted, largest = {}, 0.0
    ordered = sorted(p_values, key=lambda name: p_values[name])
    for number, name in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - number) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}
