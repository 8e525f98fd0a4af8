"""A state.json with values of other kinds is refused with the key."""

import pytest

from nmt.errors import UserError
from nmt.storage.atomic import JsonObject
from nmt.storage.checkpoint_state import check_complete, check_state

STATE: JsonObject = {
    "step": 8,
    "position": {"epoch": 0, "batch": 8},
    "schedule": {},
    "scaler": {},
    "ranks": 1,
    "minutes": 0.5,
    "watch": {"best": 3.5, "best_step": 8, "waited": 0, "record": 3.5, "losses": [3.5, 3.5]},
    "tally": {"loss": 5400.5, "tokens": 1339},
}


def test_state_of_a_run_is_accepted() -> None:
    unvalidated = {"best": None, "best_step": None, "waited": 0, "record": None, "losses": None}
    for state in (STATE, STATE | {"watch": unvalidated}):
        check_state(state, "state.json")
        check_complete(state, "state.json")
    check_state({}, "state.json")  # for translation


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("step", True, "step is not a count"),
        ("step", 8.5, "step is not a count"),
        ("step", 10**30, "step is not a count"),
        ("position", None, "position is not an object"),
        ("position", {"epoch": -1}, "position.epoch is not a count"),
        ("watch", {"best": "x"}, "watch.best is not a number or null"),
        ("watch", {"best_step": "../x"}, "watch.best_step is not a count or null"),
        ("watch", {"losses": ["a", 1]}, "watch.losses is not two numbers or null"),
        ("tally", [], "tally is not an object"),
        ("minutes", "a", "minutes is not a number"),
    ],
)
def test_value_of_another_kind_is_named(key: str, value: object, message: str) -> None:
    with pytest.raises(UserError, match=f"state.json: {message}; use another checkpoint"):
        check_state(STATE | {key: value}, "state.json")


@pytest.mark.parametrize("key", ["step", "watch", "tally"])
def test_missing_value_is_named(key: str) -> None:
    state = {name: value for name, value in STATE.items() if name != key}
    with pytest.raises(UserError, match=f"state.json: lacks {key}"):
        check_complete(state, "state.json")
