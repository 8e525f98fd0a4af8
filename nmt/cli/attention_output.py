"""Attention plots and the attention report of nmt-translate."""

import argparse
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nmt.cli.constraint_options import join_lines
from nmt.errors import UserError
from nmt.storage.atomic import file_errors

if TYPE_CHECKING:
    from nmt.data.pharaoh import SentenceLinks
    from nmt.evaluation.report.writer import ReportWriter
    from nmt.search.source_line import SourceLine
    from nmt.search.translation import Translation


def check_attention_options(arguments: argparse.Namespace) -> None:
    """Raise UserError for options of the report that have no effect."""
    if arguments.report is not None and arguments.report.suffix.lower() not in (".html", ".htm"):
        raise UserError("--report must end in .html", str(arguments.report))
    for name in ("reference", "gold"):
        if getattr(arguments, name) is not None and arguments.report is None:
            raise UserError(f"--{name}: has no effect without --report; remove it")
    if arguments.gold is not None and arguments.score_targets is None:
        raise UserError(
            "--gold: requires --score-targets, because the links are to the words of a given "
            "translation"
        )


def attention_inputs(arguments: argparse.Namespace) -> list[Path]:
    """Return the files that the report reads."""
    return [file for file in (arguments.reference, arguments.gold) if file is not None]


class ReportLines:
    """Reference translations and gold alignments of lines that were read and not yet written.

    Args:
        arguments: of nmt-translate
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._reference: Path | None = arguments.reference
        self._gold: Path | None = arguments.gold
        self._references: deque[str] = deque()
        self._links: deque[SentenceLinks] = deque()

    def join(self, lines: Iterator["SourceLine"], name: str) -> Iterator["SourceLine"]:
        """Yield the lines of the input, and read those of the other files.

        Args:
            lines: lines of the input
            name: name of the input for error messages

        Raises:
            UserError: if a file cannot be read, has another number of lines, or contains a link to
                a word that does not exist
        """
        if self._reference is not None:
            lines = join_lines(lines, self._reference, name, self._add_reference)
        if self._gold is not None:
            lines = join_lines(lines, self._gold, name, self._add_links)
        return lines

    def next(self) -> tuple[str | None, "SentenceLinks | None"]:
        """Return the reference and the gold alignment of the next line, and forget them."""
        reference = self._references.popleft() if self._reference is not None else None
        return reference, self._links.popleft() if self._gold is not None else None

    def _add_reference(self, line: "SourceLine", reference: str) -> "SourceLine":
        self._references.append(reference)
        return line

    def _add_links(self, line: "SourceLine", text: str) -> "SourceLine":
        from nmt.data.pharaoh import check_links, parse_pharaoh

        location = f"{self._gold}:{line.number + 1}"
        links = parse_pharaoh(text, location)
        check_links(links, len(line.text.split()), len((line.target or "").split()), location)
        self._links.append(links)
        return line


class AttentionOutput:
    """A directory of attention plots, and attention reports.

    Args:
        directory: directory of the plots; None for no plots
        reports: open reports
        lines: references and gold alignments of the reports
    """

    def __init__(
        self, directory: Path | None, reports: Sequence["ReportWriter"], lines: ReportLines
    ) -> None:
        self._directory, self._reports, self._lines = directory, reports, lines

    def add(self, number: int, translation: "Translation") -> None:
        """Add the translation of a line.

        Raises:
            UserError: if a file cannot be written, or plots are requested of a model without
                attention
        """
        if self._directory is not None:
            # Imported here because matplotlib slows down the start of every command.
            from nmt.evaluation.samples import write_plot

            if translation.pieces and translation.attention is None:
                raise UserError("--attention requires a model with attention; remove --attention")
            file = self._directory / f"{number}.png"
            with file_errors(file):
                write_plot(translation, file)
        reference, gold = self._lines.next()
        for report in self._reports:
            report.add(number, translation, reference=reference, gold=gold)


@contextmanager
def open_attention_output(
    arguments: argparse.Namespace, lines: ReportLines
) -> Iterator[AttentionOutput]:
    """Yield the output of --attention and --report; the reports are written at the end.

    Raises:
        UserError: if a file cannot be written
    """
    directory: Path | None = arguments.attention
    pages: list[Path] = [] if arguments.report is None else [arguments.report]
    if directory is not None:
        pages.append(directory / "index.html")
        with file_errors(directory, "cannot be created"):
            directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        reports = []
        if pages:
            from nmt.evaluation.report.writer import open_report

            title = f"{', '.join(run.name for run in arguments.model)}: {arguments.input}"
            reports = [stack.enter_context(open_report(page, title)) for page in pages]
        yield AttentionOutput(directory, reports, lines)
