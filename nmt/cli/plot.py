"""nmt-plot: draw the learning curves of runs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nmt.cli.common import SUCCESS, Parser, run
from nmt.cli.output import check_outputs
from nmt.cli.streams import complain
from nmt.distributed.rank import RankInfo
from nmt.errors import UserError
from nmt.version import install_command

NAME = "nmt-plot"
FORMATS = ("png", "svg", "pdf")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(NAME, lambda: _plot(_parser().parse(arguments)), memory="the number of runs")


def _parser() -> Parser:
    parser = Parser(
        NAME,
        "Draw the learning curves of one or several runs, one panel per metric.",
        "examples:\n"
        "  nmt-plot runs/*\n"
        "  nmt-plot runs/small runs/large --metrics loss chrf --x minutes -o curves.pdf",
    )
    files = parser.add_argument_group("runs")
    files.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directories")
    plot = parser.add_argument_group("plot")
    plot.add_argument(
        "--metrics",
        nargs="+",
        metavar="NAME",
        help="reported values, such as loss, chrf, learning_rate or attention_entropy (default: "
        "the loss and all scores)",
    )
    plot.add_argument(
        "--x",
        choices=["updates", "minutes"],
        default="updates",
        help="horizontal axis (default: updates)",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("curves.png"),
        metavar="FILE",
        help=f"file to write, ending in .{', .'.join(FORMATS)} (default: curves.png)",
    )
    return parser


def _plot(options: argparse.Namespace) -> int:
    RankInfo.from_environment().require_single_process(NAME)
    if options.output.suffix.lower().removeprefix(".") not in FORMATS:
        endings = ", ".join(f".{name}" for name in FORMATS)
        raise UserError(f"-o must end in one of {endings}", str(options.output))
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        message = f"requires the package matplotlib; run {install_command('plots')}"
        raise UserError(message) from None
    from nmt.evaluation.curves import plot_curves, read_curves, write_figure

    check_outputs([], {"curves": options.output})
    runs = options.runs
    if len(runs) > 1:
        # `runs/*` may match other files, and runs without a first report.
        runs = [path for path in runs if _has_reports(path)]
        if not runs:
            raise UserError("none of the directories is a run with reports")
    figure = plot_curves(read_curves(runs), options.metrics, options.x)
    write_figure(figure, options.output)
    complain(f"{NAME}: {options.output}: curves of {len(runs)} run{'s' * (len(runs) > 1)}")
    return SUCCESS


def _has_reports(run: Path) -> bool:
    """Return whether a run has reports; write a note if it has none."""
    from nmt.files import exists
    from nmt.storage.run_dir import RunDir

    metrics = RunDir(run).metrics
    if not exists(run):
        raise UserError("not found", str(run))
    if exists(metrics) and metrics.stat().st_size:
        return True
    complain(f"{NAME}: {run}: is left out, because it has no reports")
    return False


if __name__ == "__main__":
    sys.exit(main())
