"""Attention plots and the attention report of nmt-translate."""

import argparse
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt.cli.constraint_options import join_lines
from nmt.errors import UserError
from nmt.storage.atomic import file_errors

if TYPE_CHECKING:
    from nmt.config.search_options import SearchOptions
    from nmt.data.pharaoh import SentenceLinks
    from nmt.evaluation.report.writer import ReportWriter
    from nmt.search.source_line import SourceLine
    from nmt.search.translation import Translation
    from nmt.search.translator import Translator

INSPECTED_TOGETHER = 200  # translations


def check_attention_options(arguments: argparse.Namespace) -> None:
    """Raise UserError for options of the report that have no effect."""
    if arguments.report is not None and arguments.report.suffix.lower() not in (".html", ".htm"):
        raise UserError("--report must end in .html", str(arguments.report))
    for name in ("reference", "gold", "heads"):
        if getattr(arguments, name) and arguments.report is None:
            raise UserError(f"--{name}: has no effect without --report; remove it")
    if arguments.gold is not None and not (arguments.score_targets or arguments.reference):
        raise UserError(
            "--gold: requires --reference or --score-targets, whose words the links name"
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
        # The reference of this line was read a moment ago.
        target = self._references[-1] if line.target is None else line.target
        check_links(links, len(line.text.split()), len(target.split()), location)
        self._links.append(links)
        return line


class Inspector:
    """The attention of each model and head, and that on references with gold alignments.

    Args:
        arguments: of nmt-translate
        translator: the translator of the translations
        options: its options

    Raises:
        UserError: if heads are requested and no model has multi-head attention
    """

    def __init__(
        self, arguments: argparse.Namespace, translator: "Translator", options: "SearchOptions"
    ) -> None:
        self._translator, self._options, self._heads = translator, options, arguments.heads
        if self._heads and not any(model.has_heads for model in translator.models):
            raise UserError("--heads: has no effect without multi-head attention; remove it")
        runs: list[Path] = arguments.model
        self._names = [run.resolve().name for run in runs]
        if len(set(self._names)) < len(runs):
            self._names = [f"{number}: {run}" for number, run in enumerate(runs, start=1)]
        self._reads_references = arguments.gold is not None and arguments.score_targets is None

    def views(self, translations: Sequence["Translation"]) -> list[dict[str, "Translation"]]:
        """Return the attention of translations, by the names that the report shows."""
        is_ensemble = len(self._names) > 1
        total = "mean" if is_ensemble else "attention"
        if not is_ensemble and not self._heads:
            return [{total: one} for one in translations]
        names = self._names if is_ensemble else [""]
        views = self._translator.attention_views(
            translations, names, self._options, heads=self._heads
        )
        return [
            {total: one} | {name: view for name, view in own.items() if name}
            for one, own in zip(translations, views, strict=True)
        ]

    def read(self, sources: Sequence[str], references: Sequence[str | None]) -> list[Any]:
        """Return references as translations with attention; None for those that are not read."""
        from nmt.search.source_line import SourceLine

        lines = [
            SourceLine(number, source, reference)
            for number, (source, reference) in enumerate(zip(sources, references, strict=True))
            if self._reads_references and source.strip() and (reference or "").strip()
        ]
        found = self._translator.translate_lines(lines, self._options)
        forced: list[Translation | None] = [None] * len(sources)
        for line, one in zip(lines, found, strict=True):
            forced[line.number] = one
        return forced


class AttentionOutput:
    """A directory of attention plots, and attention reports.

    Args:
        directory: directory of the plots; None for no plots
        reports: open reports
        lines: references and gold alignments of the reports
        inspector: computes further attention for the reports
    """

    def __init__(
        self,
        directory: Path | None,
        reports: Sequence["ReportWriter"],
        lines: ReportLines,
        inspector: Inspector,
    ) -> None:
        self._directory, self._reports = directory, reports
        self._lines, self._inspector = lines, inspector
        self._pending: list[tuple[int, Translation]] = []

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
        if self._reports:
            self._pending.append((number, translation))
            if len(self._pending) == INSPECTED_TOGETHER:
                self.flush()

    def flush(self) -> None:
        """Add the pending translations to the reports."""
        translations = [one for _, one in self._pending]
        joined = [self._lines.next() for _ in self._pending]
        references = [reference for reference, _ in joined]
        views = self._inspector.views(translations)
        forced = self._inspector.read([one.source for one in translations], references)
        for report in self._reports:
            for (number, one), (reference, gold), own, read in zip(
                self._pending, joined, views, forced, strict=True
            ):
                report.add(number, one, views=own, reference=reference, forced=read, gold=gold)
        self._pending = []


@contextmanager
def open_attention_output(
    arguments: argparse.Namespace, lines: ReportLines, inspector: Inspector
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

            runs = ", ".join(run.resolve().name for run in arguments.model)
            title = f"{runs}: {Path(arguments.input).name}"
            reports = [stack.enter_context(open_report(page, title)) for page in pages]
        output = AttentionOutput(directory, reports, lines, inspector)
        yield output
        output.flush()
