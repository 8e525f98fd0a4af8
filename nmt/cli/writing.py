"""The files that nmt-translate writes, each line when its translation is there."""

import argparse
import io
import sys
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

from nmt.cli.output import format_line
from nmt.errors import UserError
from nmt.search.alignments import to_pharaoh
from nmt.search.translation import Translation


def write(translations: Generator[Translation, None, None], options: argparse.Namespace) -> None:
    """Write translations to the output, and what else the options ask for beside it.

    Args:
        translations: of all lines in order; closed in the end, also when nobody reads on

    Raises:
        UserError: a file cannot be written, or there is no attention to draw
    """
    with ExitStack() as stack:
        stack.callback(translations.close)
        aside = _written(options.alignments, stack) if options.alignments else None
        output = _output(options.output, stack)
        if options.attention is not None:
            _make(options.attention)
        for number, translation in enumerate(translations):
            output.write(format_line(number, translation, options))
            if options.input == "-":
                output.flush()
            if aside is not None:
                _write_alignment(aside, translation, options.alignment_level)
            if options.attention is not None:
                _draw(options.attention, number, translation)


def _output(name: str, stack: ExitStack) -> io.TextIOWrapper:
    if name == "-":
        assert isinstance(sys.stdout, io.TextIOWrapper)
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        return sys.stdout
    return _written(Path(name), stack)


def _written(path: Path, stack: ExitStack) -> io.TextIOWrapper:
    try:
        return stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
    except OSError as error:
        message = f"cannot write: {error.strerror}; name another file"
        raise UserError(message, str(path)) from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot be made: {error.strerror}; name another folder"
        raise UserError(message, str(folder)) from error


def _write_alignment(stream: io.TextIOWrapper, translation: Translation, level: str) -> None:
    links = translation.alignment if level == "word" else translation.piece_alignment
    stream.write(to_pharaoh(links) + "\n")


def _draw(folder: Path, number: int, translation: Translation) -> None:
    # Matplotlib takes its time, and few ask for pictures.
    from nmt.evaluation.samples import plot_translations

    if translation.pieces and translation.attention is None:
        raise UserError("the model has no attention to draw; leave out --attention")
    plot_translations(folder, str(number), [translation])
