"""Input and output of nmt-translate: valid combinations of options, formats and files."""

import argparse
import io
import json
import sys
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

from nmt.errors import UserError
from nmt.search.alignment import to_pharaoh
from nmt.search.translation import Translation


def check_options(arguments: argparse.Namespace) -> None:
    """Raise UserError for options that have no effect with one another."""
    if arguments.score_targets:
        for name in ("sample", "n_best", "replace_unknown"):
            if getattr(arguments, name):
                option = f"--{name.replace('_', '-')}"
                raise UserError(f"{option}: has no effect with --score-targets; remove it")
    for name in ("n_best", "jsonl"):
        if arguments.scores and getattr(arguments, name):
            option = f"--{name.replace('_', '-')}"
            raise UserError(
                f"--scores: the output of {option} contains the scores; remove --scores"
            )


def check_files(arguments: argparse.Namespace) -> None:
    """Raise UserError if the input is missing, or a file would be overwritten or written twice."""
    names = {
        "inputs": (arguments.input, arguments.score_targets),
        "outputs": (arguments.output, arguments.alignments),
    }
    inputs, outputs = (
        [Path(name) for name in names[kind] if name not in ("-", None)] for kind in names
    )
    if arguments.input != "-" and not Path(arguments.input).exists():
        raise UserError("no such file", arguments.input)
    for output in outputs:
        if any(_same_file(output, name) for name in inputs):
            raise UserError("is both input and output; choose another output file", str(output))
    if len(outputs) == 2 and outputs[0].absolute() == outputs[1].absolute():
        message = "is the output of both translations and alignments; choose another file for one"
        raise UserError(message, str(outputs[0]))


def _same_file(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def write_translations(
    translations: Generator[Translation, None, None], arguments: argparse.Namespace
) -> None:
    """Write each translation as soon as it is available, with its alignment and plot if requested.

    Args:
        translations: of all lines in order; closed at the end, also if writing fails
        arguments: of nmt-translate

    Raises:
        UserError: if a file cannot be written, or the model has no attention to plot
    """
    with ExitStack() as stack:
        stack.callback(translations.close)
        alignments = _open_file(arguments.alignments, stack) if arguments.alignments else None
        output = _open_output(arguments.output, stack)
        if arguments.attention is not None:
            _make_directory(arguments.attention)
        for number, translation in enumerate(translations):
            output.write(format_translation(number, translation, arguments))
            if arguments.input == "-":
                output.flush()  # the other end of the pipe may wait for this line
            if alignments is not None:
                _write_alignment(alignments, translation, arguments.alignment_level)
            if arguments.attention is not None:
                _plot_attention(arguments.attention, number, translation)


def format_translation(number: int, translation: Translation, arguments: argparse.Namespace) -> str:
    """Return the output lines for one input line: text, Moses n-best lines or a JSON object."""
    if arguments.jsonl:
        fields = {"id": number, **translation.to_dict()}
        return json.dumps(fields, ensure_ascii=False) + "\n"
    if arguments.n_best:
        return "".join(_moses_line(number, one) for one in translation.n_best or (translation,))
    if arguments.scores:
        return f"{translation.text}\t{translation.score:.4f}\n"
    return f"{translation.text}\n"


def _moses_line(number: int, one: Translation) -> str:
    return f"{number} ||| {one.text} ||| logprob= {one.log_prob:.4f} ||| {one.score:.4f}\n"


def _open_output(name: str, stack: ExitStack) -> io.TextIOWrapper:
    if name == "-":
        assert isinstance(sys.stdout, io.TextIOWrapper)
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        return sys.stdout
    return _open_file(Path(name), stack)


def _open_file(path: Path, stack: ExitStack) -> io.TextIOWrapper:
    try:
        return stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
    except OSError as error:
        message = f"cannot write: {error.strerror}; choose another file"
        raise UserError(message, str(path)) from error


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot create the directory: {error.strerror}; choose another one"
        raise UserError(message, str(directory)) from error


def _write_alignment(stream: io.TextIOWrapper, translation: Translation, level: str) -> None:
    links = translation.alignment if level == "word" else translation.piece_alignment
    stream.write(to_pharaoh(links) + "\n")


def _plot_attention(directory: Path, number: int, translation: Translation) -> None:
    # Imported here because matplotlib slows down the start of every command.
    from nmt.evaluation.samples import plot_translations

    if translation.pieces and translation.attention is None:
        raise UserError("--attention requires a model with attention; remove --attention")
    plot_translations(directory, str(number), [translation])
