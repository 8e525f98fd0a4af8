"""nmt-train: from an experiment file to a trained model."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from nmt.cli.common import INTERRUPTED, SUCCESS, Parser, run
from nmt.distributed.rank import RankInfo
from nmt.errors import UserError

if TYPE_CHECKING:
    from nmt.config.schema import RecurrenceBackend

NAME = "nmt-train"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    options = _parser().parse(arguments)
    return run(NAME, lambda: _train(options))


def _parser() -> Parser:
    parser = Parser(
        NAME,
        "Train the model of an experiment file. The same command continues an unfinished run.",
        "examples:\n"
        "  nmt-train configs/multi30k_de_en.yaml training.epochs=5 --run runs/try\n"
        "  torchrun --nproc-per-node 8 -m nmt.cli.train configs/multi30k_de_en.yaml",
    )
    add = parser.add_argument
    add("config", nargs="?", type=Path, metavar="CONFIG.yaml", help="the experiment file")
    add("overrides", nargs="*", metavar="section.key=value", help="options that win over the file")
    # torchrun takes `--run` for an abbreviation of its own options, wherever it stands.
    add(
        *("--run", "--run-dir"),
        type=Path,
        metavar="DIR",
        help="run directory (default: runs/CONFIG); under torchrun only --run-dir",
    )
    add("--restart", action="store_true", help="move an old run aside and begin anew")
    add("--check", action="store_true", help="try config, data and memory; write nothing")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="default: %(default)s")
    add(
        "--list",
        nargs="?",
        const="",
        metavar="FAMILY",
        help="every part with its options, defaults, meaning and paper",
    )
    add("--schema", action="store_true", help="JSON Schema of the experiment file, for editors")
    return parser


def _train(options: argparse.Namespace) -> int:
    rank = RankInfo.from_environment()
    if options.list is not None or options.schema or options.check:
        rank.require_single_process("--list, --schema or --check")
    if options.list is not None:
        from nmt.config.export import list_components

        print(list_components(options.list or None))
        return SUCCESS
    if options.schema:
        from nmt.config.export import json_schema

        print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
        return SUCCESS
    if options.config is None:
        _parser().error("no experiment file is given")
    from nmt.config.loader import load_experiment

    loaded = load_experiment(options.config, options.overrides)
    from nmt.training.dry_run import check_components

    check_components(loaded)
    from nmt.cli.process import configure_process

    training = loaded.experiment.training
    configure_process(
        options.device, threads=training.threads, tf32=True, deterministic=training.deterministic
    )
    if options.check:
        from nmt.training.dry_run import dry_run

        print(dry_run(loaded.experiment, device=options.device))
        return SUCCESS
    from nmt.distributed.process_group import join
    from nmt.training.run import train

    folder = options.run or Path("runs") / options.config.stem
    with join(rank, options.device) as ranks:
        finished = train(
            loaded.experiment,
            folder,
            device=options.device,
            # A job that torchrun has started again is to go on, not to begin anew once more.
            restart=options.restart and not rank.restart_count,
            process_group=ranks,
            recurrence=_recurrence_override(),
        )
    return SUCCESS if finished else INTERRUPTED


def _recurrence_override() -> "RecurrenceBackend | None":
    """Return the backend set for debugging by the environment variable NMT_RECURRENCE."""
    from nmt.config.schema import RecurrenceBackend

    value = os.environ.get("NMT_RECURRENCE")
    backends: tuple[RecurrenceBackend, ...] = get_args(RecurrenceBackend)
    for backend in backends:
        if value == backend:
            return backend
    if value is not None:
        raise UserError(f"NMT_RECURRENCE={value}: must be one of {', '.join(backends)}")
    return None


if __name__ == "__main__":
    sys.exit(main())
