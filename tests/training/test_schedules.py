"""Learning-rate schedules, against factors computed by hand."""

import json
from math import cos, pi, sqrt
from typing import Any

import pytest

from nmt.errors import UserError
from nmt.registry import SCHEDULES, ComponentConfig
from nmt.training.limits import Limits, TrainingLength

FACTORS: list[tuple[str, dict[str, Any], dict[int, float]]] = [
    ("constant", {}, {1: 1.0, 1000: 1.0}),
    ("constant", {"warmup": 4}, {1: 0.25, 3: 0.75, 4: 1.0, 5: 1.0}),
    ("inverse_sqrt", {"warmup": 100}, {1: 0.01, 50: 0.5, 100: 1.0, 400: 0.5, 200: sqrt(0.5)}),
    # (1 + cos 60°) / 2 = 0.75, (1 + cos 90°) / 2 = 0.5, (1 + cos 120°) / 2 = 0.25
    ("cosine", {"steps": 120}, {40: 0.75, 60: 0.5, 80: 0.25, 120: 0.0, 500: 0.0}),
    (
        "cosine",
        {"steps": 130, "warmup": 10, "floor": 0.2},
        {5: 0.5, 10: 1.0, 50: 0.8, 70: 0.6, 130: 0.2, 131: 0.2},
    ),
    ("cosine", {"steps": 100, "warmup": 0.2}, {5: 0.25, 20: 1.0, 60: 0.5, 100: 0.0}),
    ("linear", {"steps": 100}, {1: 0.99, 25: 0.75, 100: 0.0, 200: 0.0}),
    ("linear", {"steps": 110, "warmup": 10, "floor": 0.5}, {5: 0.5, 10: 1.0, 60: 0.75, 110: 0.5}),
    (
        "luong",
        {"start": 8, "every": 3},
        {1: 1.0, 8: 1.0, 9: 0.5, 11: 0.5, 12: 0.25, 14: 0.25, 15: 0.125},
    ),
    ("luong", {"start": 1, "every": 1, "decay": 0.9}, {1: 1.0, 2: 0.9, 4: 0.729}),
    ("plateau", {"warmup": 10}, {5: 0.5, 10: 1.0, 11: 1.0}),
]


@pytest.mark.parametrize(("name", "options", "expected"), FACTORS)
def test_factor_follows_the_formula(
    name: str, options: dict[str, Any], expected: dict[int, float]
) -> None:
    schedule = SCHEDULES.build(ComponentConfig(name, options))
    for step, factor in expected.items():
        assert schedule.factor(step) == pytest.approx(factor, abs=1e-12), step


def test_every_schedule_has_a_reference() -> None:
    built_in = {n for n, p in SCHEDULES.specs().items() if p.module.startswith("nmt.")}
    assert {name for name, _, _ in FACTORS} == built_in


def test_plateau_decays_after_patience_validations_without_improvement() -> None:
    schedule = SCHEDULES.build(
        ComponentConfig("plateau", {"decay": 0.1, "patience": 2, "floor": 0.05})
    )
    seen = []
    for improved in (True, False, True, False, False, False, False, False, False):
        schedule.on_validation(1, improved)
        seen.append(schedule.factor(1))
    assert seen == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.05, 0.05, 0.05])


def test_restored_plateau_keeps_its_counters() -> None:
    schedule = SCHEDULES.build(ComponentConfig("plateau", {"patience": 2}))
    for improved in (False, False, False):
        schedule.on_validation(1, improved)
    other = SCHEDULES.build(ComponentConfig("plateau", {"patience": 2}))
    other.load_state_dict(schedule.state_dict())
    assert other.factor(1) == 0.5
    other.on_validation(1, False)
    assert other.factor(1) == 0.25


def test_cosine_shorter_than_warmup_is_refused() -> None:
    with pytest.raises(UserError, match="warmup: 10 must be less than steps: 10"):
        SCHEDULES.build(ComponentConfig("cosine", {"steps": 10, "warmup": 10}))


class _Clock:
    minutes = 0.0


def _length(limits: Limits, clock: _Clock) -> TrainingLength:
    return TrainingLength(limits, lambda: 25, lambda: clock.minutes)


@pytest.mark.parametrize(
    ("limits", "warmup", "expected"),
    [
        # (update, minutes, share of the decay that is done)
        (Limits(steps=100), 0, [(25, 9.0, 0.25), (100, 9.0, 1.0), (130, 9.0, 1.0)]),
        (Limits(epochs=4), 0, [(25, 9.0, 0.25), (100, 9.0, 1.0)]),
        (Limits(epochs=4), 20, [(20, 9.0, 0.0), (60, 9.0, 0.5)]),
        (Limits(minutes=10.0), 0, [(1, 0.0, 0.0), (7, 2.5, 0.25), (9, 10.0, 1.0), (10, 11.0, 1.0)]),
        (Limits(minutes=10.0), 0.5, [(1, 7.5, 0.5), (2, 10.0, 1.0)]),
        (Limits(minutes=10.0), 3, [(4, 2.5, 0.25)]),
        # The limit that comes first counts.
        (Limits(epochs=4, minutes=10.0), 0, [(25, 1.0, 0.25), (25, 5.0, 0.5)]),
        (Limits(epochs=4, steps=50), 0, [(25, 1.0, 0.5)]),
    ],
)
def test_schedule_without_steps_ends_at_the_first_limit_of_training(
    limits: Limits, warmup: float, expected: list[tuple[int, float, float]]
) -> None:
    clock = _Clock()
    for name, curve in (("linear", lambda x: 1 - x), ("cosine", lambda x: (1 + cos(pi * x)) / 2)):
        schedule = SCHEDULES.build(ComponentConfig(name, {"warmup": warmup}))
        schedule.length = _length(limits, clock)
        for step, clock.minutes, done in expected:
            assert schedule.factor(step) == pytest.approx(curve(done)), (name, step)


def test_warmup_by_minutes_rises_with_them() -> None:
    clock = _Clock()
    schedule = SCHEDULES.build(ComponentConfig("linear", {"warmup": 0.1}))
    schedule.length = _length(Limits(minutes=20.0), clock)
    clock.minutes = 0.5
    assert schedule.factor(1) == pytest.approx(0.25)


def test_prolonged_training_keeps_the_length_of_its_schedule() -> None:
    clock = _Clock()
    first, then = (SCHEDULES.build(ComponentConfig("linear", {"floor": 0.1})) for _ in range(2))
    first.length, then.length = _length(Limits(epochs=4), clock), _length(Limits(epochs=8), clock)
    then.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert then.factor(50) == pytest.approx(0.55)
    assert then.factor(150) == pytest.approx(0.1)


def test_schedule_without_any_length_is_refused() -> None:
    with pytest.raises(ValueError, match="steps are required"):
        SCHEDULES.build(ComponentConfig("cosine")).factor(1)
