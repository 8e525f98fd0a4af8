"""Copies of examined pairs in the text files of the parts, without removed pairs."""

import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from nmt.data.examination.faults import Mask
from nmt.data.examination.report import Examination
from nmt.data.readers.pair_text import PairText
from nmt.storage.atomic import file_errors

REMOVED = "removed.tsv"
NOWHERE = -1


def remove(rows: NDArray[np.int8], reasons: Mapping[str, Mask]) -> NDArray[np.int8]:
    """Return the parts of pairs with NOWHERE for those that any of the reasons removes."""
    found = rows.copy()
    for mask in reasons.values():
        found[mask] = NOWHERE
    return found


@dataclass(frozen=True)
class Copy:
    """A copy of the pairs of one text into the files of one or more parts.

    Attributes:
        examined: the pairs, which are read again
        rows: index in `names` of each pair, or NOWHERE
        names: names of the parts
        reasons: removed pairs by reason
        normalize: convert lines to Unicode normalization form C
    """

    examined: Examination[PairText]
    rows: NDArray[np.int8]
    names: Sequence[str]
    reasons: Mapping[str, Mask]
    normalize: bool = False

    def counts(self) -> dict[str, int]:
        """Return the number of pairs of each part that has any."""
        counts = {name: int((self.rows == index).sum()) for index, name in enumerate(self.names)}
        return {name: count for name, count in counts.items() if count}

    def write(self, folder: Path, suffixes: tuple[str, str]) -> None:
        """Write the files NAME.SUFFIX of the parts, and the removed pairs to a table.

        Args:
            folder: existing directory
            suffixes: suffixes of source and target files

        Raises:
            UserError: if the input cannot be read, or the files cannot be written
        """
        with ExitStack() as stack, file_errors(folder):

            def create(name: str) -> IO[str]:
                file = folder / name
                return stack.enter_context(file.open("x", encoding="utf-8", newline="\n"))

            files = {name: [create(f"{name}.{one}") for one in suffixes] for name in self.counts()}
            removed = create(REMOVED) if (self.rows == NOWHERE).any() else None
            for index, pair in enumerate(self.examined.text.pairs()):
                part = int(self.rows[index])
                if part == NOWHERE:
                    assert removed is not None
                    location = self.examined.text.location(index, pair.number)
                    reasons = ", ".join(name for name, mask in self.reasons.items() if mask[index])
                    # A tab inside of a sentence would be another column.
                    sides = (side.replace("\t", " ") for side in (pair.source, pair.target))
                    removed.write("\t".join((location, reasons, *sides)) + "\n")
                    continue
                for file, line in zip(files[self.names[part]], pair[1:], strict=True):
                    line = unicodedata.normalize("NFC", line) if self.normalize else line
                    file.write(f"{line}\n")
