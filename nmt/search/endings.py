"""The best hypotheses of one sentence that go no further."""

from collections.abc import Iterable
from typing import NamedTuple


class Ending(NamedTuple):
    """A hypothesis that goes no further: candidate `column` of step `length`."""

    score: float
    log_prob: float
    length: int
    column: int


class Endings:
    """The `n_best` best of a sentence, best first; of equal ones those that were added first.

    Finished ones stand before those that the longest length cut off, whatever their scores, so that
    what is best does not depend on how many are asked for.

    Args:
        n_best: how many are asked for
    """

    def __init__(self, n_best: int) -> None:
        self._n_best = n_best
        self._finished: list[Ending] = []
        self._cut_off: list[Ending] = []

    def finish(self, ending: Ending) -> None:
        """Add one that reached the end mark."""
        self._finished = _best(self._n_best, [*self._finished, ending])

    def cut_off(self, endings: Iterable[Ending]) -> None:
        """Add those that reached the longest length instead."""
        self._cut_off = _best(self._n_best, endings)

    def beats(self, bound: float) -> bool:
        """Whether `n_best` are finished and none of them could give way to one of this score."""
        return len(self._finished) == self._n_best and self._finished[-1].score >= bound

    def best(self) -> list[tuple[Ending, bool]]:
        """At most `n_best`, each with whether it is finished."""
        finished = [(ending, True) for ending in self._finished]
        cut_off = [(ending, False) for ending in self._cut_off]
        return (finished + cut_off)[: self._n_best]


def _best(count: int, endings: Iterable[Ending]) -> list[Ending]:
    return sorted(endings, key=lambda ending: -ending.score)[:count]
