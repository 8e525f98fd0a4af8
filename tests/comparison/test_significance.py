"""Paired bootstrap over several seeds, and Holm's correction."""

import numpy as np
import pytest

from nmt.comparison.significance import SystemScores, holm, paired_p_value, resample
from nmt.evaluation.metrics import make_metrics
from nmt.evaluation.significance import confidence_interval, paired_bootstrap

REFERENCE = [f"the cat number {n} sat on the mat of house {n % 7}" for n in range(60)]
FIRST = [line.replace("mat", "rug") if n % 3 else line for n, line in enumerate(REFERENCE)]
SECOND = [line.replace("cat", "dog") if n % 4 else line for n, line in enumerate(REFERENCE)]


@pytest.mark.parametrize("name", ["bleu", "exact"])
def test_single_seed_equals_the_test_of_sacrebleu(name: str) -> None:
    metric = make_metrics([name])[name]
    system = resample(metric, [FIRST], [REFERENCE], samples=300)
    baseline = resample(metric, [SECOND], [REFERENCE], samples=300)
    expected = paired_bootstrap([name], FIRST, SECOND, [REFERENCE], samples=300)[name]
    assert system.mean == pytest.approx(expected.score)
    assert system.deviation is None
    assert paired_p_value(system, baseline) == pytest.approx(expected.p_value)
    assert system.interval == pytest.approx(expected.interval, abs=1e-4)
    interval = confidence_interval(name, FIRST, [REFERENCE], samples=300)
    assert system.interval == pytest.approx(interval)


def test_several_seeds_share_the_samples_and_are_averaged() -> None:
    metric = make_metrics(["exact"])["exact"]
    both = resample(metric, [FIRST, SECOND], [REFERENCE], samples=50)
    alone = [resample(metric, [one], [REFERENCE], samples=50) for one in (FIRST, SECOND)]
    assert both.mean == pytest.approx(np.mean([one.mean for one in alone]))
    assert both.deviation == pytest.approx(abs(alone[0].mean - alone[1].mean) / 2**0.5)
    assert both.resampled == pytest.approx((alone[0].resampled + alone[1].resampled) / 2)


def test_equal_means_are_no_difference() -> None:
    first, second = (SystemScores([50.0], np.array(one)) for one in ([1.0, 2.0], [2.0, 1.0]))
    assert paired_p_value(first, second) == 1.0


def test_holm_agrees_with_a_table_computed_by_hand() -> None:
    # Holm 1979: sorted p-values times 4, 3, 2, 1; an adjusted value is never below a previous one.
    p_values = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    assert holm(p_values) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(holm(p_values)) == ["a", "b", "c", "d"]
    assert holm({"a": 0.7, "b": 0.9}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}
