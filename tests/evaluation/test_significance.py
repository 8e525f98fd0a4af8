"""Paired bootstrap resampling."""

import os
from functools import partial

import numpy as np
import pytest

from nmt.errors import UserError
from nmt.evaluation.metrics import METRICS, score
from nmt.evaluation.significance import confidence_interval, paired_bootstrap

REFERENCE = [f"the {word} number {i} stands here today" for i, word in enumerate("abcdefghij" * 3)]
GOOD = [line.replace("today", "now") if i % 6 == 0 else line for i, line in enumerate(REFERENCE)]
BAD = [line.replace("here", "over there") if i % 3 else line for i, line in enumerate(REFERENCE)]
compare = partial(paired_bootstrap, samples=200, seed=7)


def test_p_value_of_clearly_better_system_is_small_for_every_metric() -> None:
    results = compare(list(METRICS), GOOD, BAD, [REFERENCE])
    assert list(results) == list(METRICS)
    for name, result in results.items():
        assert result.p_value < 0.05
        assert result.score == score([name], GOOD, [REFERENCE])[name].score
        assert result.baseline == score([name], BAD, [REFERENCE])[name].score
        assert result.interval[0] <= result.score <= result.interval[1]
        assert "bs:200|seed:7" in result.signature


def test_p_value_of_system_against_itself_is_1() -> None:
    results = compare(["bleu", "exact"], GOOD, GOOD, [REFERENCE])
    assert [result.p_value for result in results.values()] == [1, 1]


def test_different_systems_with_equal_scores_have_p_value_1() -> None:
    none, other = ["x"] * 30, ["y"] * 30
    result = compare(["exact"], none, other, [REFERENCE])["exact"]
    assert (result.score, result.baseline, result.p_value) == (0, 0, 1)


def test_p_value_of_slightly_different_systems_is_large() -> None:
    one_more = [*GOOD[:-1], "the wrong line"]
    result = compare(["exact"], GOOD, one_more, [REFERENCE])["exact"]
    assert result.p_value > 0.2


def test_bootstrap_of_exact_equals_bootstrap_of_means_in_numpy() -> None:
    result = compare(["exact"], GOOD, BAD, [REFERENCE])["exact"]
    right = [np.array([a == b for a, b in zip(x, REFERENCE, strict=True)]) for x in (GOOD, BAD)]
    draws = np.random.default_rng(7).choice(30, size=(200, 30), replace=True)
    system, baseline = (100 * lines[draws].mean(axis=1) for lines in right)
    apart = np.abs(system - baseline)
    observed = 100 * abs(right[0].mean() - right[1].mean())
    assert result.p_value == (np.sum(apart - apart.mean() > observed) + 1) / 201
    half = (
        np.sort(system)[-6] - np.sort(system)[5]
    ) / 2  # 200 / 40 samples are cut off at each end
    assert result.interval == pytest.approx((system.mean() - half, system.mean() + half), abs=1e-4)


def test_result_depends_on_seed_and_environment_is_restored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "99")
    one, same, other = (
        paired_bootstrap(["chrf"], GOOD, BAD, [REFERENCE], samples=50, seed=seed)["chrf"]
        for seed in (3, 3, 4)
    )
    assert one == same
    assert one.interval != other.interval and one.baseline_interval != other.baseline_interval
    assert os.environ["SACREBLEU_SEED"] == "99"


def test_baseline_of_other_length_and_seed_0_raise_user_error() -> None:
    with pytest.raises(UserError, match="30 hypotheses but 29 lines in the baseline"):
        paired_bootstrap(["bleu"], GOOD, BAD[1:], [REFERENCE])
    with pytest.raises(UserError, match="seed"):
        paired_bootstrap(["bleu"], GOOD, BAD, [REFERENCE], seed=0)


@pytest.mark.parametrize("name", ["bleu", "chrf", "exact"])
def test_interval_of_one_system_is_that_of_the_paired_test(name: str) -> None:
    paired = paired_bootstrap([name], GOOD, BAD, [REFERENCE], samples=60)[name]
    interval = confidence_interval(name, GOOD, [REFERENCE], samples=60)
    assert interval == pytest.approx(paired.interval, abs=1e-4)
