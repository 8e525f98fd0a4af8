"""How much of a captioner's attention falls on the shape that it is naming, against chance.

    python scripts/attention_in_boxes.py runs/shapes_soft

For the test pictures of scripts/make_shapes.py: whenever the right colour or kind of a shape is
written, the share of the attention that lies in this shape's box. Chance is the box's share of the
picture, which attention spread evenly would get.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from nmt.cli.process import configure_process
from nmt.data.corpus import read_lines
from nmt.evaluation.plots import AttentionOverlay
from nmt.evaluation.samples import extract_attention
from nmt.search.translator import Translator

Box = tuple[float, float, float, float]


class Found(NamedTuple):
    """One word that names a shape: how much of its attention is in the box, and of the picture."""

    mass: float
    chance: float


def main(arguments: list[str] | None = None) -> None:
    """Translate, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, default=Path("data/shapes"))
    parser.add_argument("--part", default="test")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    names = list(read_lines(options.data / f"{options.part}.pictures"))
    lines = map(json.loads, read_lines(options.data / "boxes.jsonl"))
    shapes = {line["picture"]: line["shapes"] for line in lines}
    configure_process("auto", threads=options.threads)
    translator = Translator.load(options.run)
    translations = translator.translate([str(options.data / name) for name in names])
    found: dict[str, list[Found]] = defaultdict(list)
    for name, translation in zip(names, translations, strict=True):
        entry = extract_attention(translation)
        if isinstance(entry, AttentionOverlay):
            with Image.open(options.data / name) as image:
                _measure(entry, shapes[name], image.size, found)
    print(table(found))


def _measure(
    entry: AttentionOverlay,
    shapes: list[dict[str, Any]],
    size: tuple[int, int],
    found: dict[str, list[Found]],
) -> None:
    """Add what the words `a COLOUR KIND ... a COLOUR KIND` found of their shapes, if right."""
    words = list(entry.words)
    for order, shape, start in zip(("first", "second"), shapes, (1, len(words) - 2), strict=True):
        for place, word in enumerate(("colour", "kind"), start):
            if 0 <= place < len(words) and words[place] == shape[word]:
                inside_s = shares_in_box(tuple(shape["box"]), entry.grid, size)
                mass = float(entry.weights_ts[place].double() @ inside_s)
                found[f"{order} {word}"].append(Found(mass, float(inside_s.mean())))


def shares_in_box(box: Box, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """What share of each place of a grid lies in a box [left, top, right, bottom], row by row.

    Args:
        box: in pixels
        grid: rows and columns
        size: width and height of the picture in pixels
    """
    rows, columns = grid
    width, height = size
    left, top, right, bottom = box
    down_y = _overlaps(top, bottom, rows, height / rows)
    across_x = _overlaps(left, right, columns, width / columns)
    return torch.outer(down_y, across_x).flatten()


def _overlaps(start: float, end: float, count: int, step: float) -> Tensor:
    """What share of each of so many steps lies between start and end."""
    edges = step * torch.arange(count + 1, dtype=torch.float64)
    lengths = edges[1:].clamp(max=end) - edges[:-1].clamp(min=start)
    return lengths.clamp(min=0) / step


def table(found: dict[str, list[Found]]) -> str:
    """Means over words, in percent, a row for each word of the caption."""
    lines = ["| word | times | in its box | by chance |", "| --- | --- | --- | --- |"]
    everything = [one for some in found.values() for one in some]
    for name, some in [*sorted(found.items()), ("all", everything)]:
        mass, chance = (100 * sum(values) / len(some) for values in zip(*some, strict=True))
        lines.append(f"| {name} | {len(some)} | {mass:.1f} % | {chance:.1f} % |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
