"""Confidence intervals, and statistical significance of the difference between two systems."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from sacrebleu.significance import PairedTest, Result, estimate_ci

from nmt.errors import UserError
from nmt.evaluation.metrics import check_lines, make_metrics

SAMPLES = 1000
SEED = 12345


class Comparison(NamedTuple):
    """Comparison of a system with a baseline under one metric.

    Attributes:
        score, baseline: scores of the two systems in percent
        interval, baseline_interval: 95 % confidence intervals of the scores
        p_value: p-value of the difference
        signature: sacreBLEU's signature of the metric and the test
    """

    score: float
    interval: tuple[float, float]
    baseline: float
    baseline_interval: tuple[float, float]
    p_value: float
    signature: str


def paired_bootstrap(
    names: Sequence[str],
    hypotheses: Sequence[str],
    baseline: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    tokenize: str | None = None,
    lowercase: bool = False,
    samples: int = SAMPLES,
    seed: int = SEED,
) -> dict[str, Comparison]:
    """Run paired bootstrap resampling over lines (Koehn 2004), like sacreBLEU's `--paired-bs`.

    Each sample draws all lines with replacement, the same ones for both systems. A confidence
    interval is the mean over samples plus or minus half the span of the central 95 % of them. The
    p-value is (count + 1) / (samples + 1), where count is the number of samples in which
    |difference| - mean(|difference|) exceeds the observed |difference|. Systems with equal scores
    get p = 1; with sacreBLEU's formula a system would differ from itself. Memory grows with samples
    x lines: about 40 MB for BLEU on 1,000 lines.

    Args:
        names: metrics, some of `nmt.evaluation.metrics.METRICS`
        hypotheses: lines of the system
        baseline: lines of the system to compare with
        references: one list of lines per reference file
        tokenize, lowercase: as in `nmt.evaluation.metrics.score`
        samples: number of bootstrap samples
        seed: seed of the samples, at least 1

    Raises:
        UserError: for the same input as in `score`, for a baseline of another length, or if
            `samples` or `seed` is below 1
    """
    if samples < 1 or seed < 1:
        raise UserError(f"samples ({samples}) and seed ({seed}) must be at least 1")
    metrics = make_metrics(names, tokenize=tokenize, lowercase=lowercase)
    check_lines(hypotheses, references)
    if len(baseline) != len(hypotheses):
        raise UserError(
            f"{len(hypotheses)} hypotheses but {len(baseline)} lines in the baseline; "
            "give one line for each hypothesis"
        )
    # sacreBLEU compares every system with the first one.
    systems = [("baseline", baseline), ("system", hypotheses)]
    with _sacrebleu_seed(seed):
        test = PairedTest(systems, metrics, references, test_type="bs", n_samples=samples)
        signatures, columns = test()
    # sacreBLEU has its own names for the metrics, but keeps their order.
    return {
        name: _comparison(columns[column], str(signatures[column]))
        for name, column in zip(metrics, signatures, strict=True)
    }


def confidence_interval(
    name: str,
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    tokenize: str | None = None,
    lowercase: bool = False,
    samples: int = SAMPLES,
) -> tuple[float, float]:
    """Return the 95 % confidence interval of a score, by bootstrap resampling of lines.

    It is the interval of `paired_bootstrap`, with memory for one sample at a time.

    Args:
        name: metric, one of `nmt.evaluation.metrics.METRICS`
        hypotheses, references, tokenize, lowercase: as in `nmt.evaluation.metrics.score`
        samples: number of bootstrap samples
    """
    metric = make_metrics([name], tokenize=tokenize, lowercase=lowercase)[name]
    check_lines(hypotheses, references)
    # sacreBLEU's own bootstrap holds all samples at once: 700 MB for chrF on 10,000 lines.
    statistics = np.array(metric._extract_corpus_statistics(hypotheses, references))
    drawn = np.random.default_rng(SEED).choice(len(statistics), (samples, len(statistics)))
    scores = [metric._compute_score_from_stats(statistics[rows].sum(0)).score for rows in drawn]
    mean, half = estimate_ci(np.array(scores))
    return float(mean - half), float(mean + half)


def _comparison(column: Sequence[str | Result], signature: str) -> Comparison:
    baseline, system = column
    assert isinstance(baseline, Result) and isinstance(system, Result)
    assert system.p_value is not None
    # sacreBLEU's p-value of equal systems is 1 / (samples + 1).
    equal = system.score == baseline.score
    return Comparison(
        score=float(system.score),
        interval=_interval(system),
        baseline=float(baseline.score),
        baseline_interval=_interval(baseline),
        p_value=1.0 if equal else float(system.p_value),
        signature=signature,
    )


def _interval(result: Result) -> tuple[float, float]:
    assert result.mean is not None and result.ci is not None
    return float(result.mean - result.ci), float(result.mean + result.ci)


@contextmanager
def _sacrebleu_seed(seed: int) -> Iterator[None]:
    """Set sacreBLEU's seed, which it reads from the environment, and restore the variable."""
    # Not thread-safe, as sacreBLEU has no other way to set the seed.
    previous = os.environ.get("SACREBLEU_SEED")
    os.environ["SACREBLEU_SEED"] = str(seed)
    try:
        yield
    finally:
        if previous is None:
            del os.environ["SACREBLEU_SEED"]
        else:
            os.environ["SACREBLEU_SEED"] = previous
