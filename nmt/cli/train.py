"""nmt-train: train the model of an experiment file."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from nmt.cli.arguments import add_device
from nmt.cli.common import INTERRUPTED, SUCCESS, Parser, run
from nmt.cli.process import configure_process, import_torch
from nmt.cli.streams import print_result
from nmt.distributed.rank import RankInfo
from nmt.errors import UserError

if TYPE_CHECKING:
    from nmt.config.choices import RecurrenceBackend

NAME = "nmt-train"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    memory = "training.batch_tokens or the sizes of the model"
    return run(NAME, lambda: _train(_parser().parse(arguments)), memory=memory)


def _parser() -> Parser:
    parser = Parser(
        NAME,
        "Train the model of an experiment file. The same command continues an unfinished run.",
        "examples:\n"
        "  nmt-train configs/multi30k_de_en.yaml training.epochs=5 --run runs/try\n"
        "  torchrun --nproc-per-node 8 -m nmt.cli.train configs/multi30k_de_en.yaml",
    )
    experiment = parser.add_argument_group("experiment")
    experiment.add_argument(
        "config", nargs="?", type=Path, metavar="CONFIG.yaml", help="experiment file"
    )
    experiment.add_argument(
        "overrides",
        nargs="*",
        metavar="section.key=value",
        help="values that override the file; model.decoder.type=NAME keeps the options of the "
        "decoder, model.decoder={type: NAME} replaces them",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        # torchrun parses `--run` as an abbreviation of its own options, even after the script.
        *("--run", "--run-dir"),
        type=Path,
        metavar="DIR",
        help="run directory (default: runs/CONFIG); under torchrun only --run-dir works",
    )
    output.add_argument(
        "--restart",
        action="store_true",
        help="rename an existing run directory and start over (default: continue the run)",
    )
    add_device(parser.add_argument_group("runtime"))
    information = parser.add_argument_group("information, without training")
    information = information.add_mutually_exclusive_group()
    information.add_argument(
        "--check",
        action="store_true",
        help="validate the file, the data and the memory by two updates on the longest batch; "
        "writes nothing",
    )
    information.add_argument(
        "--list",
        nargs="?",
        const="",
        metavar="NAME",
        help="list all options of experiment files and all components with their papers, or one "
        "section or family, such as training or encoder; includes the plugins of CONFIG.yaml",
    )
    information.add_argument(
        "--schema",
        action="store_true",
        help="print the JSON Schema of experiment files, for editors; includes the plugins of "
        "CONFIG.yaml",
    )
    information.add_argument(
        "--example",
        nargs="?",
        const="",
        metavar="NAME",
        help="write an example's experiment file, and its text, into the current directory; "
        "without NAME, list the examples, such as dates, copy and shapes",
    )
    return parser


def _train(options: argparse.Namespace) -> int:
    rank = RankInfo.from_environment()
    # Under torchrun, every rank would print the same.
    others = "--list, --schema, --example or --check"
    if options.list is not None or options.example is not None or options.schema or options.check:
        rank.require_single_process(others)
        unused = {"--restart": options.restart}
        if not options.check:
            unused |= {"--run": options.run is not None, "--device": options.device != "auto"}
        for name, is_given in unused.items():
            if is_given:
                raise UserError(f"{name}: has no effect with {others}; remove it")
    if options.example is not None:
        print_result(_example(options))
        return SUCCESS
    if options.list is not None or options.schema:
        print_result(_description(options))
        return SUCCESS
    if options.config is None:
        # Not required by the parser, because --list and --schema work without one.
        _parser().error("CONFIG.yaml is required")
    # Errors in the file are reported without importing torch, which takes two seconds.
    from nmt.config.loader import load_experiment

    loaded = load_experiment(options.config, options.overrides)
    import_torch()
    from nmt.training.dry_run import check_components

    # Sizes and combinations of components are checked by building the model, without memory.
    check_components(loaded)
    training = loaded.experiment.training
    configure_process(
        options.device, threads=training.threads, deterministic=training.deterministic
    )
    if options.check:
        from nmt.training.dry_run import dry_run

        with loaded.located():
            report = dry_run(loaded.experiment, device=options.device)
        print_result(report)
        return SUCCESS
    from nmt.distributed.process_group import join
    from nmt.training.run import open_trainer

    folder = options.run or Path("runs") / options.config.stem
    with (
        loaded.located(),
        join(rank, options.device) as ranks,
        open_trainer(
            loaded.experiment,
            folder,
            device=options.device,
            # A job that torchrun restarts continues its run; only its first start may begin one.
            restart=options.restart and not rank.restart_count,
            process_group=ranks,
            recurrence=_recurrence_override(),
            command=_command(options),
        ) as trainer,
    ):
        stop = trainer.train()
    return INTERRUPTED if stop.reason is None else SUCCESS


def _example(options: argparse.Namespace) -> str:
    """Write an example, or list their names."""
    from nmt.examples.catalog import names, write_example

    if options.config is not None:
        raise UserError("has no effect with --example; remove it", str(options.config))
    return write_example(options.example, Path()) if options.example else "\n".join(names())


def _command(options: argparse.Namespace) -> list[str]:
    """Return the arguments of this command without `--restart`."""
    run = ["--run", str(options.run)] if options.run else []
    device = ["--device", options.device] if options.device != "auto" else []
    return [NAME, str(options.config), *options.overrides, *run, *device]


def _description(options: argparse.Namespace) -> str:
    """Return the list of options or the JSON Schema, plugins included."""
    from nmt.config.export import json_schema, list_options
    from nmt.config.loader import import_plugins

    if options.config is not None:
        import_plugins(options.config, options.overrides)
    if options.list is not None:
        return list_options(options.list or None)
    return json.dumps(json_schema(), indent=2, ensure_ascii=False)


def _recurrence_override() -> "RecurrenceBackend | None":
    """Return the backend set for debugging by the environment variable NMT_RECURRENCE."""
    from nmt.config.choices import RecurrenceBackend

    # For debugging alone, and therefore no command-line option; the run logs the override.
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
