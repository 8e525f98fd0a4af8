"""All pictures of a corpus in one array: read once, then found again and mapped."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from nmt.data.corpus import Corpus
from nmt.data.encoded import Array
from nmt.data.pictures import PictureSizes, explain, read_picture, told_at
from nmt.errors import UserError
from nmt.storage import atomic
from nmt.storage.atomic import Fingerprint, is_intact, seal_dir, staging_dir

# Part of every key: raise it when the arrays come to mean something else.
FORMAT = 1
FILE = "pictures.npy"


@dataclass(frozen=True, eq=False)
class Album:
    """The different pictures of a corpus, numbered from 0.

    It stands where text has a vocabulary: a picture is a sentence of one piece, its number.

    Attributes:
        numbers: the number of each picture, by the name that `Corpus.pairs` gives
        pictures: all of them, one a row, as `PictureSizes` says
        fingerprint: sha256 of the files' stamps and the sizes
    """

    numbers: dict[str, int]
    pictures: Array
    fingerprint: str

    def __len__(self) -> int:
        return len(self.numbers)

    def encode_all(self, texts: list[str]) -> list[list[int]]:
        """The number of each named picture; nothing for an empty line."""
        return [[self.numbers[text]] if text else [] for text in texts]


def open_album(corpus: Corpus, sizes: PictureSizes, *, folder: Path | None) -> Album:
    """Read the pictures of a corpus, or find them in the folder.

    Where the files are as they were (path, size, times of change), no picture is read.

    Args:
        folder: where arrays are kept, a subfolder each; None keeps this one in memory

    Raises:
        UserError: a file is missing or no such picture, told at the first line that names it
    """
    lines = _named(corpus)
    stamps = [_stamp(corpus, name, line) for name, line in lines.items()]
    words = json.dumps([FORMAT, sizes, stamps])
    fingerprint = hashlib.sha256(words.encode()).hexdigest()
    if folder is None:
        pictures = np.stack(list(_read(corpus, lines, sizes)))
    else:
        place = folder / fingerprint
        if not is_intact(place):
            _write(folder, place, _read(corpus, lines, sizes), len(lines))
        # As a plain array, still mapped: a slice of np.memmap costs several times as much.
        pictures = np.asarray(np.load(place / FILE, mmap_mode="r"))
    return Album({name: number for number, name in enumerate(lines)}, pictures, fingerprint)


def _named(corpus: Corpus) -> dict[str, int]:
    """Every picture by name, with the number of the first pair that names it, from 0."""
    assert corpus.pictures
    lines: dict[str, int] = {}
    for line, (name, _) in enumerate(corpus.pairs()):
        if name:
            lines.setdefault(name, line)
    if not lines:
        raise UserError("names no picture; write a file name a line", str(corpus.files[0]))
    return lines


def _stamp(corpus: Corpus, name: str, line: int) -> Fingerprint:
    with told_at(partial(corpus.place, line)):
        try:
            return atomic.fingerprint(Path(name))
        except OSError as error:
            raise UserError(explain(error), name) from None


def _read(corpus: Corpus, lines: dict[str, int], sizes: PictureSizes) -> Iterator[Array]:
    """The pictures one after the other, all of one type."""
    dtype = None
    for name, line in lines.items():
        with told_at(partial(corpus.place, line)):
            picture = read_picture(Path(name), sizes)
            if dtype not in (None, picture.dtype):
                message = f"holds {picture.dtype}, and those before it hold {dtype}"
                raise UserError(f"{message}; save all in one type", name)
        dtype = picture.dtype
        yield picture


def _write(folder: Path, place: Path, pictures: Iterator[Array], count: int) -> None:
    with staging_dir(folder) as scratch:
        with (scratch / FILE).open("wb") as stream:
            first = next(pictures)
            shape = (count, *first.shape)
            header = {"descr": first.dtype.str, "fortran_order": False, "shape": shape}
            npy.write_array_header_1_0(stream, header)
            for picture in chain([first], pictures):
                stream.write(picture.tobytes())
        seal_dir(scratch, place, {"pictures": count})
