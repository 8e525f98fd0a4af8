"""Input and output of nmt-translate: windows of lines, output formats and files."""

import argparse
import io
import json
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice, zip_longest
from pathlib import Path
from typing import TypeVar

from nmt.data.corpus import read_lines
from nmt.errors import UserError
from nmt.prefetch import read_available
from nmt.search.alignment import to_pharaoh
from nmt.search.source_reader import SourceReader
from nmt.search.translation import Translation
from nmt.search.translator import SourceLine, number_lines

Item = TypeVar("Item")


def read_windows(
    arguments: argparse.Namespace, reader: SourceReader, size: int
) -> Iterator[list[SourceLine]]:
    """Yield windows of the lines of the input, with their targets if these are to be scored.

    Args:
        arguments: of nmt-translate
        reader: reader of the model, which resolves file names of images
        size: maximum number of lines per window

    Raises:
        UserError: if a file cannot be read, or input and targets do not correspond
    """
    if arguments.input == "-":
        # A buffer of its own: Python cannot exit while a thread waits in the buffer of sys.stdin.
        stream = io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False))
        texts, directory = read_lines(stream, "standard input"), Path()
    else:
        texts, directory = read_lines(arguments.input), Path(arguments.input).parent
    texts = (reader.resolve(text, directory) for text in texts)
    if arguments.score_targets is None:
        lines = number_lines(texts)
    else:
        targets = read_lines(arguments.score_targets)
        lines = pair_lines(texts, targets, input_name(arguments), str(arguments.score_targets))
    return read_available(lines, size) if arguments.input == "-" else full_windows(lines, size)


def input_name(arguments: argparse.Namespace) -> str:
    """Return the name of the input in error messages."""
    return "standard input" if arguments.input == "-" else str(arguments.input)


def pair_lines(
    texts: Iterator[str], targets: Iterator[str], name: str, targets_name: str
) -> Iterator[SourceLine]:
    """Enumerate lines, each with its target.

    Raises:
        UserError: if the numbers of lines differ, or a target translates an empty line, which has
            no score
    """
    for number, (text, target) in enumerate(zip_longest(texts, targets)):
        if text is None or target is None:
            # One side has ended, so counting the rest of both gives the total of each.
            sources = number + (text is not None) + sum(1 for _ in texts)
            given = number + (target is not None) + sum(1 for _ in targets)
            message = f"{given} lines, but {name} has {sources}; give one target per line"
            raise UserError(message, targets_name)
        if target.strip() and not text.strip():
            message = f"translates an empty line of {name}; remove the text of this line"
            raise UserError(message, f"{targets_name}:{number + 1}")
        yield SourceLine(number, text, target)


def full_windows(lines: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield windows of `size` lines, the last one shorter; for files."""
    iterator = iter(lines)
    while window := list(islice(iterator, size)):
        yield window


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
        # An empty line has no hypotheses, but one output line like any other.
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
