"""Whether one system is better than another beyond chance."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from sacrebleu.significance import PairedTest, Result

from nmt.errors import UserError
from nmt.evaluation.metrics import check_lines, make_metrics


class Comparison(NamedTuple):
    """A system beside a baseline under one metric: scores in percent, 95 % intervals, p-value."""

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
    samples: int = 1000,
    seed: int = 12345,
) -> dict[str, Comparison]:
    """Paired bootstrap resampling over lines (Koehn 2004), as sacreBLEU's `--paired-bs` does it.

    Each sample draws as many lines as there are, with replacement, the same for both systems. An
    interval is the mean over samples plus and minus half the span that holds 95 % of them. The
    p-value is the share of samples whose |difference|, less the mean of these, exceeds the
    |difference| observed, (count + 1) / (samples + 1). Systems of equal score get p = 1, where
    sacreBLEU's formula would call a system different from itself. Memory grows with samples
    x lines: some 40 MB for BLEU on 1,000 lines.

    Args:
        baseline: lines of the system to compare with
        references: one list of lines a reference file
        tokenize, lowercase: as in `nmt.evaluation.metrics.score`

    Raises:
        UserError: as `score` does; for a baseline of another length; `samples` or `seed` below 1
    """
    if samples < 1 or seed < 1:
        raise UserError(f"samples ({samples}) and seed ({seed}) must be 1 or more")
    metrics = make_metrics(names, tokenize=tokenize, lowercase=lowercase)
    check_lines(hypotheses, references)
    if len(baseline) != len(hypotheses):
        raise UserError(
            f"{len(hypotheses)} hypotheses but {len(baseline)} lines in the baseline; "
            "there must be one line for each"
        )
    systems = [("baseline", baseline), ("system", hypotheses)]
    with _sacrebleu_seed(seed):
        test = PairedTest(systems, metrics, references, test_type="bs", n_samples=samples)
        signatures, columns = test()
    # sacreBLEU names the columns in its own way, in our order.
    return {
        name: _comparison(columns[column], str(signatures[column]))
        for name, column in zip(metrics, signatures, strict=True)
    }


def _comparison(column: Sequence[str | Result], signature: str) -> Comparison:
    baseline, system = column
    assert isinstance(baseline, Result) and isinstance(system, Result)
    assert system.p_value is not None
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
    """sacreBLEU takes its seed from the environment only; what stood there comes back."""
    before = os.environ.get("SACREBLEU_SEED")
    os.environ["SACREBLEU_SEED"] = str(seed)
    try:
        yield
    finally:
        if before is None:
            del os.environ["SACREBLEU_SEED"]
        else:
            os.environ["SACREBLEU_SEED"] = before
