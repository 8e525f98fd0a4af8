"""Check and measure every code path of a GPU in one command.

    python benchmarks/gpu_check.py

Compares gradients and translations of every system in `configs/`, with every backend and number
format, with float64 on the CPU; checks that updates and search steps do not synchronize with the
device; then runs the measures of `benchmark.py --only gpu`. Takes under ten minutes. Results are
written after each row. The exit code is 1 if a check fails. With `--device cpu` only the checks
run, to test this program.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import chain
from pathlib import Path
from time import perf_counter

import torch

from harness import machine
from harness.results import ResultsFile, Row, unmeasured
from harness.worker_process import Plan
from measures import gpu
from measures.correctness import Check, checks, loss_checks, type_checks
from measures.synchronization import update_checks, waiting_checks
from nmt.cli.process import configure_process
from nmt.device import resolve_device
from nmt.errors import UserError
from workers.ids import Sizes

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        return _run(_parse(arguments))
    except UserError as error:
        print(f"gpu_check: {error}", file=sys.stderr)
        return 2


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device", choices=["cuda", "cpu"], default="cuda", help="cuda when not given")
    add(
        "--configs",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="experiments whose systems are checked; all of configs/ when not given",
    )
    add("--seconds", type=float, default=540, help="no measure begins after so many")
    add("--work", type=Path, default=ROOT / "build" / "gpu_check", help="folder of what is kept")
    add(
        "-o",
        "--output",
        type=Path,
        metavar="STEM",
        help="STEM.json and STEM.md; default: build/gpu_check/DAY-NAME",
    )
    return parser.parse_args(arguments)


def _run(arguments: argparse.Namespace) -> int:
    start = perf_counter()
    configure_process(arguments.device)
    device = resolve_device(arguments.device)
    arguments.work.mkdir(parents=True, exist_ok=True)
    described = machine.describe()
    made: list[Check] = []

    def failed() -> list[Check]:
        return [check for check in made if not check.passed]

    def heading() -> str:
        line = machine.line(described, torch.get_num_threads())
        seconds = perf_counter() - start
        counts = f"{len(made)} checks, {len(failed())} failed, {seconds:.0f} seconds"
        return f"{date.today()}: {line}\n\n{counts}"

    header = {"day": date.today().isoformat(), "machine": described}
    results = ResultsFile(_output(arguments, device), heading, header)
    for check in _checks(arguments.configs or sorted((ROOT / "configs").glob("*.yaml")), device):
        made.append(check)
        results.add(check.row)
    if device.type == "cuda":
        for row in _values(arguments, start):
            results.add(row)
    print(results.text())
    return 1 if failed() else 0


def _checks(configs: Sequence[Path], device: torch.device) -> Iterator[Check]:
    families = [checks(configs, device), type_checks(device), update_checks(configs[0], device)]
    if device.type == "cuda":
        families += [loss_checks(device), waiting_checks(list(configs), device)]
    for check in chain.from_iterable(families):
        verdict = "passed" if check.passed else "FAILED"
        print(f"{verdict} {check.error:.1e} {check.what}, {check.how}", file=sys.stderr)
        yield check


def _values(arguments: argparse.Namespace, start: float) -> Iterator[Row]:
    plan = Plan(
        Sizes(),
        ids=arguments.work / "none",
        threads=torch.get_num_threads(),
        device="cuda",
        warmup=5,
        repetitions=5,
        updates=20,
        folder=arguments.work,
    )
    for name, measure in gpu.MEASURES.items():
        if perf_counter() - start > arguments.seconds:
            yield unmeasured(name, f"started after {arguments.seconds:.0f} seconds")
            continue
        print(f"measuring: {name}", file=sys.stderr)
        try:
            yield from measure(plan)
        except UserError as error:
            yield unmeasured(name, str(error))


def _output(arguments: argparse.Namespace, device: torch.device) -> Path:
    if arguments.output:
        given: Path = arguments.output
        return given
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    return ROOT / "build" / "gpu_check" / f"{date.today()}-{'-'.join(name.split())}"


if __name__ == "__main__":
    sys.exit(main())
