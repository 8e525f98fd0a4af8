#!/usr/bin/env python3
"""Draws the shapes task: a picture of two shapes in, a caption out.

    a red circle above a blue square

Each picture of 64 x 64 pixels holds a larger and a smaller shape on a light ground, each a circle,
a square or a triangle in one of six colours. Every picture has one caption, by these rules:

- the larger shape is named first: at least 18 pixels wide where the smaller has at most 13;
- `above`, `below`, `left of` or `right of` is where its middle lies from the other's: along that
  axis they are at least 20 pixels apart, along the other at most 8.

Sizes, places, shades of the colours and the ground are drawn by chance. Written are `train`,
`valid` and `test`, each as `.pictures` (names of files in `images/`, one a line) and `.en` (the
captions), and `boxes.jsonl`: for every picture the shapes in the order they are named, each with
the box [left, top, right, bottom] in pixels that it fills. No picture stands twice. The same seed
gives the same pictures.
"""

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image, ImageDraw

SIDE = 64  # pixels of a picture
FINE = 4  # pictures are drawn so many times as large and made small, for smooth edges
KINDS = ["circle", "square", "triangle"]
COLOURS = {
    "red": (214, 39, 40),
    "green": (44, 140, 60),
    "blue": (31, 90, 200),
    "yellow": (235, 205, 40),
    "purple": (135, 60, 165),
    "black": (35, 35, 35),
}
RELATIONS = {"above": (0, -1), "below": (0, 1), "left of": (-1, 0), "right of": (1, 0)}
LARGE, SMALL = (18, 24), (9, 13)  # widths in pixels, ends included
APART, ASIDE = 20, 8  # pixels between middles: at least along the relation, at most across it
SHADE = 18  # steps of 256 that a colour may be off


@dataclass(frozen=True)
class Shape:
    """One shape; its box is [left, top, right, bottom] in pixels."""

    colour: str
    kind: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """What a picture shows: the shape that is named first, the other, and where the first is."""

    first: Shape
    second: Shape
    relation: str

    @property
    def caption(self) -> str:
        """The one sentence about it."""
        first, second = (f"a {shape.colour} {shape.kind}" for shape in (self.first, self.second))
        return f"{first} {self.relation} {second}"


def draw_scene(chance: random.Random) -> Scene:
    """A scene by chance, every caption alike."""
    relation = chance.choice(list(RELATIONS))
    widths = chance.randint(*LARGE), chance.randint(*SMALL)
    while True:
        boxes = [_box(width, chance) for width in widths]
        if _relation(*boxes) == relation:
            break
    first, second = (Shape(chance.choice(list(COLOURS)), chance.choice(KINDS), b) for b in boxes)
    return Scene(first, second, relation)


def _box(width: int, chance: random.Random) -> tuple[int, int, int, int]:
    left, top = chance.randint(1, SIDE - 1 - width), chance.randint(1, SIDE - 1 - width)
    return left, top, left + width, top + width


def _relation(first: tuple[int, ...], second: tuple[int, ...]) -> str | None:
    """Where the first box lies from the second; None where it is not clear."""
    offset = [(first[i] + first[i + 2] - second[i] - second[i + 2]) / 2 for i in (0, 1)]
    for name, (x, y) in RELATIONS.items():
        along, across = x * offset[0] + y * offset[1], abs(y * offset[0]) + abs(x * offset[1])
        if along >= APART and across <= ASIDE:
            return name
    return None


def paint(scene: Scene, chance: random.Random) -> Image.Image:
    """The picture of a scene."""
    ground = chance.randint(225, 255)
    image = Image.new("RGB", (FINE * SIDE, FINE * SIDE), (ground,) * 3)
    draw = ImageDraw.Draw(image)
    for shape in (scene.first, scene.second):
        colour = tuple(
            min(255, max(0, value + chance.randint(-SHADE, SHADE)))
            for value in COLOURS[shape.colour]
        )
        left, top, right, bottom = (FINE * edge for edge in shape.box)
        right, bottom = right - 1, bottom - 1  # Pillow draws the last pixel too
        if shape.kind == "circle":
            draw.ellipse((left, top, right, bottom), fill=colour)
        elif shape.kind == "square":
            draw.rectangle((left, top, right, bottom), fill=colour)
        else:
            draw.polygon([(left, bottom), ((left + right) / 2, top), (right, bottom)], fill=colour)
    return image.resize((SIDE, SIDE), Image.Resampling.BOX)


def scenes(seed: int) -> Iterator[tuple[Scene, Image.Image]]:
    """Scenes with their pictures, no picture twice, without end."""
    chance, seen = random.Random(seed), set[bytes]()
    while True:
        scene = draw_scene(chance)
        image = paint(scene, chance)
        pixels = image.tobytes()
        if pixels not in seen:
            seen.add(pixels)
            yield scene, image


def write_part(
    folder: Path, name: str, count: int, source: Iterator[tuple[Scene, Image.Image]]
) -> list[str]:
    """Write `name.pictures`, `name.en` and the images; a line of JSON a picture."""
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


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("data/shapes"), help="folder to write")
    for name, size in (("train", 4_000), ("valid", 300), ("test", 500)):
        parser.add_argument(f"--{name}", type=int, default=size, help=f"pictures (default {size})")
    parser.add_argument("--seed", type=int, default=1, help="of the random choices (default 1)")
    options = parser.parse_args(arguments)
    sizes = {"train": options.train, "valid": options.valid, "test": options.test}
    if min(sizes.values()) < 0:
        parser.error("sizes must be 0 or more")
    (options.output / "images").mkdir(parents=True, exist_ok=True)
    source = scenes(options.seed)
    boxes = [line for part in sizes.items() for line in write_part(options.output, *part, source)]
    (options.output / "boxes.jsonl").write_text("".join(f"{line}\n" for line in boxes), "utf-8")


if __name__ == "__main__":
    main()
