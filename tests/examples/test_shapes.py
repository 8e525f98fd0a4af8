import json
import random
from pathlib import Path
from typing import Any

import make_shapes
import numpy as np
import pytest
from PIL import Image

from nmt.examples import shapes as shapes_task

SIZES = {"train": 60, "valid": 10, "test": 12}


def write(folder: Path, seed: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    shapes_task.write(folder, SIZES, seed)
    return folder


def lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def boxes(folder: Path) -> dict[str, list[dict[str, Any]]]:
    found = map(json.loads, lines(folder / "boxes.jsonl"))
    return {line["picture"]: line["shapes"] for line in found}


def pixels(file: Path) -> Any:
    with Image.open(file) as image:
        return np.asarray(image).astype(int)


def test_captions_agree_with_the_boxes(tmp_path: Path) -> None:
    folder = write(tmp_path / "new" / "shapes")
    shapes = boxes(folder)
    for part, size in SIZES.items():
        names, captions = lines(folder / f"{part}.pictures"), lines(folder / f"{part}.en")
        assert len(names) == len(captions) == size
        for name, caption in zip(names, captions, strict=True):
            first, second = (f"a {shape['color']} {shape['kind']}" for shape in shapes[name])
            assert caption.startswith(f"{first} ") and caption.endswith(f" {second}")
            assert caption[len(first) + 1 : -len(second) - 1] == relation(shapes[name])


def relation(shapes: list[dict[str, Any]]) -> str:
    """Return the relation of the centers, by the larger offset."""
    (left, top, right, bottom), (l2, t2, r2, b2) = (shape["box"] for shape in shapes)
    across, down = left + right - l2 - r2, top + bottom - t2 - b2
    if abs(down) > abs(across):
        return "above" if down < 0 else "below"
    return "left of" if across < 0 else "right of"


def test_larger_shape_is_first_and_shapes_do_not_overlap(tmp_path: Path) -> None:
    for first, second in boxes(write(tmp_path)).values():
        (left, top, right, bottom), (l2, t2, r2, b2) = first["box"], second["box"]
        assert right - left == bottom - top >= 18
        assert r2 - l2 == b2 - t2 <= 13
        assert right < l2 or r2 < left or bottom < t2 or b2 < top
        assert min(left, top, l2, t2) >= 0 and max(right, bottom, r2, b2) <= shapes_task.SIDE


def test_box_is_the_bounding_box_of_its_color(tmp_path: Path) -> None:
    folder = write(tmp_path)
    for name, shapes in boxes(folder).items():
        picture = pixels(folder / name)
        background = picture[0, 0]
        outside = np.ones(picture.shape[:2], bool)
        for shape in shapes:
            left, top, right, bottom = shape["box"]
            inside = picture[top:bottom, left:right]
            middle = inside[len(inside) // 2, len(inside) // 2]
            assert np.abs(middle - shapes_task.COLORS[shape["color"]]).max() <= shapes_task.SHADE
            marked = (inside != background).any(axis=2)
            edges = marked[0], marked[-1], marked[:, 0], marked[:, -1]
            assert all(edge.any() for edge in edges), (name, shape)
            outside[top:bottom, left:right] = False
        assert (picture[outside] == background).all()


@pytest.mark.parametrize(
    ("kind", "share"), [("circle", np.pi / 4), ("square", 1), ("triangle", 0.5)]
)
def test_area_of_each_kind(kind: str, share: float) -> None:
    shape = shapes_task.Shape("black", kind, (4, 4, 28, 28))
    tiny = shapes_task.Shape("black", "square", (50, 50, 51, 51))
    picture = shapes_task.paint(shapes_task.Scene(shape, tiny, "left of"), random.Random(1))
    values = np.asarray(picture).astype(float)[:30, :30, 0]
    covered = (values[0, 0] - values) / (values[0, 0] - values.min())
    assert covered.sum() == pytest.approx(share * 24 * 24, rel=0.03)


def test_images_are_distinct_and_determined_by_the_seed(tmp_path: Path) -> None:
    first, again, other = (
        write(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    drawn = [pixels(first / name).tobytes() for name in boxes(first)]
    assert len(drawn) == len(set(drawn)) == sum(SIZES.values())
    for name in ("train.en", "test.pictures", "boxes.jsonl"):
        assert (first / name).read_bytes() == (again / name).read_bytes()
    assert (first / "train.en").read_bytes() != (other / "train.en").read_bytes()


def test_impossible_sizes_are_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        make_shapes.main(["--output", str(tmp_path / "x"), "--train", "-1"])
    assert caught.value.code == 2
    assert "sizes must be" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
