"""Kinds of the values in state.json, which is text that anybody may have edited."""

from collections.abc import Mapping
from typing import Any

from nmt.errors import UserError

# Updates and tokens beyond this are no counts, and JSON readers of other languages round them.
MAX_COUNT = 2**53

# Values by dotted key. A state of an earlier version may lack some, and a component may add some.
COUNTS = ("step", "position.epoch", "position.batch", "ranks", "watch.waited", "tally.tokens")
OPTIONAL_COUNTS = ("watch.best_step",)
NUMBERS = ("minutes", "tally.loss")
OPTIONAL_NUMBERS = ("watch.best", "watch.record")
OBJECTS = ("position", "schedule", "scaler", "watch", "tally")
# Those that a training continues from.
REQUIRED = (
    *("step", "position", "position.epoch", "position.batch", "schedule", "scaler", "minutes"),
    *("watch", "watch.best", "watch.best_step", "watch.waited"),
    *("tally", "tally.loss", "tally.tokens"),
)


def check_state(state: Mapping[str, Any], location: str) -> None:
    """Raise UserError for a value of another kind than training writes.

    Args:
        state: content of state.json
        location: name of the file in error messages
    """
    # Objects first: they hold the other values.
    for keys, expected, is_expected in (
        (OBJECTS, "an object", lambda value: isinstance(value, dict)),
        (COUNTS, "a count", _is_count),
        (OPTIONAL_COUNTS, "a count or null", lambda value: value is None or _is_count(value)),
        (NUMBERS, "a number", _is_number),
        (OPTIONAL_NUMBERS, "a number or null", lambda value: value is None or _is_number(value)),
        (("watch.losses",), "two numbers or null", _is_losses),
    ):
        for key in keys:
            holder, name = _holder(state, key)
            if name in holder and not is_expected(holder[name]):
                raise UserError(f"{key} is not {expected}; use another checkpoint", location)


def check_complete(state: Mapping[str, Any], location: str) -> None:
    """Raise UserError for a state that lacks a value that training continues from."""
    for key in REQUIRED:
        holder, name = _holder(state, key)
        if name not in holder:
            raise UserError(f"lacks {key}; use another checkpoint", location)


def _holder(state: Mapping[str, Any], key: str) -> tuple[Mapping[str, Any], str]:
    """Return the object that holds a dotted key, and the last part of the key."""
    *path, name = key.split(".")
    for part in path:
        state = state.get(part, {})
    return state, name


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


def _is_number(value: object) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool))


def _is_losses(value: object) -> bool:
    return value is None or (
        isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
    )
