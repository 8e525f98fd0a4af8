"""Mistakes of the user, which commands print on one line each."""

from collections.abc import Sequence


class UserError(ValueError):
    """A mistake of the user: an invalid option, configuration, file or text.

    Commands print it on one line and exit with code 2, without a traceback.

    Args:
        message: what is wrong; what to do
        location: `FILE:LINE`, `FILE` or a configuration key; empty if there is none
    """

    def __init__(self, message: str, location: str = "") -> None:
        super().__init__(f"{location}: {message}" if location else message)
        self.message = message
        self.location = location

    @property
    def lines(self) -> list[str]:
        """Return one line per mistake."""
        return [" ".join(str(self).split("\n"))]


class UserErrors(UserError):
    """Several mistakes that are reported together.

    Args:
        errors: at least one, in the order of printing
    """

    def __init__(self, errors: Sequence[UserError]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = tuple(errors)

    @property
    def lines(self) -> list[str]:
        return [line for error in self.errors for line in error.lines]
