"""Reading images: pixels, feature maps and errors."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nmt.data.images import (
    ImageSize,
    check_pillow,
    grid_shape,
    read_image,
    read_rgb,
    upcast_features,
)
from nmt.data.token_corpus import Array
from nmt.errors import UserError

RED, BLUE = (255, 0, 0), (0, 0, 255)
MAPS = ImageSize(features=3, positions=6)


def halves(width: int, height: int) -> Image.Image:
    """Return an image that is red on the left and blue on the right."""
    image = Image.new("RGB", (width, height), BLUE)
    image.paste(RED, (0, 0, width // 2, height))
    return image


def test_pixels_have_channels_first(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png", ImageSize(size=5))
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, values.transpose(2, 0, 1))


@pytest.mark.parametrize(("width", "height"), [(40, 10), (10, 40), (6, 6)])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_image_is_resized_to_a_square_without_cropping(
    width: int, height: int, suffix: str, tmp_path: Path
) -> None:
    halves(width, height).save(tmp_path / f"a.{suffix}", quality=100)
    pixels = read_image(tmp_path / f"a.{suffix}", ImageSize(size=8)).astype(int)
    assert pixels.shape == (3, 8, 8)
    assert np.abs(pixels[:, :, 0] - np.array(RED)[:, None]).max() < 20
    assert np.abs(pixels[:, :, 7] - np.array(BLUE)[:, None]).max() < 20


def test_image_is_rotated_by_exif_orientation(tmp_path: Path) -> None:
    image = halves(40, 20)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise: the left side becomes the top
    image.save(tmp_path / "a.jpg", exif=exif)
    pixels = read_image(tmp_path / "a.jpg", ImageSize(size=8)).astype(int)
    assert np.abs(pixels[:, 0] - np.array(RED)[:, None]).max() < 20
    assert read_rgb(tmp_path / "a.jpg").shape == (40, 20, 3)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_images_are_converted_to_rgb(mode: str, tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (255, 255, 255)).convert(mode).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png", ImageSize(size=4)) == 255).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_feature_map_grid_is_flattened_in_row_major_order(dtype: type, tmp_path: Path) -> None:
    values: Array = np.arange(18).reshape(2, 3, 3).astype(dtype)
    np.save(tmp_path / "grid.npy", values)
    np.save(tmp_path / "list.npy", values.reshape(6, 3))
    grid, flat = (read_image(tmp_path / f"{name}.npy", MAPS) for name in ("grid", "list"))
    assert np.array_equal(grid, flat)
    assert grid.tolist() == np.arange(18.0).reshape(6, 3).tolist()
    assert grid.dtype == (np.float16 if dtype is np.float16 else np.float32)
    assert upcast_features(grid).dtype == np.float32


def test_pixels_are_not_upcast() -> None:
    assert upcast_features(np.zeros((1, 3, 2, 2), np.uint8)).dtype == np.uint8


def test_grid_shape_is_a_square_or_one_row() -> None:
    assert [grid_shape(count) for count in (196, 1, 12)] == [(14, 14), (1, 1), (1, 12)]


def write_truncated(file: Path) -> None:
    halves(64, 64).save(file, "JPEG")
    file.write_bytes(file.read_bytes()[:-40])


def save(array: Array) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        with file.open("wb") as stream:
            np.save(stream, array)

    return write


PIXELS = ImageSize(size=4)
INVALID: list[tuple[str, ImageSize, Callable[[Path], object]]] = [
    ("not found", PIXELS, lambda file: None),
    ("cannot read: Is a directory", PIXELS, lambda file: file.mkdir()),
    ("is not an image; give JPEG or PNG", PIXELS, lambda file: file.write_text("hello")),
    ("is not an image; give JPEG or PNG", PIXELS, lambda file: file.write_bytes(b"")),
    ("is corrupt (image file is truncated", PIXELS, write_truncated),
    ("not found", MAPS, lambda file: None),
    ("is not an .npy array", MAPS, lambda file: file.write_text("hello")),
    ("is not an .npy array", MAPS, lambda file: file.write_bytes(b"")),
    ("is not an .npy array", MAPS, save(np.array([{}, {}], object))),
    ("is an array (6, 4) of float32, not 6 positions x 3", MAPS, save(np.ones((6, 4), np.float32))),
    ("is an array (2, 3, 4) of float64", MAPS, save(np.ones((2, 3, 4)))),
    ("is an array (6, 3) of int64", MAPS, save(np.ones((6, 3), np.int64))),
    ("is an array () of float64", MAPS, save(np.array(1.0))),
]


@pytest.mark.parametrize(("message", "size", "write"), INVALID)
def test_invalid_file_raises_one_line_user_error(
    message: str, size: ImageSize, write: Callable[[Path], object], tmp_path: Path
) -> None:
    write(tmp_path / "a")
    with pytest.raises(UserError) as caught:
        read_image(tmp_path / "a", size)
    (line,) = caught.value.lines
    assert line.startswith(f"{tmp_path / 'a'}: {message}")
    assert ";" in line


def test_decompression_bomb_raises_user_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves(40, 40).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match="give a smaller image"):
        read_image(tmp_path / "a.png", PIXELS)


def test_missing_pillow_is_a_user_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_pillow()
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(UserError, match=r"images require the package Pillow; run .*captioning"):
        check_pillow()
