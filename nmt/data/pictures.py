"""Source pictures: what one of them is, and reading its file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from nmt.config.schema import PicturesConfig
from nmt.data.encoded import Array
from nmt.errors import UserError


class PictureSizes(NamedTuple):
    """What every source picture of an experiment is: pixels, or a ready feature map.

    Pixels are bytes (3, size, size) of red, green and blue. A feature map is (positions, features):
    an annotation a row, the positions of its grid row by row.

    Attributes:
        size: side in pixels; None for feature maps
        features: width of an annotation; None for pixels
        positions: annotations of a feature map
    """

    size: int | None = None
    features: int | None = None
    positions: int = 196

    @classmethod
    def of(cls, config: PicturesConfig | None) -> "PictureSizes | None":
        """The sizes that a config's `data.pictures` asks for; None where the source is text."""
        if config is None:
            return None
        return cls(config.size, config.features, config.positions)


def square_grid(positions: int) -> tuple[int, int]:
    """Rows and columns of so many positions: a square, or one row where they make none."""
    side = isqrt(positions)
    return (side, side) if side * side == positions else (1, positions)


def read_picture(file: Path, sizes: PictureSizes) -> Array:
    """The picture in a file, as `PictureSizes` tells.

    Pixels come from whatever Pillow reads, JPEG and PNG above all: turned as its camera notes, in
    colour, the whole picture stretched or squeezed into the square. Feature maps are .npy files of
    (positions, features) or (rows, columns, features).

    Raises:
        UserError: the file cannot be read, or is something else
    """
    try:
        return _feature_map(file, sizes) if sizes.size is None else _pixels(file, sizes.size)
    except OSError as error:
        raise UserError(explain(error), str(file)) from None
    except Image.DecompressionBombError as error:
        raise UserError(f"{error}; give a smaller picture", str(file)) from None


def widen(pictures: Array) -> Array:
    """Feature maps as models take them, at least float32; pixels stay as they are."""
    return pictures.astype(np.float32) if pictures.dtype == np.float16 else pictures


def read_whole(file: Path) -> Array:
    """The pixels of a picture in its own size, (height, width, 3), to draw on.

    Raises:
        OSError: when it cannot be read
    """
    with Image.open(file) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _pixels(file: Path, size: int) -> Array:
    with Image.open(file) as image:
        turned = ImageOps.exif_transpose(image).convert("RGB")
    return np.asarray(turned.resize((size, size), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


def _feature_map(file: Path, sizes: PictureSizes) -> Array:
    try:
        array = np.lib.format.open_memmap(file, mode="r")
    except ValueError:
        raise UserError("is not an .npy array; save it with numpy.save", str(file)) from None
    flat = array.reshape(-1, array.shape[-1]) if array.ndim == 3 else array
    if flat.shape != (sizes.positions, sizes.features) or flat.dtype.kind != "f":
        raise UserError(
            f"is an array {array.shape} of {array.dtype}, not {sizes.positions} positions x "
            f"{sizes.features} features of floats; say what it is in data.pictures",
            str(file),
        )
    return flat.astype(np.float16 if flat.dtype == np.float16 else np.float32)


def explain(error: OSError) -> str:
    """Why a picture's file cannot be read, and what would be right."""
    if isinstance(error, FileNotFoundError):
        return "no such file; a line names one picture, from the folder of the text file on"
    if error.strerror:
        return f"cannot read: {error.strerror}; give a picture"
    if isinstance(error, UnidentifiedImageError):
        return "is not a picture; give JPEG or PNG"
    return f"is damaged ({error}); save it again"


@contextmanager
def told_at(place: Callable[[], str]) -> Iterator[None]:
    """What is wrong with a picture's file, told at the line that names it, if there is one."""
    try:
        yield
    except UserError as error:
        line = place()
        raise UserError(str(error), line) if line else error from None
