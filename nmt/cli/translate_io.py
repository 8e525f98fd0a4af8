"""Input and output of nmt-translate: windows of lines, output formats and files."""

import argparse
import io
import json
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import islice, zip_longest
from pathlib import Path
from typing import TypeVar

from nmt.cli.attention_output import Inspector, ReportLines, open_attention_output
from nmt.cli.constraint_options import constrain_lines
from nmt.cli.output import Output, open_output, publishing
from nmt.cli.progress import reporting
from nmt.data.table import Column, Table
from nmt.data.text import is_blank, read_lines
from nmt.errors import UserError
from nmt.evaluation.json_fields import json_fields
from nmt.prefetch import read_available
from nmt.search.alignment import to_pharaoh
from nmt.search.source_line import SourceLine, number_lines
from nmt.search.source_reader import SourceReader
from nmt.search.translation import Translation

Item = TypeVar("Item")


def read_windows(
    arguments: argparse.Namespace,
    reader: SourceReader,
    size: int,
    languages: Sequence[str] = (),
    report_lines: ReportLines | None = None,
) -> Iterator[list[SourceLine]]:
    """Yield windows of the lines of the input, with their targets if these are to be scored.

    Args:
        arguments: of nmt-translate
        reader: reader of the model, which resolves file names of images
        size: maximum number of lines per window
        languages: those of the model, which may name the columns of a table
        report_lines: receives the other files of the report

    Raises:
        UserError: if a file cannot be read, or input and targets do not correspond
    """
    if arguments.input == "-":
        # A buffer of its own: Python cannot exit while a thread waits in the buffer of sys.stdin.
        if sys.stdin is None:
            raise UserError("is closed; give INPUT, or redirect a text to it", "standard input")
        stream = io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False))
        texts, directory = read_lines(stream, "standard input"), Path()
    else:
        texts = read_sentences(arguments.input, arguments.column, "--column", languages)
        directory = Path(arguments.input).parent
    texts = (reader.resolve(text, directory) for text in texts)
    if arguments.score_targets is None:
        lines = constrain_lines(number_lines(texts), arguments, input_name(arguments))
    else:
        targets = read_sentences(
            arguments.score_targets, arguments.target_column, "--target-column", languages
        )
        lines = pair_lines(texts, targets, input_name(arguments), str(arguments.score_targets))
    if report_lines is not None:
        lines = report_lines.join(lines, input_name(arguments))
    return read_available(lines, size) if arguments.input == "-" else full_windows(lines, size)


def read_sentences(
    name: str | Path, column: Column | None, option: str, languages: Sequence[str] = ()
) -> Iterator[str]:
    """Read the lines of a text, or the cells of a column of a table below its header row.

    Args:
        name: file name
        column: number or name of the column; None for a text
        option: option that selects the column, for error messages
        languages: languages that may name the columns in a header row
    """
    if column is None:
        return read_lines(name)
    table = Table(Path(name), [column], languages, option)
    return (cell for _, (cell,) in table.rows())


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
        if not is_blank(target) and is_blank(text):
            message = f"translates an empty line of {name}; remove the text of this line"
            raise UserError(message, f"{targets_name}:{number + 1}")
        yield SourceLine(number, text, target)


def full_windows(lines: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield windows of `size` lines, the last one shorter; for files."""
    iterator = iter(lines)
    while window := list(islice(iterator, size)):
        yield window


def write_translations(
    translations: Generator[Translation, None, None],
    arguments: argparse.Namespace,
    report_lines: ReportLines,
    inspector: Inspector,
) -> tuple[int, int]:
    """Write each translation as soon as it is available, with its alignment and plot if requested.

    Args:
        translations: of all lines in order; closed at the end, also if writing fails
        arguments: of nmt-translate
        report_lines: references and gold alignments of the report
        inspector: computes further attention for the report

    Returns:
        the number of translations that reached the maximum length before their end, and the number
        of those that no search has found

    Raises:
        UserError: if a file cannot be written, or the model has no attention to plot
    """
    num_cut = num_missing = 0
    with ExitStack() as stack:
        stack.enter_context(closing(translations))
        outputs: list[Output] = []
        stack.enter_context(publishing(outputs))
        outputs.append(output := open_output(arguments.output))
        alignments = None
        if arguments.alignments is not None:
            outputs.append(alignments := open_output(arguments.alignments))
        inspected = stack.enter_context(open_attention_output(arguments, report_lines, inspector))
        counted = stack.enter_context(reporting("nmt-translate", translations, arguments.input))
        for number, translation in enumerate(counted):
            if not translation.finished:
                num_cut += bool(translation.pieces)
                num_missing += not translation.pieces
            output.write(format_translation(number, translation, arguments))
            if arguments.input == "-":
                output.flush()  # the other end of the pipe may wait for this line
            if alignments is not None:
                of_words = arguments.alignment_level != "piece"
                links = translation.alignment if of_words else translation.piece_alignment
                alignments.write(to_pharaoh(links) + "\n")
            inspected.add(number, translation)
    return num_cut, num_missing


def format_translation(number: int, translation: Translation, arguments: argparse.Namespace) -> str:
    """Return the output lines for one input line: text, Moses n-best lines or a JSON object."""
    if arguments.jsonl:
        quality = bool(arguments.quality or translation.entropies)
        fields = json_fields(translation, quality=quality, beam_tree=bool(arguments.beam_tree))
        return json.dumps({"id": number, **fields}, ensure_ascii=False) + "\n"
    if arguments.n_best:
        # An empty line has no hypotheses, but one output line like any other.
        return "".join(_moses_line(number, one) for one in translation.n_best or (translation,))
    if arguments.scores:
        # A tab in the text would be the end of its column.
        text = translation.text.replace("\t", "&#9;")
        return f"{text}\t{translation.score:.4f}\n"
    return f"{translation.text}\n"


def _moses_line(number: int, one: Translation) -> str:
    # The escapes of Moses, so that a line has four fields with every text.
    text = one.text.replace("|||", "&#124;" * 3)
    features = f"logprob= {one.log_prob:.4f}"
    if one.model_scores:
        features += f" scores= {' '.join(f'{score:.4f}' for score in one.model_scores)}"
    return f"{number} ||| {text} ||| {features} ||| {one.score:.4f}\n"
