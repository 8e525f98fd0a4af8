"""Draw the scores of systems over the size of their training text.

    python scripts/draw_sizes.py 5000=runs/sizes-5000 10000=runs/sizes-10000 -o sizes.png

Every argument is a number of training pairs and the folder that nmt-compare has written for it. The
systems are in the same order in all of them.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from nmt.comparison.tables import NAMES
from nmt.evaluation.curves import line_style, write_figure


class Study(NamedTuple):
    """Scores of all systems after training on a text of one size, by metric."""

    pairs: int
    scores: list[dict[str, float]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the results of nmt-compare, and write the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", nargs="+", type=read_study, help="PAIRS=FOLDER of nmt-compare")
    parser.add_argument("--names", nargs="+", required=True, help="names of the systems")
    parser.add_argument("--metrics", nargs="+", default=["chrf", "bleu"], help="(default: both)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG or PDF file")
    options = parser.parse_args(arguments)
    studies = sorted(options.studies)
    if any(len(study.scores) != len(options.names) for study in studies):
        parser.error("--names must name every system of every study")
    write_figure(draw(studies, options.names, options.metrics), options.output)


def read_study(argument: str) -> Study:
    """Return the study that PAIRS=FOLDER names."""
    pairs, _, folder = argument.partition("=")
    results = json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"))
    scores = [
        {metric: values["mean"] for metric, values in system["scores"].items()}
        for system in results["systems"]
    ]
    return Study(int(pairs), scores)


def draw(studies: Sequence[Study], names: Sequence[str], metrics: Sequence[str]) -> Figure:
    """Draw one panel per metric with one line per system; sizes are on a logarithmic axis."""
    figure = Figure(figsize=(4.2 * len(metrics), 3.2), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    pairs = [study.pairs for study in studies]
    for axes, metric in zip(
        figure.subplots(1, len(metrics), squeeze=False).flat, metrics, strict=True
    ):
        for number, name in enumerate(names):
            line, marker = line_style(number)
            values = [study.scores[number][metric] for study in studies]
            axes.plot(pairs, values, **line, marker=marker, label=name)
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(pairs, [f"{count:,}" for count in pairs])
        axes.set_xlabel("training pairs")
        axes.set_ylabel(NAMES.get(metric, metric))
        axes.grid(axis="y", color="#dddddd")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
