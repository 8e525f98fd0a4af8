"""Source images of captioning: reading image files, and an array of all images of a corpus."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import chain
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.lib import format as npy

from nmt.data.corpus import Corpus
from nmt.data.token_corpus import Array
from nmt.errors import UserError
from nmt.storage.atomic import Fingerprint, fingerprint, is_intact, seal_dir, staging_dir
from nmt.version import install_command

if TYPE_CHECKING:  # only captioning requires Pillow
    from PIL.Image import Image

log = logging.getLogger("nmt")

# Part of every fingerprint: increase it when the meaning of the cached arrays changes.
CACHE_VERSION = 1
CACHE_FILE = "pictures.npy"
BILINEAR = 2
"""`PIL.Image.Resampling.BILINEAR`."""


# Not the section itself, whose import needs pydantic; checked at run time in the tests.
@runtime_checkable
class PictureOptions(Protocol):
    """The section `data.pictures`; see `PicturesConfig`."""

    @property
    def size(self) -> int | None: ...
    @property
    def features(self) -> int | None: ...
    @property
    def positions(self) -> int: ...


class ImageSize(NamedTuple):
    """Format of the source images of an experiment: pixels, or precomputed feature maps.

    Pixels are bytes of shape (3, size, size) in the order red, green, blue. A feature map has the
    shape (positions, features), one annotation per row; the positions of its grid are in row-major
    order.

    Attributes:
        size: side length in pixels; None for feature maps
        features: width of an annotation; None for pixels
        positions: number of annotations of a feature map
    """

    size: int | None = None
    features: int | None = None
    positions: int = 196

    @classmethod
    def from_config(cls, config: PictureOptions | None) -> "ImageSize | None":
        """Return the image format of a config's `data.pictures`; None if the source is text."""
        if config is None:
            return None
        return cls(config.size, config.features, config.positions)


@dataclass(frozen=True, eq=False)
class ImageStore:
    """The distinct images of a corpus, numbered from 0.

    It replaces the source vocabulary: an image is a sentence of one token, its number.

    Attributes:
        numbers: number of each image, by the name that `Corpus.pairs` yields
        images: all images, one per row, in the format of `ImageSize`
        fingerprint: sha256 of the file fingerprints and the format
    """

    numbers: dict[str, int]
    images: Array
    fingerprint: str

    def __len__(self) -> int:
        return len(self.numbers)

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Return the number of each named image as a token; no token for an empty name."""
        return [[self.numbers[text]] if text else [] for text in texts]


def open_image_store(corpus: Corpus, size: ImageSize, *, cache_dir: Path | None) -> ImageStore:
    """Load the images of a corpus from the cache, or read the image files and cache them.

    Image files are read only if the path, size or modification time of one of them has changed.

    Args:
        corpus: a corpus with `images` set
        size: format of the images
        cache_dir: directory with one subdirectory per cached array; None keeps it in memory

    Raises:
        UserError: if a file is missing or has another format; its location is the first line that
            names the file
    """
    lines = _find_first_lines(corpus)
    files = [_fingerprint_file(corpus, name, line) for name, line in lines.items()]
    key = json.dumps([CACHE_VERSION, size, files])
    key_hash = hashlib.sha256(key.encode()).hexdigest()
    # The key contains no content: hashing the files would read every image at every start.
    if cache_dir is None:
        images = np.stack(list(_read_images(corpus, lines, size)))
    else:
        entry = cache_dir / key_hash
        if not is_intact(entry):
            if entry.exists():
                log.warning("%s: is damaged; the images are read again", entry)
            _write_cache(cache_dir, entry, _read_images(corpus, lines, size), len(lines))
        # A plain array that is still memory-mapped; slicing np.memmap costs several times as much.
        images = np.asarray(np.load(entry / CACHE_FILE, mmap_mode="r"))
    return ImageStore({name: number for number, name in enumerate(lines)}, images, key_hash)


def read_image(file: Path, size: ImageSize) -> Array:
    """Read an image file in the format of the experiment.

    Pixels are read from any format that Pillow supports. The image is rotated by its EXIF
    orientation, converted to RGB and resized to a square without cropping. Feature maps are .npy
    files of shape (positions, features) or (rows, columns, features).

    Raises:
        UserError: if the file cannot be read or has another format
    """
    try:
        return _read_feature_map(file, size) if size.size is None else _read_pixels(file, size.size)
    except OSError as error:
        raise UserError(_explain_read_error(error), str(file)) from None


def read_rgb(file: Path) -> Array:
    """Read the pixels of an image in its own size, as (height, width, 3) bytes.

    Raises:
        OSError: if the file cannot be read or is not an image
    """
    return np.asarray(_open_rgb(file))


def check_pillow() -> None:
    """Raise UserError if Pillow is not installed, which experiments on images require."""
    try:
        import_module("PIL.Image")
    except ImportError:
        message = f"images require the package Pillow; run {install_command('captioning')}"
        raise UserError(message) from None


class NotAnImageError(OSError):
    """A file in no format that Pillow reads."""


def _open_rgb(file: Path) -> "Image":
    """Return an image rotated by its EXIF orientation and converted to RGB.

    Raises:
        OSError: if the file cannot be read or is not an image
        UserError: if it is too large, or Pillow is not installed
    """
    check_pillow()
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except UnidentifiedImageError as error:
        raise NotAnImageError(*error.args) from None
    except Image.DecompressionBombError as error:
        raise UserError(f"{error}; give a smaller image", str(file)) from None


def upcast_features(images: Array) -> Array:
    """Convert float16 feature maps to float32, which models require; return others unchanged."""
    return images.astype(np.float32) if images.dtype == np.float16 else images


def grid_shape(positions: int) -> tuple[int, int]:
    """Return rows and columns of a grid: a square if `positions` is a square number, or one row."""
    side = isqrt(positions)
    return (side, side) if side * side == positions else (1, positions)


@contextmanager
def error_location(location: Callable[[], str]) -> Iterator[None]:
    """Prefix user errors in the body with the location of the line that names the image.

    Args:
        location: returns `FILE:LINE`, or '' for an unknown line; called only for an error
    """
    try:
        yield
    except UserError as error:
        line = location()
        # The text file is the first location, the image file the second.
        raise UserError(str(error), line) if line else error from None


def _read_pixels(file: Path, size: int) -> Array:
    image = _open_rgb(file)
    resized = image.resize((size, size), BILINEAR)
    # Pillow has channels last, convolutions need them first.
    return np.asarray(resized).transpose(2, 0, 1)


def _read_feature_map(file: Path, size: ImageSize) -> Array:
    try:
        # Only the header is read before the shape is known to be right; never a pickle.
        array = np.lib.format.open_memmap(file, mode="r")
    except ValueError:
        raise UserError("is not an .npy array; save it with numpy.save", str(file)) from None
    flat = array.reshape(-1, array.shape[-1]) if array.ndim == 3 else array
    if flat.shape != (size.positions, size.features) or flat.dtype.kind != "f":
        raise UserError(
            f"is an array {array.shape} of {array.dtype}, not {size.positions} positions x "
            f"{size.features} features of floats; correct data.pictures or the file",
            str(file),
        )
    return flat.astype(np.float16 if flat.dtype == np.float16 else np.float32)


def _explain_read_error(error: OSError) -> str:
    """Return the reason why an image file cannot be read, and the remedy."""
    if isinstance(error, FileNotFoundError):
        return "not found; give one image file per line, relative to the text file's directory"
    if error.strerror:
        return f"cannot read: {error.strerror}; give an image file"
    if isinstance(error, NotAnImageError):
        return "is not an image; give JPEG or PNG"
    return f"is corrupt ({error}); save it again"


def _find_first_lines(corpus: Corpus) -> dict[str, int]:
    """Map the name of every image to the index of the first pair that contains it."""
    assert corpus.images
    lines: dict[str, int] = {}
    for line, (name, _) in enumerate(corpus.pairs()):
        if name:
            lines.setdefault(name, line)
    if not lines:
        raise UserError("names no image; write one file name per line", str(corpus.files[0]))
    return lines


def _fingerprint_file(corpus: Corpus, name: str, line: int) -> Fingerprint:
    with error_location(partial(corpus.location, line)):
        try:
            return fingerprint(Path(name))
        except OSError as error:
            raise UserError(_explain_read_error(error), name) from None


def _read_images(corpus: Corpus, lines: dict[str, int], size: ImageSize) -> Iterator[Array]:
    """Yield the images in order; all must have the same dtype."""
    dtype = None
    for name, line in lines.items():
        with error_location(partial(corpus.location, line)):
            image = read_image(Path(name), size)
            if dtype not in (None, image.dtype):
                message = f"has dtype {image.dtype}, but earlier files have {dtype}"
                raise UserError(f"{message}; save all files in one dtype", name)
        dtype = image.dtype
        yield image


def _write_cache(cache_dir: Path, entry: Path, images: Iterator[Array], count: int) -> None:
    with staging_dir(cache_dir) as staging:
        with (staging / CACHE_FILE).open("wb") as stream:
            first = next(images)
            shape = (count, *first.shape)
            # The number of images is known, so the header is final and images can be streamed.
            header = {"descr": first.dtype.str, "fortran_order": False, "shape": shape}
            npy.write_array_header_1_0(stream, header)
            for image in chain([first], images):
                stream.write(image.tobytes())
        seal_dir(staging, entry, {"pictures": count})
