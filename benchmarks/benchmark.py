r"""Measure speed and memory of this toolkit, and of other toolkits in the same run.

    python benchmarks/benchmark.py --quick
    python benchmarks/benchmark.py --data data --peer joeynmt=build/peers/bin/python \
        --peer eole=build/peers/bin/python

First the machine's rate of matrix products is measured, and rates are reported as shares of it.
Writes a table (STEM.md) and every single value (STEM.json) after each row, and a plot of the
time per token (STEM.png). benchmarks/README.md describes the method and the installation of
the other toolkits.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness import machine
from harness.history import History
from harness.results import ResultsFile, Row, unmeasured
from harness.text import find_text, find_vocabulary, write_ids
from harness.work import matmul_peaks
from harness.worker_process import Contender, Plan, parse_peer
from measures import MEASURES, PIECES, QUICK, SENTENCES, Amount, Bench
from nmt.cli.process import configure_process
from nmt.errors import UserError
from workers.ids import Sizes

ROOT = Path(__file__).resolve().parents[1]
METHOD = (
    "Medians, with the smallest and the largest value in parentheses. A ratio divides the values "
    "of the contender it names by the row's, run by run. "
    f"{PIECES} joint subwords, {SENTENCES} sentences per batch; padding is not counted."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        return _run(_parse(arguments))
    except UserError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer repetitions: under 3 minutes on two cores")
    add(
        "--only",
        nargs="+",
        choices=list(MEASURES),
        default=list(MEASURES),
        metavar="MEASURE",
        help=f"{', '.join(MEASURES)} (default: all)",
    )
    add(
        "--data",
        type=Path,
        default=ROOT / "data",
        metavar="DIR",
        help="directory that contains multi30k/; without it a synthetic text is used "
        "(default: data)",
    )
    add(
        "--peer",
        action="append",
        default=[],
        type=_peer,
        metavar="NAME[=PYTHON]",
        help="joeynmt, eole, marian or ctranslate2, and the Python in which it is installed; "
        "repeatable",
    )
    add(
        "--model",
        type=Path,
        metavar="RUN",
        help="trained model for one-sentence (default: a short training)",
    )
    add(
        "--train-first",
        type=int,
        default=0,
        metavar="UPDATES",
        help="updates before translation, so that translations end by themselves and have a BLEU; "
        "with 0 every translation has 12 subwords (default: 0)",
    )
    add(
        "--readout",
        type=int,
        default=512,
        help="width of our input to the output layer; that of the peers is 512 (default: 512)",
    )
    add("--threads", type=int, default=2, help="threads per process (default: 2)")
    add(
        "--device",
        choices=["cpu", "cuda"],
        default="cpu",
        help="device of every contender (default: cpu)",
    )
    add(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="clock of training and translation: cpu counts CPU seconds, for a machine with other "
        "work (default: wall)",
    )
    add("--repetitions", type=int, help="repetitions per contender (default: 7; 3 with --quick)")
    add(
        "--work",
        type=Path,
        default=ROOT / "build" / "benchmark",
        metavar="DIR",
        help="directory for weights, texts and logs (default: build/benchmark)",
    )
    add(
        "-o",
        "--output",
        type=Path,
        default=ROOT / "build" / "benchmark" / "benchmark",
        metavar="STEM",
        help="path of the results without suffix (default: build/benchmark/benchmark)",
    )
    return parser.parse_args(arguments)


def _peer(text: str) -> Contender:
    try:
        return parse_peer(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _run(arguments: argparse.Namespace) -> int:
    described = machine.describe()
    bench = _prepare(arguments)

    def heading() -> str:
        line = machine.line(described, arguments.threads)
        return f"{line}; text: {bench.text.name}\n\n{METHOD}"

    results = ResultsFile(
        arguments.output,
        heading,
        {
            "machine": described | {"threads": arguments.threads},
            "text": bench.text.name,
            "sizes": vars(bench.plan.sizes),
        },
    )
    settings = {"text": bench.text.name}
    settings |= {name: str(getattr(arguments, name)) for name in ("quick", "train_first", "model")}
    history = History(arguments.work / "history.jsonl", described, settings)
    for dtype, flops in bench.plan.peaks.items():
        conditions = {"dtype": dtype, "threads": arguments.threads, "device": arguments.device}
        peak = Row("matrix products", "torch", "GFLOP/s", [flops / 1e9], conditions)
        results.add(history.add(peak))
    failed = False
    for name in arguments.only:
        print(f"measuring: {name}", file=sys.stderr)
        try:
            for row in MEASURES[name](bench):
                failed |= not row.values
                results.add(history.add(row))
        except UserError as error:  # the other measures do not depend on this one
            print(f"benchmark: {name}: {error}", file=sys.stderr)
            results.add(unmeasured(name, str(error)))
            failed = True
    print(results.text())
    return 1 if failed else 0


def _prepare(arguments: argparse.Namespace) -> Bench:
    folder: Path = arguments.work
    folder.mkdir(parents=True, exist_ok=True)
    amount = QUICK if arguments.quick else Amount()
    amount = replace(amount, repetitions=arguments.repetitions or amount.repetitions)
    configure_process(arguments.device, threads=arguments.threads)
    text = find_text(arguments.data, folder)
    vocabulary = find_vocabulary(text, PIECES, folder)
    ids = write_ids(text, vocabulary, SENTENCES, folder / "ids.npz")
    plan = Plan(
        Sizes(readout=arguments.readout),
        ids,
        arguments.threads,
        arguments.device,
        amount.warmup,
        amount.repetitions,
        amount.updates,
        folder,
        arguments.clock,
        matmul_peaks(arguments.device, arguments.clock),
    )
    return Bench(arguments, amount, text, vocabulary, plan)


if __name__ == "__main__":
    sys.exit(main())
