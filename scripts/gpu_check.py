"""On a machine with a GPU: is every path right there, how fast is it, and where does the time go?

    python scripts/gpu_check.py

First the gradients and the search of every system of `configs/`, in every way and number format,
against float64 on the CPU, and that no update and no step of a search waits for the device; then
the measures of `scripts/benchmark.py --only gpu`; all of it under ten minutes. Writes one JSON and
one table, named after the day and the GPU. Exits with 1 when a check fails. With --device cpu only
the checks are made: that shows that they run.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from time import perf_counter

import torch
from benchmarks import gpu, machine
from benchmarks.correctness import Check, checks, loss_checks, type_checks
from benchmarks.rows import Row, table, unmeasured
from benchmarks.training import Plan
from benchmarks.waiting import update_checks, waiting_checks
from experiments import write_results
from peers.ids import Sizes

from nmt.errors import UserError
from nmt.model.devices import prepare_device

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
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
        help="STEM.json and STEM.md; scripts/results/gpu-DAY-NAME when not given",
    )
    return parser.parse_args(arguments)


def _run(arguments: argparse.Namespace) -> int:
    start = perf_counter()
    device = prepare_device(arguments.device)
    arguments.work.mkdir(parents=True, exist_ok=True)
    found = machine.describe()
    made = _checks(arguments.configs or sorted((ROOT / "configs").glob("*.yaml")), device)
    rows = [check.row for check in made]
    if device.type == "cuda":
        rows += _figures(arguments, start)
    failed = [check for check in made if not check.passed]
    said = f"{len(made)} checks, {len(failed)} failed, {perf_counter() - start:.0f} seconds in all"
    measured = {
        "day": date.today().isoformat(),
        "machine": found,
        "failed": [f"{check.what}, {check.how}" for check in failed],
        "rows": [row.as_tree() for row in rows],
    }
    heading = f"{date.today()}: {machine.line(found, torch.get_num_threads())}\n\n{said}"
    write_results(_output(arguments, device), measured, f"{heading}\n\n{table(rows)}")
    return 1 if failed else 0


def _checks(configs: Sequence[Path], device: torch.device) -> list[Check]:
    made: list[Check] = []
    families = [checks(configs, device), type_checks(device), update_checks(configs[0], device)]
    if device.type == "cuda":
        families += [loss_checks(device), waiting_checks(list(configs), device)]
    for family in families:
        for check in family:
            said = "passed" if check.passed else "FAILED"
            print(f"{said} {check.error:.1e} {check.what}, {check.how}", file=sys.stderr)
            made.append(check)
    return made


def _figures(arguments: argparse.Namespace, start: float) -> list[Row]:
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
    rows: list[Row] = []
    for name, measure in gpu.MEASURES.items():
        if perf_counter() - start > arguments.seconds:
            rows.append(unmeasured(name, "the time was up"))
            continue
        print(f"measuring: {name}", file=sys.stderr)
        try:
            rows += measure(plan)
        except UserError as error:
            rows.append(unmeasured(name, str(error)))
    return rows


def _output(arguments: argparse.Namespace, device: torch.device) -> Path:
    if arguments.output:
        given: Path = arguments.output
        return given
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    return ROOT / "scripts" / "results" / f"gpu-{date.today()}-{'-'.join(name.split())}"


if __name__ == "__main__":
    sys.exit(main())
