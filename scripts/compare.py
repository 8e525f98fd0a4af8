"""The story of attention in one table: plain, peeky and attention, exact match by epoch.

    python scripts/compare.py                                   # into docs/figures/compare.*
    python scripts/compare.py --systems attention local_p --output runs/windows model.score=dot

The task and the split are those of "Deep Learning from Scratch 2", chapters 7 and 8: dates to ISO
form, 45,000 and 5,000 pairs. Every system is a file of `configs/`, date_format_NAME.yaml, where
`attention` is date_format.yaml. All are trained through nmt-train with the same sizes, batches and
seed, and with the same learning rate, which stays as it is: a schedule that ends would make an
epoch's figure depend on how many epochs were planned. A run that is finished is not trained again.

The book counts all 5,000 test pairs. 1,405 of them stand in its training part as well, so those
that do not are counted apart. No checkpoint is chosen by the test part; each epoch's figure is that
of the model as the epoch left it. Dotted lines, and rows called "the book's code", are the book's
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
    """Train what is not trained yet, measure every epoch, write table, JSON and plot."""
    options = _parser().parse_intermixed_args()
    results: dict[str, Result] = {}
    pairs: tuple[list[Pair], list[Pair]] = ([], [])
    for name in options.systems:
        config, run = systems()[name], options.runs / f"{name}-seed{options.seed}"
        overrides = [*_shared(options), *options.overrides]
        train(config, run, overrides)
        pairs = valid_pairs(load_experiment(config, overrides).experiment.data)
        results[name] = measure(run, *pairs, threads=options.threads)
    told = {
        "pairs": {"all": len(pairs[0]), "unseen": len(pairs[1])},
        "seed": options.seed,
        "threads": options.threads,
        "overrides": options.overrides,
        "systems": results,
    }
    write_results(options.output, told, table(told))
    _draw(told, options.output.with_suffix(".png"))


def systems() -> dict[str, Path]:
    """The experiment files of the task, by the name of the system."""
    files = sorted(CONFIGS.glob("date_format*.yaml"))
    return {file.stem.removeprefix("date_format").strip("_") or "attention": file for file in files}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--systems", nargs="+", choices=systems(), default=["attention", "peeky", "plain"])
    add("--epochs", type=int, default=10)
    add("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    add("--seed", type=int, default=0)
    add("--runs", type=Path, default=Path("runs/compare"), help="folder of the runs")
    add("--output", type=Path, default=Path("docs/figures/compare"), help="without suffix")
    add("overrides", nargs="*", metavar="section.key=value", help="for every system")
    return parser


def _shared(options: argparse.Namespace) -> list[str]:
    """What makes the systems comparable."""
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
    """Exact match after each epoch, in percent; parameters; seconds of training an epoch."""
    validations = reports(run, "valid")
    exact = []
    configure_process("auto", threads=threads)
    for report in validations:
        translator = Translator.load(run, checkpoint=str(report["step"]))
        exact.append(exact_match(translator, unseen))
    return {
        "parameters": sum(p.numel() for p in translator.models[0].parameters()),
        "all": [report["exact"] for report in validations],
        "unseen": exact,
        "seconds": seconds_an_epoch(reports(run, "train"), validations),
    }


def seconds_an_epoch(trained: Sequence[Report], validated: Sequence[Report]) -> float:
    """Seconds of training alone: the median pace between neighbouring reports.

    Those with a validation between them do not count; one at a report's update comes after it.
    """
    stops = [report["step"] for report in validated]
    paces = [
        (after["minutes"] - before["minutes"]) / (after["step"] - before["step"])
        for before, after in pairwise(trained)
        if not any(before["step"] <= stop < after["step"] for stop in stops)
    ]
    return 60 * median(paces) * stops[0]


def table(told: Result) -> str:
    """Exact match by epoch: a row of all test pairs, of unseen ones, and of the book's."""
    pairs, threads = told["pairs"], told["threads"]
    epochs = max(len(result["all"]) for result in told["systems"].values())
    rows = []
    for name, result in told["systems"].items():
        size, seconds = f"{result['parameters']:,}", f"{result['seconds']:.0f}"
        rows.append([name, f"{pairs['all']:,}", *_shown(result["all"], epochs), size, seconds])
        rows.append(["", f"{pairs['unseen']:,} unseen", *_shown(result["unseen"], epochs), "", ""])
        if name in BOOK:
            book = _shown(BOOK[name][:epochs], epochs)
            rows.append(["", f"{pairs['all']:,}, the book's code", *book, "", ""])
    header = ["system", "test pairs", *map(str, range(1, epochs + 1)), "parameters", "s an epoch"]
    title = (
        f"Exact match on the test part after each epoch, in percent (seed {told['seed']}; "
        f"seconds of training on {threads} CPU thread{'s' if threads > 1 else ''}):"
    )
    return f"{title}\n\n{markdown(header, rows)}"


def _shown(values: Sequence[float], epochs: int) -> list[str]:
    return [f"{value:.2f}" for value in values] + ["-"] * (epochs - len(values))


def _draw(told: Result, path: Path) -> None:
    figure, panels = start_figure(2)
    books = [name for name in told["systems"] if name in BOOK]
    dotted = " (dotted: the book's own code)" if books else ""
    named = {"all": f"all {told['pairs']['all']:,} test pairs{dotted}"}
    named["unseen"] = f"the {told['pairs']['unseen']:,} that are not in training"
    shares = [
        share for result in told["systems"].values() for name in named for share in result[name]
    ]
    lowest = 0 if books else 20 * (min(shares) // 20)
    for axes, (part, title) in zip(panels, named.items(), strict=True):
        lines = [Line(name, result[part]) for name, result in told["systems"].items()]
        epochs = max(len(line.values) for line in lines)
        if part == "all":
            lines += [Line(name, BOOK[name][:epochs], reference=True) for name in books]
        places = range(1, epochs + 1)
        draw_lines(axes, places, lines, (lowest, 100))
        axes.set_title(title, fontsize="medium", pad=10)
        axes.set_xlabel("epoch")
        axes.set_xticks(places)
    panels[0].set_ylabel("exact match, percent")
    save(figure, path)


if __name__ == "__main__":
    main()
