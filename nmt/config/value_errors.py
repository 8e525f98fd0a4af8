"""Errors about values, as validators raise them, and values as YAML writes them."""

from collections.abc import Mapping

from pydantic_core import PydanticCustomError

MAX_SHOWN = 120  # characters
MAX_SHOWN_BITS = 256


def error_at(key: str, message: str) -> PydanticCustomError:
    """Return an error about another key than that of the validator which raises it.

    Args:
        key: dotted, from the root of the file
        message: what is wrong; what to do
    """
    return custom_error(message, key=key)


def custom_error(message: str, **context: str) -> PydanticCustomError:
    """Return an error with a message of its own.

    Args:
        message: what is wrong; what to do
        context: further values for the code that reports it
    """
    # The message is an argument of the template, because it may contain braces.
    return PydanticCustomError("custom", "{message}", {"message": message, **context})


def shown(value: object) -> str:
    """Return a value as it is written in YAML, and only the kind of a mapping."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case Mapping():
            return "a mapping"
        case str():
            return shortened(repr(str(value)))
        case int() if value.bit_length() > MAX_SHOWN_BITS:  # Python converts 4,300 digits at most
            return f"an integer of {value.bit_length():,} bits"
        case _:
            return shortened(" ".join(str(value).split()))


def shortened(text: str) -> str:
    """Return a text, or the beginning and the end of a long one."""
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 20]}...{text[-10:]}"
