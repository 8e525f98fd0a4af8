"""nmt-init: examine sentence pairs, divide them, and write an experiment file for them."""

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from nmt.cli.arguments import add_device, add_threads, column, integer
from nmt.cli.common import SUCCESS, Parser, run
from nmt.cli.streams import complain, print_result
from nmt.errors import UserError, printable

NAME = "nmt-init"
MAX_SEED = 2**31 - 1
MAX_COMMAND = 2000  # characters
LANGUAGE = re.compile(r"\w+([-_@]\w+)*")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    return run(NAME, lambda: _init(_parser().parse(arguments), given))


def _parser() -> Parser:
    parser = Parser(
        NAME,
        "Examine sentence pairs, divide them into training, validation and test, and write an\n"
        "experiment file with settings that suit their number and this machine.",
        "examples:\n"
        "  nmt-init sentences.tsv                       only report on the text\n"
        "  nmt-init sentences.tsv -o my.yaml\n"
        "  nmt-init train.de train.en --valid dev.de dev.en -o my.yaml\n"
        "  nmt-init memory.tmx --languages de en --clean -o my.yaml\n"
        "  nmt-init --from joey.yaml -o my.yaml         convert a config of JoeyNMT",
    )
    text = parser.add_argument_group("text")
    text.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="a .tsv, .csv, .tmx, .jsonl or .parquet file, a .zip archive, a folder, one of two "
        "text files such as train.de and train.en, or both; plain or compressed, UTF-8 or UTF-16",
    )
    text.add_argument(
        "--languages",
        nargs=2,
        metavar=("SOURCE", "TARGET"),
        help="codes of the languages, such as de en (default: from names of files and columns, "
        "from the script, or identified if lingua-language-detector is installed)",
    )
    text.add_argument(
        "--columns",
        nargs=2,
        type=column,
        metavar=("SOURCE", "TARGET"),
        help="columns of a table or of records, by number from 1 or by name (default: the two "
        "columns of text)",
    )
    for part in ("valid", "test"):
        text.add_argument(
            f"--{part}",
            nargs="+",
            type=Path,
            default=[],
            metavar="FILE",
            help=f"files of the {part} part (default: split off from the text)",
        )
    text.add_argument(
        "--from",
        type=Path,
        dest="peer",
        metavar="JOEY.yaml",
        help="convert this config of JoeyNMT, with a recurrent or Transformer model, instead of "
        "examining text (default: none)",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="CONFIG.yaml",
        help="experiment file; texts are written to the folder CONFIG-data next to it (default: "
        "only report on the text)",
    )
    output.add_argument(
        "--clean",
        action="store_true",
        help="leave out faulty training pairs, listed with reasons in removed.tsv, and convert "
        "text to Unicode normalization form C (default: only report them)",
    )
    training = parser.add_argument_group("training")
    training.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="minutes of training (default: as long as is advisable for the text)",
    )
    training.add_argument(
        "--seed",
        type=integer(0, MAX_SEED),
        default=1,
        metavar="N",
        help="seed of the division and of the training (default: 1)",
    )
    runtime = parser.add_argument_group("runtime")
    add_device(runtime, "device of the training; auto is a GPU if there is one")
    add_threads(runtime, "of the training")
    return parser


def _init(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    output: Path | None = options.output
    _check_options(options)
    if options.peer is not None:
        return _convert(options.peer, options.output)
    from nmt.data.examination.report import examine, report
    from nmt.data.readers.inputs import find_inputs

    languages = None if options.languages is None else (*options.languages,)
    inputs = find_inputs(
        options.files,
        valid=options.valid,
        test=options.test,
        selection=(options.columns, languages),
    )
    examined = examine(inputs.parts, languages or inputs.train.languages)
    rows = [("note", note) for note in inputs.notes]
    rows += [row for one in examined.values() for row in report(one)]
    print_result("\n".join(f"{name:<18}{text}" for name, text in rows))
    if output is None:
        return SUCCESS

    from nmt.cli.process import configure_process
    from nmt.training import new_experiment

    configure_process(options.device, threads=options.threads)
    suffixes = new_experiment.name_languages(examined, languages)
    folder = output.with_name(f"{output.stem}-data")
    texts = new_experiment.prepare_texts(
        examined, suffixes, folder, clean=options.clean, seed=options.seed
    )
    with new_experiment.removed_on_error(texts, output):
        facts = new_experiment.collect_facts(examined, texts, options.device)
        complain(f"{NAME}: measuring the speed of training on this machine")
        planned = new_experiment.plan(
            facts,
            texts,
            output,
            minutes=options.minutes,
            device=options.device,
            threads=options.threads,
            seed=options.seed,
        )
        scores = new_experiment.baselines(texts)
        summary = new_experiment.describe(planned, texts, scores)
        command = printable(shlex.join([NAME, *arguments]), MAX_COMMAND)
        new_experiment.finish(planned, texts, output, summary, command)
    print_result("\n".join(["", *summary, f"{output} is written; next: nmt-train {output}"]))
    return SUCCESS


def _convert(peer: Path, output: Path) -> int:
    """Write the experiment that a config of another toolkit describes, and print notes."""
    from nmt.config.joey import convert_joey
    from nmt.config.loader import load_experiment
    from nmt.config.writing import write_yaml

    settings, notes = convert_joey(peer, output)
    header = "\n".join([f"Converted by {NAME} from {printable(peer.name)}.", *notes])
    output.write_text(write_yaml(settings, {}, header), encoding="utf-8")
    try:
        load_experiment(output)
    except UserError:
        output.unlink()
        raise
    print_result("\n".join([*notes, f"{output} is written; next: nmt-train {output} --check"]))
    return SUCCESS


def _check_conversion(options: argparse.Namespace) -> None:
    """Raise UserError for options that have no effect with `--from`."""
    given = {
        "FILE": options.files,
        "--languages": options.languages,
        "--columns": options.columns,
        "--valid": options.valid,
        "--test": options.test,
        "--clean": options.clean,
        "--minutes": options.minutes,
        "--threads": options.threads,
        "--seed": options.seed != 1,
        "--device": options.device != "auto",
    }
    for name, value in given.items():
        if value:
            raise UserError(f"{name} has no effect with --from; remove one of them")
    if options.output is None:
        raise UserError("--from requires -o, the experiment file to write; add it")


def _check_options(options: argparse.Namespace) -> None:
    """Raise UserError for options without effect, and for an output that exists."""
    if options.peer is not None:
        _check_conversion(options)
    elif not options.files:
        raise UserError("no text is given; name a file, or a config with --from")
    for code in options.languages or ():
        if not LANGUAGE.fullmatch(code):
            message = f"--languages: '{printable(code)}' is no code of a language, such as de"
            raise UserError(message)
    output: Path | None = options.output
    if output is None:
        for name in ("clean", "minutes", "threads"):
            if getattr(options, name):
                raise UserError(f"--{name} has no effect without -o; add -o or remove it")
        return
    if options.minutes is not None and not 0 < options.minutes < float("inf"):
        raise UserError(f"--minutes: must be more than 0, got {options.minutes:g}")
    if output.suffix not in (".yaml", ".yml"):
        raise UserError("is not the name of an experiment file; use .yaml", str(output))
    if output.exists():
        raise UserError("already exists; choose another name, or remove it", str(output))


if __name__ == "__main__":
    sys.exit(main())
