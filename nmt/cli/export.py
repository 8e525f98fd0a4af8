"""nmt-export: write a trained model as one file, for the Hugging Face hub, or for other engines."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nmt.cli.arguments import add_checkpoint, one_line
from nmt.cli.common import SUCCESS, Parser, run
from nmt.cli.output import check_outputs
from nmt.cli.process import import_torch
from nmt.cli.streams import complain
from nmt.distributed.rank import RankInfo
from nmt.errors import UserError

if TYPE_CHECKING:
    from nmt.export.card import Score
    from nmt.inference.saved_model import SavedModel

NAME = "nmt-export"
FOLDERS = ("hub", "ctranslate2", "onnx")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(NAME, lambda: _export(_parser().parse(arguments)), memory="--precision")


def _parser() -> Parser:
    parser = Parser(
        NAME,
        "Write a trained model as one file that nmt-translate, nmt-eval and Translator.load read, "
        "or for other programs.",
        "examples:\n"
        "  nmt-export runs/multi30k_de_en de-en.nmt --precision int8\n"
        "  nmt-export runs/multi30k_de_en --hub my-repository --license cc-by-4.0\n"
        "  nmt-translate -m de-en.nmt input.de",
    )
    files = parser.add_argument_group("files")
    files.add_argument("run", type=Path, metavar="RUN", help="run directory, or a bundle")
    files.add_argument(
        "bundle", nargs="?", type=Path, metavar="FILE.nmt", help="bundle to write (default: none)"
    )
    add = files.add_argument
    add(
        "--hub",
        type=Path,
        metavar="FOLDER",
        help="write the layout of a repository of the Hugging Face hub (default: none)",
    )
    add(
        "--ctranslate2",
        type=Path,
        metavar="FOLDER",
        help="write a model of CTranslate2, of a Transformer only (default: none)",
    )
    add(
        "--onnx",
        type=Path,
        metavar="FOLDER",
        help="write the encoder and a decoder step as ONNX, with an example (default: none)",
    )
    model = parser.add_argument_group("model")
    add_checkpoint(model)
    model.add_argument(
        "--precision",
        choices=["fp32", "bf16", "int8"],
        help="number format of the weights: fp32 as they are, bf16 half as large, int8 about a "
        "quarter (default: as in RUN)",
    )
    card = parser.add_argument_group("model card")
    card.add_argument(
        "--name", type=one_line, metavar="NAME", help="name of the model (default: that of RUN)"
    )
    card.add_argument(
        "--license",
        type=one_line,
        metavar="ID",
        help="license of the model, such as cc-by-4.0 (default: none)",
    )
    card.add_argument(
        "--scores",
        type=Path,
        action="append",
        metavar="FILE",
        help="scores of a test set of the name of the file, written by nmt-eval --json; may be "
        "repeated (default: those of the validation)",
    )
    return parser


def _export(options: argparse.Namespace) -> int:
    RankInfo.from_environment().require_single_process(NAME)
    _check_options(options)
    # Only now, because importing torch takes longer than all checks.
    import_torch()
    from nmt.config.loader import UntrustedCodeError
    from nmt.export.card import read_scores
    from nmt.inference.saved_model import load_saved_model
    from nmt.storage.bundle import check_new_folder

    for folder in filter(None, (getattr(options, name) for name in FOLDERS)):
        check_new_folder(folder)
    scores = [score for file in options.scores or () for score in read_scores(file)]
    try:
        saved = load_saved_model(options.run, options.checkpoint)
    except UntrustedCodeError as error:
        reason = error.message.partition("; ")[0]
        raise UserError(f"{reason}; an exported model contains none", error.location) from None
    for warning in saved.warnings:
        complain(f"{NAME}: {warning}")
    if options.bundle is not None or options.hub is not None:
        _write_bundles(options, saved, scores)
    if options.ctranslate2 is not None:
        from nmt.export.ctranslate2 import write_ctranslate2

        write_ctranslate2(options.ctranslate2, saved, options.precision or "fp32")
    if options.onnx is not None:
        from nmt.export.onnx import write_onnx

        write_onnx(options.onnx, saved)
    return SUCCESS


def _write_bundles(options: argparse.Namespace, saved: "SavedModel", scores: "list[Score]") -> None:
    """Write the bundle, and the same files for the hub."""
    from nmt.export.bundle import bundle_files
    from nmt.export.card import CardFacts, read_text_report, validation_scores, write_card
    from nmt.storage.bundle import write_bundle, write_folder

    precision = options.precision or saved.precision
    facts = CardFacts(
        options.name or options.run.resolve().stem,
        precision,
        options.license or "",
        scores or validation_scores(options.run, saved),
        read_text_report(options.run),
    )
    files = bundle_files(saved, precision, write_card(saved, facts))
    if options.bundle is not None:
        write_bundle(options.bundle, files)
    if options.hub is not None:
        write_folder(options.hub, files)


def _check_options(options: argparse.Namespace) -> None:
    outputs = {name: getattr(options, name) for name in ("bundle", *FOLDERS)}
    given = {name: path for name, path in outputs.items() if path is not None}
    if not given:
        raise UserError("an output is required: FILE.nmt, --hub, --ctranslate2 or --onnx")
    check_outputs([options.run], given)
    if options.bundle is not None and options.bundle.suffix != ".nmt":
        raise UserError("the name of a bundle must end in .nmt", str(options.bundle))
    if options.bundle is not None and options.bundle.is_dir():
        raise UserError("is a folder; give the name of a file", str(options.bundle))
    if options.bundle is None and options.hub is None:
        for name in ("name", "license", "scores"):
            if getattr(options, name) is not None:
                raise UserError(f"--{name}: has no effect without FILE.nmt or --hub; remove it")
        if options.precision is not None and options.ctranslate2 is None:
            raise UserError("--precision: has no effect with --onnx; remove it")


if __name__ == "__main__":
    sys.exit(main())
