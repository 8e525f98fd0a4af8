"""Windows of input lines, and the loop that translates them in one process or several."""

import argparse
import io
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from nmt.data.corpus import read_lines
from nmt.errors import UserError
from nmt.prefetch import read_available

if TYPE_CHECKING:
    from nmt.distributed.process_group import ProcessGroup
    from nmt.search.source_reader import SourceReader
    from nmt.search.translation import Translation
    from nmt.search.translator import SourceLine

Item = TypeVar("Item")

WINDOW = 2000  # lines per process; sentences of similar length among them share a batch


def translate_windows(
    windows: Iterator[list["SourceLine"]],
    translate: Callable[[list["SourceLine"]], list["Translation"]],
    group: "ProcessGroup",
) -> Generator["Translation", None, None]:
    """Translate windows of lines, and yield the translations in order.

    Every rank runs this loop. The first rank reads the windows and yields all translations; the
    others receive the windows, translate their share and yield nothing.

    Args:
        windows: windows of lines; read by the first rank only
        translate: translates some of the lines of a window
        group: processes of the job
    """
    while (window := group.on_first(lambda: next(windows, None))) is not None:
        translations = group.map(lambda lines, _: translate(lines), window)
        try:
            yield from translations
        except GeneratorExit:
            group.broadcast(None)  # the output was closed, and the other ranks wait for a window
            raise


def read_windows(
    arguments: argparse.Namespace, reader: "SourceReader", size: int
) -> Iterator[list["SourceLine"]]:
    """Yield the lines of the input, with the targets to score if there are any, in windows.

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


def number_lines(texts: Iterable[str]) -> Iterator["SourceLine"]:
    """Enumerate lines from 0."""
    from nmt.search.translator import SourceLine

    return (SourceLine(number, text) for number, text in enumerate(texts))


def pair_lines(
    texts: Iterator[str], targets: Iterator[str], name: str, targets_name: str
) -> Iterator["SourceLine"]:
    """Enumerate lines, each with its target.

    Raises:
        UserError: if the numbers of lines differ, or a target translates an empty line, which has
            no score
    """
    from nmt.search.translator import SourceLine

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
