"""Sentence pairs of one part of an experiment, read from files of any format."""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from nmt.data.readers.input_file import InputFile
from nmt.errors import UserError


class Pair(NamedTuple):
    """A sentence pair.

    Attributes:
        number: its line in the file, from 1; of other formats, the number of its record
        source, target: the sentences
    """

    number: int
    source: str
    target: str


class Reader(ABC):
    """Sentence pairs of one file, or of a file per side; read lazily and as often as needed.

    Attributes:
        files: the files
        languages: codes of source and target; None for an unknown one
        notes: sentences for the report, about the form of the file
    """

    files: tuple[InputFile, ...]
    languages: tuple[str | None, str | None] = (None, None)
    notes: tuple[str, ...] = ()

    @abstractmethod
    def pairs(self) -> Iterator[Pair]:
        """Yield the sentence pairs.

        Raises:
            UserError: if a file cannot be read
        """


class TwoFiles(Reader):
    """Two files with as many lines.

    Args:
        source, target: the files
        languages: codes of the languages, usually the suffixes
    """

    def __init__(
        self, source: InputFile, target: InputFile, languages: tuple[str | None, str | None]
    ) -> None:
        self.files, self.languages = (source, target), languages

    def pairs(self) -> Iterator[Pair]:
        sides = [file.lines() for file in self.files]
        for number, (source, target) in enumerate(zip_longest(*sides), start=1):
            if source is None or target is None:
                counts = [number - (line is None) for line in (source, target)]
                rest = sum(1 for side in sides for _ in side)
                counts = [count + rest * (count == number) for count in counts]
                raise UserError(
                    f"has {counts[0]} lines, but {self.files[1].path} has {counts[1]}; give files "
                    "whose lines are translations of each other",
                    str(self.files[0].path),
                )
            yield Pair(number, source, target)


class NumberedPairs(ABC):
    """A text of sentence pairs that can be read as often as needed.

    Attributes:
        name: its first file
    """

    name: str

    @abstractmethod
    def pairs(self) -> Iterator[Pair]:
        """Yield the pairs."""

    @abstractmethod
    def location(self, index: int, number: int) -> str:
        """Return the file and line of a pair that was read.

        Args:
            index: its index among all pairs, from 0
            number: its number in the file
        """


class PairText(NumberedPairs):
    """The sentence pairs of one or more readers, one after the other.

    Args:
        readers: at least one
    """

    def __init__(self, readers: Sequence[Reader]) -> None:
        self.readers = list(readers)
        self.name = str(readers[0].files[0].path)
        self._starts: list[int] = []

    @property
    def languages(self) -> tuple[str | None, str | None]:
        """Return the codes of source and target that the files name."""
        return self.readers[0].languages

    def pairs(self) -> Iterator[Pair]:
        self._starts, count = [], 0
        for reader in self.readers:
            self._starts.append(count)
            for pair in reader.pairs():
                count += 1
                yield pair

    def location(self, index: int, number: int) -> str:
        reader = self.readers[bisect_right(self._starts, index) - 1]
        return f"{reader.files[0].path}:{number}"
