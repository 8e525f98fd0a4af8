"""Learning-rate schedules, against factors computed by hand."""

from math import sqrt
from typing import Any

import pytest

from nmt.errors import UserError
from nmt.registry import SCHEDULES, ComponentConfig

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
