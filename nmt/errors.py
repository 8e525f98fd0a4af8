"""What a user can do wrong, told in one line."""

from collections.abc import Sequence


class UserError(ValueError):
    """A mistake of the user's: a bad option, config, file or text.

    Commands print it as one line and leave with exit code 2, never with a traceback.

    Args:
        message: what is wrong, and what would be right
        place: where, as `FILE:LINE`, `FILE` or a config key; empty when there is no place
    """

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(f"{place}: {message}" if place else message)
        self.message = message
        self.place = place

    @property
    def lines(self) -> list[str]:
        """What to print: a line for each mistake."""
        return [" ".join(str(self).split("\n"))]


class UserErrors(UserError):
    """Several mistakes that were found together.

    Args:
        errors: at least one, in the order to print
    """

    def __init__(self, errors: Sequence[UserError]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = tuple(errors)

    @property
    def lines(self) -> list[str]:
        return [line for error in self.errors for line in error.lines]
