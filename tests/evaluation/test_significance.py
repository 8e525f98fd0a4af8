import os
from functools import partial

import numpy as np
import pytest

from nmt.errors import UserError
from nmt.evaluation.metrics import METRICS, score
from nmt.evaluation.significance import paired_bootstrap

REFERENCE = [f"the {word} number {i} stands here today" for i, word in enumerate("abcdefghij" * 3)]
GOOD = [line.replace("today", "now") if i % 6 == 0 else line for i, line in enumerate(REFERENCE)]
BAD = [line.replace("here", "over there") if i % 3 else line for i, line in enumerate(REFERENCE)]
compare = partial(paired_bootstrap, samples=200, seed=7)


def test_a_clearly_better_system_has_a_small_p_value_under_every_metric() -> None:
    results = compare(list(METRICS), GOOD, BAD, [REFERENCE])
    assert list(results) == list(METRICS)
    for name, result in results.items():
        assert result.p_value < 0.05
        assert result.score == score([name], GOOD, [REFERENCE])[name].score
        assert result.baseline == score([name], BAD, [REFERENCE])[name].score
        assert result.interval[0] <= result.score <= result.interval[1]
        assert "bs:200|seed:7" in result.signature


def test_a_system_is_not_better_than_itself() -> None:
    results = compare(["bleu", "exact"], GOOD, GOOD, [REFERENCE])
    assert [result.p_value for result in results.values()] == [1, 1]


def test_systems_that_are_wrong_in_different_ways_are_equally_exact() -> None:
    none, other = ["x"] * 30, ["y"] * 30
    result = compare(["exact"], none, other, [REFERENCE])["exact"]
    assert (result.score, result.baseline, result.p_value) == (0, 0, 1)


def test_systems_a_hair_apart_have_a_large_p_value() -> None:
    one_more = [*GOOD[:-1], "the wrong line"]
    result = compare(["exact"], GOOD, one_more, [REFERENCE])["exact"]
    assert result.p_value > 0.2


def test_the_bootstrap_of_exact_is_that_of_plain_means() -> None:
    result = compare(["exact"], GOOD, BAD, [REFERENCE])["exact"]
    right = [np.array([a == b for a, b in zip(x, REFERENCE, strict=True)]) for x in (GOOD, BAD)]
    draws = np.random.default_rng(7).choice(30, size=(200, 30), replace=True)
    system, baseline = (100 * lines[draws].mean(axis=1) for lines in right)
    apart = np.abs(system - baseline)
    observed = 100 * abs(right[0].mean() - right[1].mean())
    assert result.p_value == (np.sum(apart - apart.mean() > observed) + 1) / 201
    half = (np.sort(system)[-6] - np.sort(system)[5]) / 2  # 200 / 40 samples off at each end
    assert result.interval == pytest.approx((system.mean() - half, system.mean() + half), abs=1e-4)


def test_the_seed_decides_and_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "99")
    one, same, other = (
        paired_bootstrap(["chrf"], GOOD, BAD, [REFERENCE], samples=50, seed=seed)["chrf"]
        for seed in (3, 3, 4)
    )
    assert one == same
    assert one.interval != other.interval and one.baseline_interval != other.baseline_interval
    assert os.environ["SACREBLEU_SEED"] == "99"


def test_a_baseline_of_another_length_and_a_seed_of_0_are_refused() -> None:
    with pytest.raises(UserError, match="30 hypotheses but 29 lines in the baseline"):
        paired_bootstrap(["bleu"], GOOD, BAD[1:], [REFERENCE])
    with pytest.raises(UserError, match="seed"):
        paired_bootstrap(["bleu"], GOOD, BAD, [REFERENCE], seed=0)
