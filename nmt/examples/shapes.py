"""Shapes task: images of two shapes as source, captions as target.

    a red circle above a blue square

Each image of 64 x 64 pixels contains a larger and a smaller shape on a light background, each a
circle, a square or a triangle in one of six colors. Each image has one caption, by these rules:

- The larger shape is named first. It is at least 18 pixels wide, the smaller one at most 13.
- `above`, `below`, `left of` or `right of` is the direction from the smaller shape's center to
  the larger one's. Along that axis they are at least 20 pixels apart, along the other at most 8.

Sizes, positions, shades and background are random. Writes `train`, `valid` and `test`, each as
`.pictures` (names of files in `images/`, one per line) and `.en` (captions), and `boxes.jsonl`:
the shapes of each image in the order of the caption, with their bounding boxes [left, top, right,
bottom] in pixels. No image occurs twice. The same seed gives the same images.
"""

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from nmt.examples.sizes import check_sizes

SIZES = {"train": 4_000, "valid": 300, "test": 500}
SIDE = 64  # pixels per side of an image
OVERSAMPLING = 4  # images are drawn larger and reduced, for smooth edges
KINDS = ["circle", "square", "triangle"]
COLORS = {
    "red": (214, 39, 40),
    "green": (44, 140, 60),
    "blue": (31, 90, 200),
    "yellow": (235, 205, 40),
    "purple": (135, 60, 165),
    "black": (35, 35, 35),
}
RELATIONS = {"above": (0, -1), "below": (0, 1), "left of": (-1, 0), "right of": (1, 0)}
LARGE, SMALL = (18, 24), (9, 13)  # widths in pixels, ends included
APART, ASIDE = 20, 8  # pixels between centers: at least along the relation, at most across it
SHADE = 18  # maximum deviation of a color channel, of 256


@dataclass(frozen=True)
class Shape:
    """One shape; its box is [left, top, right, bottom] in pixels."""

    color: str
    kind: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """Content of an image: the shape that is named first, the other one, and their relation."""

    first: Shape
    second: Shape
    relation: str

    @property
    def caption(self) -> str:
        """Return the caption."""
        first, second = (f"a {shape.color} {shape.kind}" for shape in (self.first, self.second))
        return f"{first} {self.relation} {second}"


def draw_scene(random_state: random.Random) -> Scene:
    """Draw a random scene; all captions are equally probable."""
    relation = random_state.choice(list(RELATIONS))
    widths = random_state.randint(*LARGE), random_state.randint(*SMALL)
    while True:
        boxes = [_box(width, random_state) for width in widths]
        if _relation(*boxes) == relation:
            break
    first, second = (
        Shape(random_state.choice(list(COLORS)), random_state.choice(KINDS), b) for b in boxes
    )
    return Scene(first, second, relation)


def _box(width: int, random_state: random.Random) -> tuple[int, int, int, int]:
    left, top = random_state.randint(1, SIDE - 1 - width), random_state.randint(1, SIDE - 1 - width)
    return left, top, left + width, top + width


def _relation(first: tuple[int, ...], second: tuple[int, ...]) -> str | None:
    """Return the relation of two boxes; None if it is ambiguous."""
    offset = [(first[i] + first[i + 2] - second[i] - second[i + 2]) / 2 for i in (0, 1)]
    for name, (x, y) in RELATIONS.items():
        along, across = x * offset[0] + y * offset[1], abs(y * offset[0]) + abs(x * offset[1])
        if along >= APART and across <= ASIDE:
            return name
    return None


def paint(scene: Scene, random_state: random.Random) -> Image.Image:
    """Paint the image of a scene."""
    background = random_state.randint(225, 255)
    image = Image.new("RGB", (OVERSAMPLING * SIDE, OVERSAMPLING * SIDE), (background,) * 3)
    draw = ImageDraw.Draw(image)
    for shape in (scene.first, scene.second):
        color = tuple(
            min(255, max(0, value + random_state.randint(-SHADE, SHADE)))
            for value in COLORS[shape.color]
        )
        left, top, right, bottom = (OVERSAMPLING * edge for edge in shape.box)
        right, bottom = right - 1, bottom - 1  # Pillow includes the last pixel
        if shape.kind == "circle":
            draw.ellipse((left, top, right, bottom), fill=color)
        elif shape.kind == "square":
            draw.rectangle((left, top, right, bottom), fill=color)
        else:
            draw.polygon([(left, bottom), ((left + right) / 2, top), (right, bottom)], fill=color)
    return image.resize((SIDE, SIDE), Image.Resampling.BOX)


def scenes(seed: int) -> Iterator[tuple[Scene, Image.Image]]:
    """Yield scenes and their images without end and without duplicates."""
    random_state, seen = random.Random(seed), set[bytes]()
    while True:
        scene = draw_scene(random_state)
        image = paint(scene, random_state)
        pixels = image.tobytes()
        if pixels not in seen:
            seen.add(pixels)
            yield scene, image


def write_part(
    folder: Path, name: str, count: int, source: Iterator[tuple[Scene, Image.Image]]
) -> list[str]:
    """Write `name.pictures`, `name.en` and the images; return one line of JSON per image."""
    files, captions, boxes = [], [], []
    for number in range(count):
        scene, image = next(source)
        file = f"images/{name}-{number:05}.png"
        image.save(folder / file)
        files.append(file)
        captions.append(scene.caption)
        shapes = [asdict(scene.first), asdict(scene.second)]
        boxes.append(json.dumps({"picture": file, "shapes": shapes}))
    for suffix, lines in (("pictures", files), ("en", captions)):
        text = "".join(f"{line}\n" for line in lines)
        (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8", newline="\n")
    return boxes


def write(folder: Path, sizes: Mapping[str, int] = SIZES, seed: int = 1) -> None:
    """Write all parts into an existing directory.

    Args:
        folder: the directory
        sizes: number of images of each part
        seed: random seed

    Raises:
        ValueError: if a size is negative
    """
    check_sizes(sizes)
    (folder / "images").mkdir(exist_ok=True)
    source = scenes(seed)
    boxes = [line for part in sizes.items() for line in write_part(folder, *part, source)]
    (folder / "boxes.jsonl").write_text("".join(f"{line}\n" for line in boxes), "utf-8")
