"""Writing of attention reports with bounded memory.

The page contains its data as blocks of JSON, compressed by zlib and written in base64: the rows of
the list of sentences, and the details of `PART_SENTENCES` sentences each. A report with more than
`MAX_PAGE_BYTES` of details is a page and a directory next to it, whose parts the page loads when
they are needed. These parts are scripts, because a page that is opened from a disk may load no
other files.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nmt.data.pharaoh import SentenceLinks
from nmt.errors import UserError
from nmt.evaluation.report.page import compress, render_page
from nmt.evaluation.report.sentence import Json, detail, summarize
from nmt.search.translation import Translation
from nmt.storage.atomic import exists, file_errors, publish_dir, replace_file, staging_dir

PART_SENTENCES = 50
MAX_PAGE_BYTES = 6_000_000


@contextmanager
def open_report(path: Path, title: str, *, single_file: bool = False) -> Iterator["ReportWriter"]:
    """Yield a report to which translations are added; its files appear if the body succeeds.

    Args:
        path: file of the page; the directory of a large report is `<stem>_parts` next to it
        title: title of the page
        single_file: whether a large report, too, is a page without a directory

    Raises:
        UserError: if a file cannot be written
    """
    # Before the work whose results are to be written.
    if not path.parent.is_dir():
        raise UserError("is not a directory; create it, or choose another one", str(path.parent))
    if not os.access(path.parent, os.W_OK):
        raise UserError("cannot write here; choose a writable directory", str(path.parent))
    if path.is_dir():
        raise UserError("is a directory; choose another name", str(path))
    with ExitStack() as stack:
        writer = ReportWriter(path, title, stack, single_file=single_file)
        yield writer
        writer.finish()


class ReportWriter:
    """A report that grows by one translation at a time.

    Args:
        path, title: see `open_report`
        stack: holds the staging directory of the parts
        single_file: see `open_report`
    """

    def __init__(self, path: Path, title: str, stack: ExitStack, *, single_file: bool) -> None:
        self._path, self._title, self._stack = path, title, stack
        self._single_file = single_file
        self._directory = path.with_name(f"{path.stem}_parts")
        self._staging: Path | None = None
        self._rows: list[Json] = []
        self._details: list[Json] = []
        self._index: list[str] = []
        self._parts: list[str] = []  # details of the page; empty once they are in files
        self._count = 0

    def add(
        self,
        number: int,
        translation: Translation,
        *,
        views: Mapping[str, Translation] | None = None,
        reference: str | None = None,
        forced: Translation | None = None,
        gold: SentenceLinks | None = None,
    ) -> None:
        """Add a sentence.

        Args:
            number: 0-based number of its line
            translation: its translation
            views, forced, gold: see `detail`; by default the attention of the translation alone
            reference: reference translation; None to compare with none
        """
        self._rows.append(summarize(number, translation, reference))
        views = views or {"attention": translation}
        self._details.append(detail(translation, views, forced=forced, gold=gold))
        if len(self._rows) == PART_SENTENCES:
            self._end_part()

    def finish(self) -> None:
        """Write the page, and publish the directory of the parts of a large report."""
        if self._rows:
            self._end_part()
        with file_errors(self._directory):
            if self._staging is not None:
                self._write_parts()
                publish_dir(self._staging, self._directory)
            elif self._holds_parts():
                # Of an earlier report of this name, which the new page would not read.
                shutil.rmtree(self._directory)
        page = render_page(
            self._title,
            self._index,
            self._parts,
            part_sentences=PART_SENTENCES,
            directory=self._directory.name if self._staging is not None else None,
        )
        replace_file(self._path, page)

    def _end_part(self) -> None:
        self._index.append(compress(self._rows))
        self._parts.append(compress(self._details))
        self._rows, self._details = [], []
        is_large = sum(map(len, self._parts)) > MAX_PAGE_BYTES and not self._single_file
        if self._staging is not None or is_large:
            self._write_parts()

    def _holds_parts(self) -> bool:
        """Return whether the directory is that of an earlier report, so that it may be removed."""
        if not self._directory.is_dir() or self._directory.is_symlink():
            return False
        return all(re.fullmatch(r"\d+\.js", entry.name) for entry in self._directory.iterdir())

    def _write_parts(self) -> None:
        """Write the parts that are in memory to files, and release them."""
        if self._staging is None:
            if exists(self._directory) and not self._holds_parts():
                message = "exists and is not part of a report; choose another name for the page"
                raise UserError(message, str(self._directory))
            staging = staging_dir(self._path.parent, self._directory.name)
            self._staging = self._stack.enter_context(staging)
        for part in self._parts:
            file = self._staging / f"{self._count}.js"
            with file_errors(file):
                file.write_text(f'receivePart({self._count},"{part}")\n', encoding="ascii")
            self._count += 1
        self._parts = []
