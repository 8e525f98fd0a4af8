"""nmt-compare: train, evaluate and compare systems."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from nmt.cli.arguments import (
    add_checkpoint,
    add_device,
    add_lowercase,
    add_metrics,
    add_threads,
    add_trust_plugins,
    integer,
)
from nmt.cli.common import SUCCESS, USER_ERROR, Parser, run
from nmt.cli.output import check_outputs
from nmt.cli.process import configure_process
from nmt.cli.search_arguments import (
    add_search_group,
    add_search_options,
    check_search_options,
    search_options,
)
from nmt.cli.streams import complain, print_result
from nmt.distributed.rank import RankInfo
from nmt.errors import UserError
from nmt.files import exists, is_dir, is_file
from nmt.version import install_command

if TYPE_CHECKING:
    from nmt.comparison.buckets import Buckets
    from nmt.comparison.measurement import Measurement, TestSet
    from nmt.comparison.plan import System
    from nmt.comparison.results import Results

NAME = "nmt-compare"
MAX_SEEDS, MAX_LINE = 1000, 10**9


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(NAME, lambda: _compare(_parser().parse(arguments)))


def _parser() -> Parser:
    parser = Parser(
        NAME,
        "Compare systems: train what is missing, translate a test text by every system, and write "
        "tables, figures and a page.",
        "examples:\n"
        "  nmt-compare my.yaml --grid model.score=additive,dot,general --seeds 3 --test t.de t.en\n"
        "  nmt-compare plain.yaml attention.yaml training.epochs=5 --baseline plain -o study\n"
        "  nmt-compare runs/* --test test.de test.en",
    )
    systems = parser.add_argument_group("systems")
    add = systems.add_argument
    add(
        "systems",
        nargs="+",
        metavar="SYSTEM",
        help="experiment files ending in .yaml and values section.key=value of all of them, or "
        "run directories, of which those that differ only in their seed are one system",
    )
    add(
        "--grid",
        nargs="+",
        action="extend",
        default=[],
        metavar="section.key=VALUE,VALUE",
        help="train every combination of these values (default: the experiment files as they are)",
    )
    add(
        "--seeds",
        type=integer(1, MAX_SEEDS),
        metavar="N",
        help="trainings per system, with the seeds training.seed, training.seed + 1 and so on "
        "(default: 1)",
    )
    add(
        "--tune",
        nargs="+",
        metavar="N key=LOW..HIGH[:log]",
        help="first find the best values of these options on the validation text, by N trainings "
        "per system; key=VALUE,VALUE chooses from a list; requires Optuna (default: off)",
    )
    evaluation = parser.add_argument_group("evaluation")
    add = evaluation.add_argument
    add(
        "--test",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="SOURCE and one or more REFERENCE files (default: the validation text)",
    )
    add(
        "--baseline",
        metavar="NAME",
        help="system that the others are compared with (default: the first one)",
    )
    add_metrics(evaluation, "those of evaluation.metrics")
    add(
        "--tokenize",
        metavar="NAME",
        help="sacreBLEU's tokenizer for BLEU (default: that of the target language)",
    )
    add_lowercase(evaluation)
    add(
        "--sentence",
        type=integer(1, MAX_LINE),
        metavar="LINE",
        help="line of the test text whose attention is drawn (default: the first one of median "
        "length)",
    )
    add_checkpoint(evaluation)
    add_trust_plugins(
        evaluation,
        "run the Python code that given runs contain, and follow their links; only for runs whose "
        "authors you trust",
    )
    search = add_search_group(parser)
    add_search_options(search, "beam_size", "max_length", "length_penalty", "coverage_penalty")
    add_search_options(search, "batch_tokens")
    output = parser.add_argument_group("output")
    output.add_argument(
        *("-o", "--output"),
        type=Path,
        default=Path("study"),
        metavar="DIRECTORY",
        help="directory of the trained runs, the translations, tables and figures (default: study)",
    )
    runtime = parser.add_argument_group("runtime")
    add_device(runtime)
    add_threads(runtime, "of translation")
    return parser


def _compare(options: argparse.Namespace) -> int:
    RankInfo.from_environment().require_single_process(NAME)
    check_search_options(options)
    systems = _plan(options)
    from nmt.comparison.measurement import measure, read_test
    from nmt.comparison.results import evaluate, find_baseline

    configure_process(options.device, threads=options.threads)
    baseline = find_baseline(systems, options.baseline)
    test = read_test(options.test, systems)
    sentence = _sentence(options, test)
    metrics, tokenize = _metrics(options, systems, test)
    is_trained_here = systems[0].runs[0].config is not None
    trained = _train(systems, options) if is_trained_here else systems
    if not trained:
        raise UserError("no training has succeeded; see the messages above")
    measured = measure(
        trained,
        test,
        options.output / "translations",
        sentence=sentence,
        checkpoint=options.checkpoint,
        device=options.device,
        # The experiment files of this command line are the user's own.
        trust_plugins=options.trust_plugins or is_trained_here,
        search=partial(search_options, options),
    )
    results = evaluate(
        _reported(measured),
        test,
        metrics,
        baseline=baseline,
        tokenize=tokenize,
        lowercase=options.lowercase,
    )
    _write(results, options.output)
    complete = sum(len(one.runs) for one in trained) == sum(len(one.runs) for one in systems)
    return SUCCESS if complete else USER_ERROR


def _plan(options: argparse.Namespace) -> list["System"]:
    """Return the systems of the command line, which are experiment files or runs."""
    from nmt.comparison.plan import find_systems, parse_grid, plan_experiments
    from nmt.storage.run_dir import RunDir

    configs = [Path(one) for one in options.systems if one.endswith((".yaml", ".yml"))]
    overrides = [one for one in options.systems if "=" in one and not Path(one).exists()]
    runs = [
        Path(one) for one in options.systems if Path(one) not in configs and one not in overrides
    ]
    check_outputs([*configs, *runs, *options.test], {"study": options.output})
    study = RunDir(options.output)
    if is_file(study.path):
        raise UserError("is a file; choose a directory", str(study.path))
    if is_file(study.config) and is_dir(study.checkpoints):
        raise UserError("is a run; choose another directory", str(study.path))
    if configs and runs:
        message = "is no experiment file; compare either experiment files or runs"
        raise UserError(message, str(runs[0]))
    if configs:
        return plan_experiments(
            configs,
            parse_grid(options.grid, "--grid"),
            options.output / "runs",
            seeds=options.seeds or 1,
            overrides=overrides,
        )
    if not runs:
        raise UserError("is not an experiment file or a run; name one", options.systems[0])
    given = [f"--{name}" for name in ("grid", "seeds", "tune") if getattr(options, name)]
    for name in (*given, *overrides):
        raise UserError("has no effect on runs that exist; give an experiment file", name)
    return find_systems(_finished(runs), trust_plugins=options.trust_plugins)


def _train(systems: Sequence["System"], options: argparse.Namespace) -> list["System"]:
    """Tune and train the systems, and return those that have finished runs."""
    from nmt.comparison.training import train_missing
    from nmt.comparison.tuning import parse_tuning, tune

    if options.tune:
        tuning, folder = parse_tuning(options.tune, "--tune"), options.output / "tuning"
        systems = [
            tune(system, tuning, folder, device=options.device, report=_report)
            for system in systems
        ]
    return train_missing(systems, device=options.device, report=_report)


def _finished(runs: Sequence[Path]) -> list[Path]:
    """Return the runs with a checkpoint; `runs/*` may match others, which are left out."""
    from nmt.storage.bundle import SUFFIX, is_bundle
    from nmt.storage.run_dir import RunDir

    found = []
    for run_path in runs:
        if not exists(run_path):
            raise UserError("not found", str(run_path))
        if run_path.suffix == SUFFIX or (is_dir(run_path) and is_bundle(run_path)):
            RunDir(run_path).check_trained()
        if len(runs) == 1 or RunDir(run_path).has_checkpoint():
            found.append(run_path)
        else:
            _report(f"{run_path}: is left out, because it has no checkpoint")
    if not found:
        raise UserError("none of the directories is a run with a checkpoint")
    return found


def _sentence(options: argparse.Namespace, test: "TestSet") -> int:
    """Return the row of the sentence of the figure: given, or the first one of median length."""
    if options.sentence is not None:
        if options.sentence > len(test.sources):
            raise UserError(f"the test text has {len(test.sources)} lines", "--sentence")
        return int(options.sentence) - 1
    lengths = [len(line.split()) for line in test.sources]
    return lengths.index(sorted(lengths)[len(lengths) // 2])


def _metrics(
    options: argparse.Namespace, systems: Sequence["System"], test: "TestSet"
) -> tuple[list[str], str | None]:
    """Return the metrics and the tokenizer of BLEU."""
    from nmt.data.bleu_tokenizer import choose_for_references
    from nmt.evaluation.metrics import make_metrics

    experiment = systems[0].experiment
    metrics = options.metrics or list(experiment.evaluation.metrics)
    tokenizer = choose_for_references(
        metrics, options.tokenize, experiment.data.target, test.references[0]
    )
    if tokenizer.warning:
        _report(tokenizer.warning)
    # A tokenizer that cannot be loaded is better reported before the time of the trainings.
    make_metrics(metrics, tokenize=tokenizer.name, lowercase=options.lowercase)
    return metrics, tokenizer.name


def _reported(
    measured: Iterable[tuple["System", "Measurement"]],
) -> Iterator[tuple["System", "Measurement"]]:
    for system, measurement in measured:
        _report(f"{system.name}, seed {measurement.seed}: test text translated")
        yield system, measurement


def _write(results: "Results", folder: Path) -> None:
    """Write all files, and print the table."""
    from nmt.comparison.buckets import by_length
    from nmt.comparison.page import render_page
    from nmt.comparison.tables import to_csv, to_latex, to_markdown
    from nmt.storage.atomic import replace_file

    replace_file(folder / "results.json", json.dumps(results.to_dict(), indent=1) + "\n")
    replace_file(folder / "table.csv", to_csv(results))
    replace_file(folder / "table.tex", to_latex(results))
    replace_file(folder / "table.md", to_markdown(results))
    print_result(to_markdown(results).removesuffix("\n"))
    lengths, frequencies = by_length(results), _frequencies(results)
    page = render_page(results, [part for part in (lengths, frequencies) if part is not None])
    replace_file(folder / "report.html", page)
    _report(f"{folder / 'report.html'}: sentences side by side")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        _report(f"no figures, which require matplotlib; run {install_command('plots')}")
    else:
        from nmt.comparison.figures import write_figures

        for file in write_figures(results, folder, lengths):
            _report(f"{file}: written")


def _frequencies(results: "Results") -> "Buckets | None":
    """Return the scores by frequency in the training text of the first system, if it exists."""
    from nmt.comparison.buckets import MAX_TRAINING_LINES, by_frequency
    from nmt.training.datasets import find_text

    data = results.systems[0].system.experiment.data
    try:
        pairs = islice(find_text(data, data.train).pairs(), MAX_TRAINING_LINES)
        return by_frequency(results, (target for _, target in pairs))
    except UserError as error:
        _report(f"no scores by frequency of words: {error}")
        return None


def _report(message: str) -> None:
    complain(f"{NAME}: {message}")


if __name__ == "__main__":
    sys.exit(main())
