"""Measure speed and memory, of this toolkit and of its peers side by side.

    python scripts/benchmark.py --quick
    python scripts/benchmark.py --peer joeynmt=build/peers/bin/python \\
        --peer eole=build/peers/bin/python

Writes a table and a JSON with every single figure, and a plot of how the time of a token grows.
Every contender is a process of its own; they take turns, and what counts is the median of the
ratios of neighbouring runs, since machines differ and are busy. Tokens of padding are not counted.
All get the same batches of the same ids, sizes, optimizer, smoothing and clipping; where a peer
has no exact equal, `scripts/peers/*_worker.py` says so, and so does the table.

Peers need other versions of packages than this toolkit. Make them an environment of their own:

    python3.11 -m venv build/peers && . build/peers/bin/activate
    pip install torch==2.13.0                           # the CPU build where there is no GPU
    pip install --no-deps eole==0.6.4 joeynmt==2.3.0
    pip install numpy pydantic pyyaml safetensors configargparse tokenizers rapidfuzz rich \\
        sacrebleu 'sentencepiece<=0.2.2' six subword-nmt protobuf packaging psutil \\
        importlib_metadata pyonmttok pyahocorasick torch-optimi sacremoses tensorboard matplotlib

Their other requirements are not reached from here. On a GPU, add --device cuda.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import machine
from benchmarks.contender import Kind, peer
from benchmarks.measures import MEASURES, PIECES, QUICK, SENTENCES, Amount, Bench
from benchmarks.rows import Row, table
from benchmarks.text import find_text, find_vocabulary, write_ids
from benchmarks.training import Plan
from experiments import write_results
from peers.ids import Sizes

from nmt.errors import UserError
from nmt.model.devices import prepare_device

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    try:
        _run(_parse(arguments))
    except UserError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="less of everything: under 3 minutes on two cores")
    add(
        "--only",
        nargs="+",
        choices=list(MEASURES),
        default=list(MEASURES),
        metavar="MEASURE",
        help=f"of {', '.join(MEASURES)}; all of them when not given",
    )
    add(
        "--peer",
        action="append",
        default=[],
        type=_peer,
        metavar="NAME[=PYTHON]",
        help="joeynmt or eole, and the Python that has it installed; may be repeated",
    )
    add("--model", type=Path, metavar="RUN", help="our model of the measures of one sentence")
    add(
        "--train-first",
        type=int,
        default=0,
        metavar="UPDATES",
        help="before translating, so that translations end by themselves and have a BLEU; "
        "without it every translation gets 12 pieces",
    )
    add("--readout", type=int, default=512, help="width of our output layer; the peers' is 512")
    add("--threads", type=int, default=2, help="of every process; 2 when not given")
    add("--device", choices=["cpu", "cuda"], default="cpu", help="for every contender")
    add("--repetitions", type=int, help="of every contender, in turn")
    add("--work", type=Path, default=ROOT / "build" / "benchmark", help="folder of what is kept")
    add("-o", "--output", type=Path, default=ROOT / "build" / "benchmark" / "benchmark")
    return parser.parse_args(arguments)


def _peer(text: str) -> Kind:
    try:
        return peer(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _run(arguments: argparse.Namespace) -> None:
    found = machine.describe()
    bench = _prepare(arguments)
    rows: list[Row] = []
    for name in arguments.only:
        print(f"measuring: {name}", file=sys.stderr)
        rows += MEASURES[name](bench)
    heading = f"{machine.line(found, arguments.threads)}; text: {bench.text.name}"
    told = (
        "Medians, least and largest in brackets; a ratio divides the figures of the "
        "contender it names by the row's, run by run. "
        f"{PIECES} joint pieces, {SENTENCES} sentences a batch, tokens without padding."
    )
    measured = {
        "machine": found | {"load_at_end": machine.load(), "threads": arguments.threads},
        "text": bench.text.name,
        "sizes": vars(bench.plan.sizes),
        "rows": [row.as_tree() for row in rows],
    }
    write_results(arguments.output, measured, f"{heading}\n\n{told}\n\n{table(rows)}")


def _prepare(arguments: argparse.Namespace) -> Bench:
    folder: Path = arguments.work
    folder.mkdir(parents=True, exist_ok=True)
    amount = QUICK if arguments.quick else Amount()
    amount = replace(amount, repetitions=arguments.repetitions or amount.repetitions)
    prepare_device(arguments.device, threads=arguments.threads)
    text = find_text(folder)
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
    )
    return Bench(arguments, amount, text, vocabulary, plan)


if __name__ == "__main__":
    sys.exit(main())
