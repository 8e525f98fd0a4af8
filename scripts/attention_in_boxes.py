"""Measure how much attention of a captioning model falls on the shape that it names.

    python scripts/attention_in_boxes.py runs/shapes_soft

Uses the test images of scripts/make_shapes.py. For each correct color or kind of a shape in a
caption, the measure is the share of the attention inside the bounding box of the shape. The
baseline is the box's share of the image, which uniform attention would reach.
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
from nmt.data.text import read_lines
from nmt.evaluation.overlay import AttentionOverlay
from nmt.evaluation.samples import extract_attention
from nmt.search.translator import Translator

Box = tuple[float, float, float, float]


class WordAttention(NamedTuple):
    """Attention of one word: its share inside the box, and the box's share of the image."""

    inside: float
    baseline: float


def main(arguments: list[str] | None = None) -> None:
    """Translate the images and print the table."""
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
    measured: dict[str, list[WordAttention]] = defaultdict(list)
    for name, translation in zip(names, translations, strict=True):
        entry = extract_attention(translation)
        if isinstance(entry, AttentionOverlay):
            with Image.open(options.data / name) as image:
                _measure(entry, shapes[name], image.size, measured)
    print(table(measured))


def _measure(
    entry: AttentionOverlay,
    shapes: list[dict[str, Any]],
    size: tuple[int, int],
    measured: dict[str, list[WordAttention]],
) -> None:
    """Add the attention of the correct words in `a COLOR KIND ... a COLOR KIND`."""
    words = list(entry.words)
    for order, shape, start in zip(("first", "second"), shapes, (1, len(words) - 2), strict=True):
        for position, word in enumerate(("color", "kind"), start):
            if 0 <= position < len(words) and words[position] == shape[word]:
                inside_s = shares_in_box(tuple(shape["box"]), entry.grid, size)
                inside = float(entry.weights_ts[position].double() @ inside_s)
                measured[f"{order} {word}"].append(WordAttention(inside, float(inside_s.mean())))


def shares_in_box(box: Box, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Return the share of each grid cell inside a box [left, top, right, bottom], row by row.

    Args:
        box: in pixels
        grid: rows and columns
        size: width and height of the image in pixels
    """
    rows, columns = grid
    width, height = size
    left, top, right, bottom = box
    down_y = _overlaps(top, bottom, rows, height / rows)
    across_x = _overlaps(left, right, columns, width / columns)
    return torch.outer(down_y, across_x).flatten()


def _overlaps(start: float, end: float, count: int, step: float) -> Tensor:
    """Return the share of each of `count` intervals between start and end."""
    edges = step * torch.arange(count + 1, dtype=torch.float64)
    lengths = edges[1:].clamp(max=end) - edges[:-1].clamp(min=start)
    return lengths.clamp(min=0) / step


def table(measured: dict[str, list[WordAttention]]) -> str:
    """Format means over words in percent, one row per word of the caption."""
    lines = ["| word | count | inside its box | baseline |", "| --- | --- | --- | --- |"]
    everything = [one for some in measured.values() for one in some]
    for name, some in [*sorted(measured.items()), ("all", everything)]:
        inside, baseline = (100 * sum(values) / len(some) for values in zip(*some, strict=True))
        lines.append(f"| {name} | {len(some)} | {inside:.1f} % | {baseline:.1f} % |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
