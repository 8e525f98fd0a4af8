"""Options of nmt-translate for constraints on translations, and the files that contain them."""

import argparse
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from nmt.cli.arguments import option_name
from nmt.cli.common import Parser
from nmt.errors import UserError

if TYPE_CHECKING:
    from nmt.search.source_line import SourceLine

FILES = ("prefix", "terms", "forbid", "forbid_everywhere")
OPTIONS = (*FILES, "keep_tag")


def add_constraint_options(parser: Parser) -> None:
    """Add the options."""
    add = parser.add_argument_group(
        "constraints",
        "A FILE has one line per line of the input; a line may be empty. The constraints hold for "
        "the text of a translation, however it is segmented.",
    ).add_argument
    add(
        "--prefix",
        type=Path,
        metavar="FILE",
        help="begin each translation with the text of its line; a space at the end ends the last "
        "word (default: none)",
    )
    add(
        "--terms",
        type=Path,
        metavar="FILE",
        help="words or phrases, separated by tabs, that the translation contains exactly as often "
        "as they are listed (default: none)",
    )
    add(
        "--forbid",
        type=Path,
        metavar="FILE",
        help="words or phrases, separated by tabs, that the translation does not contain "
        "(default: none)",
    )
    add(
        "--forbid-everywhere",
        type=Path,
        metavar="FILE",
        help="words or phrases that no translation contains, one per line (default: none)",
    )
    add(
        "--keep-tag",
        metavar="NAME",
        help="copy the text between <NAME> and </NAME> in the input to the translation as it is; "
        "the tags are removed (default: none)",
    )


def check_constraint_options(arguments: argparse.Namespace) -> None:
    """Raise UserError for constraints that other options exclude."""
    for name in OPTIONS:
        if getattr(arguments, name) is None:
            continue
        option = option_name(name)
        if arguments.score_targets:
            raise UserError(f"{option}: has no effect with --score-targets; remove it")
        if arguments.recurrence == "graph":
            raise UserError(f"--recurrence: graph is not possible with {option}; remove it")
        if arguments.sample and name in ("terms", "keep_tag"):
            raise UserError(f"{option}: requires beam search; remove --sample")


def constraint_files(arguments: argparse.Namespace) -> list[Path]:
    """Return the files that the options name."""
    files = (getattr(arguments, name) for name in FILES)
    return [file for file in files if file is not None]


def constrain_lines(
    lines: Iterator["SourceLine"], arguments: argparse.Namespace, name: str
) -> Iterator["SourceLine"]:
    """Yield the lines of the input with their constraints.

    Args:
        lines: lines of the input
        arguments: of nmt-translate
        name: name of the input for error messages

    Raises:
        UserError: if a file cannot be read, has another number of lines, or a tag has no partner
    """
    from nmt.data.text import read_lines

    if arguments.forbid_everywhere is not None:
        everywhere = tuple(filter(str.strip, read_lines(arguments.forbid_everywhere)))
        lines = (line.with_constraints(forbid=everywhere) for line in lines)
    if arguments.keep_tag is not None:
        lines = (line.with_tagged_terms(arguments.keep_tag, name) for line in lines)
    if arguments.prefix is not None:
        lines = join_lines(lines, arguments.prefix, name, lambda line, a: line.with_constraints(a))
    if arguments.terms is not None:
        lines = join_lines(
            lines, arguments.terms, name, lambda line, a: line.with_constraints(terms=_cells(a))
        )
    if arguments.forbid is not None:
        lines = join_lines(
            lines, arguments.forbid, name, lambda line, a: line.with_constraints(forbid=_cells(a))
        )
    return lines


def join_lines(
    lines: Iterable["SourceLine"],
    file: Path,
    name: str,
    join: Callable[["SourceLine", str], "SourceLine"],
) -> Iterator["SourceLine"]:
    """Join the lines of the input with those of a file.

    Raises:
        UserError: if the file cannot be read or has another number of lines
    """
    from nmt.data.text import read_lines

    source, other = iter(lines), read_lines(file)
    for number, (line, text) in enumerate(zip_longest(source, other)):
        if line is None or text is None:
            # One side has ended, so counting the rest of both gives the total of each.
            sources = number + (line is not None) + sum(1 for _ in source)
            given = number + (text is not None) + sum(1 for _ in other)
            message = f"{given} lines, but {name} has {sources}; give one line per sentence"
            raise UserError(message, str(file))
        yield join(line, text)


def _cells(text: str) -> tuple[str, ...]:
    return tuple(cell for cell in text.split("\t") if cell.strip())
