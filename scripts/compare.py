"""Compare systems on the date task: exact match after each epoch, as a table and a plot.

    python scripts/compare.py                                   # writes docs/figures/compare.*
    python scripts/compare.py --systems attention local_p --output runs/windows model.score=dot

Task and split are those of "Deep Learning from Scratch 2", chapters 7 and 8: dates to ISO format,
45,000 and 5,000 pairs. Each system is a file `configs/date_format_NAME.yaml`; `attention` is
`date_format.yaml`. nmt-train trains all of them with the same sizes, batches, seed and learning
rate. The rate is constant, because with a schedule the value of an epoch would depend on the
number of planned epochs. Finished runs are not trained again.

The book evaluates all 5,000 test pairs. 1,405 of them are in its training part as well, so the
other pairs are also evaluated alone. No checkpoint is selected by the test part: an epoch's value
is that of the model at the end of the epoch. Dotted lines, and rows called "book", are the book's
own classes with its own settings (embedding 16, hidden 256, reversed source, Adam 1e-3), seed 0.
"""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from experiments import (
    Pair,
    Report,
    exact_match,
    markdown,
    reports,
    train,
    valid_pairs,
    write_results,
)
from nmt.cli.process import configure_process
from nmt.config.loader import load_experiment
from nmt.inference.saved_model import load_saved_model
from nmt.search.translator import Translator
from plots import Line, draw_lines, save, start_figure

CONFIGS = Path(__file__).parents[1] / "configs"
BOOK = {
    "attention": [0.02, 88.82, 97.72, 98.26, 99.96, 99.96, 100.0, 100.0, 100.0, 100.0],
    "peeky": [0.02, 0.30, 14.02, 82.80, 99.88, 100.0, 100.0, 100.0, 100.0, 100.0],
    "plain": [0.0, 0.0, 0.0, 0.02, 0.0, 0.08, 0.0, 0.0, 0.0, 0.0],
}

Result = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train missing systems, measure every epoch, and write table, JSON file and plot."""
    options = _parser().parse_intermixed_args(arguments)
    results: dict[str, Result] = {}
    pairs: tuple[list[Pair], list[Pair]] = ([], [])
    for name in options.systems:
        config, run = systems()[name], options.runs / f"{name}-seed{options.seed}"
        overrides = [*_shared(options), *options.overrides]
        train(config, run, overrides)
        pairs = valid_pairs(load_experiment(config, overrides).experiment.data)
        results[name] = measure(run, *pairs, threads=options.threads)
    measured = {
        "pairs": {"all": len(pairs[0]), "unseen": len(pairs[1])},
        "seed": options.seed,
        "threads": options.threads,
        "overrides": options.overrides,
        "systems": results,
    }
    write_results(options.output, measured, table(measured))
    _draw(measured, options.output.with_suffix(".png"))


def systems() -> dict[str, Path]:
    """Return the experiment files of the task by name of the system."""
    files = sorted(CONFIGS.glob("date_format*.yaml"))
    return {file.stem.removeprefix("date_format").strip("_") or "attention": file for file in files}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    default = ["attention", "peeky", "plain"]
    add("--systems", nargs="+", choices=systems(), default=default, help="default: %(default)s")
    add("--epochs", type=int, default=10, help="default: %(default)s")
    add("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add(
        "--runs",
        type=Path,
        default=Path("runs/compare"),
        help="directory of the runs (default: %(default)s)",
    )
    output = Path("docs/figures/compare")
    add("--output", type=Path, default=output, help="path without suffix (default: %(default)s)")
    add("overrides", nargs="*", metavar="section.key=value", help="options of every system")
    return parser


def _shared(options: argparse.Namespace) -> list[str]:
    """Return the options that make the systems comparable."""
    return [
        "training.schedule=constant",
        f"training.epochs={options.epochs}",
        f"training.keep={options.epochs}",
        "training.validate_every=null",
        f"training.seed={options.seed}",
        f"training.threads={options.threads}",
        "evaluation.pictures=0",
    ]


def measure(run: Path, every: list[Pair], unseen: list[Pair], *, threads: int) -> Result:
    """Measure exact match after each epoch in percent, parameters, and seconds per epoch."""
    validations = reports(run, "valid")
    exact = []
    configure_process("auto", threads=threads)
    for report in validations:
        translator = Translator.load(run, checkpoint=str(report["step"]))
        exact.append(exact_match(translator, unseen))
    return {
        "parameters": sum(p.numel() for p in load_saved_model(run).model.parameters()),
        "all": [report["exact"] for report in validations],
        "unseen": exact,
        "seconds": seconds_per_epoch(reports(run, "train"), validations),
    }


def seconds_per_epoch(trained: Sequence[Report], validated: Sequence[Report]) -> float:
    """Return seconds of training alone, from the median pace between neighboring reports.

    Intervals that contain a validation are excluded. A validation at the update of a report comes
    after the report.
    """
    stops = [report["step"] for report in validated]
    paces = [
        (after["minutes"] - before["minutes"]) / (after["step"] - before["step"])
        for before, after in pairwise(trained)
        if not any(before["step"] <= stop < after["step"] for stop in stops)
    ]
    return 60 * median(paces) * stops[0]


def table(measured: Result) -> str:
    """Format exact match by epoch: all test pairs, unseen pairs, and the book's values."""
    pairs, threads = measured["pairs"], measured["threads"]
    epochs = max(len(result["all"]) for result in measured["systems"].values())
    rows = []
    for name, result in measured["systems"].items():
        size, seconds = f"{result['parameters']:,}", f"{result['seconds']:.0f}"
        rows.append([name, f"{pairs['all']:,}", *_shown(result["all"], epochs), size, seconds])
        rows.append(["", f"{pairs['unseen']:,} unseen", *_shown(result["unseen"], epochs), "", ""])
        if name in BOOK:
            book = _shown(BOOK[name][:epochs], epochs)
            rows.append(["", f"{pairs['all']:,}, book", *book, "", ""])
    header = ["system", "test pairs", *map(str, range(1, epochs + 1)), "parameters", "s per epoch"]
    title = (
        f"Exact match on the test part after each epoch, in percent (seed {measured['seed']}; "
        f"seconds of training on {threads} CPU thread{'s' if threads > 1 else ''}):"
    )
    return f"{title}\n\n{markdown(header, rows)}"


def _shown(values: Sequence[float], epochs: int) -> list[str]:
    return [f"{value:.2f}" for value in values] + ["-"] * (epochs - len(values))


def _draw(measured: Result, path: Path) -> None:
    figure, panels = start_figure(2)
    books = [name for name in measured["systems"] if name in BOOK]
    dotted = " (dotted: the book's code)" if books else ""
    named = {"all": f"all {measured['pairs']['all']:,} test pairs{dotted}"}
    named["unseen"] = f"the {measured['pairs']['unseen']:,} that are not in the training part"
    shares = [
        share for result in measured["systems"].values() for name in named for share in result[name]
    ]
    lowest = 0 if books else 20 * (min(shares) // 20)
    for axes, (part, title) in zip(panels, named.items(), strict=True):
        lines = [Line(name, result[part]) for name, result in measured["systems"].items()]
        epochs = max(len(line.values) for line in lines)
        if part == "all":
            lines += [Line(name, BOOK[name][:epochs], reference=True) for name in books]
        numbers = range(1, epochs + 1)
        draw_lines(axes, numbers, lines, (lowest, 100))
        axes.set_title(title, fontsize="medium", pad=10)
        axes.set_xlabel("epoch")
        axes.set_xticks(numbers)
    panels[0].set_ylabel("exact match, percent")
    save(figure, path)


if __name__ == "__main__":
    main()
