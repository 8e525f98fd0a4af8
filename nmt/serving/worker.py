"""The process of a served model: it translates the sentences of several requests together.

Nothing here imports torch before the process loads its model, so that the process of the HTTP
interface stays small.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nmt.config.search_options import SearchOptions
from nmt.errors import UserError, explained_out_of_memory
from nmt.search.constraints.request import NO_CONSTRAINTS, Constraints

if TYPE_CHECKING:
    from nmt.search.source_line import SourceLine
    from nmt.search.translation import Translation
    from nmt.search.translator import Translator

Load = Callable[[], "Translator"]

TREE_WEIGHT = 64  # sentences without the tree of the beam that take as much memory as one with it


class ModelInfo(NamedTuple):
    """Facts about a loaded model.

    Attributes:
        languages: suffixes of the source and target files in training; empty if unknown
        options: search options that apply unless a request changes them
        warnings: warnings about damaged checkpoints
        is_text: False for a model that captions images
    """

    languages: tuple[str, ...]
    options: SearchOptions
    warnings: tuple[str, ...]
    is_text: bool


class Sentence(NamedTuple):
    """A sentence to translate.

    Attributes:
        text: source sentence
        target: a given translation to score instead of searching for one
        constraints: constraints on the translation
        pieces: first pieces of the translation
        attention: steps with the attention weights that are set for them
    """

    text: str
    target: str | None = None
    constraints: Constraints = NO_CONSTRAINTS
    pieces: tuple[str, ...] = ()
    attention: tuple[tuple[int, list[float]], ...] = ()


class Job(NamedTuple):
    """The sentences of one request.

    Attributes:
        sentences: all with a target to score, or all without one
        options: complete search options
        key: equal for jobs whose sentences may be translated together
        detailed: whether to return scores, pieces, attention and alignments
        report: whether to return the attention report of all sentences, as a field of the first
    """

    sentences: Sequence[Sentence]
    options: SearchOptions
    key: object = None
    detailed: bool = False
    report: bool = False

    @property
    def weight(self) -> int:
        """The number of sentences; one with the tree of its beam counts as several."""
        return len(self.sentences) * (TREE_WEIGHT if self.options.beam_tree else 1)


Reply = list[dict[str, Any]] | UserError
"""One dictionary per sentence, with the fields of `--jsonl`, or the mistake in the request."""


class ModelProcess:
    """The function of a worker process: None returns facts about the model, jobs their replies.

    Args:
        load: picklable function that loads the model
    """

    def __init__(self, load: Load) -> None:
        self._load = load
        self._translator: Translator | None = None

    def __call__(self, jobs: Sequence[Job] | None) -> ModelInfo | list[Reply]:
        if self._translator is None:
            self._translator = self._load()
        translator = self._translator
        if jobs is None:
            is_text = translator.reader.grid is None
            return ModelInfo(translator.languages, translator.options, translator.warnings, is_text)
        return translate_jobs(translator, jobs)


def translate_jobs(translator: "Translator", jobs: Sequence[Job]) -> list[Reply]:
    """Translate jobs, those with the same key together, and return one reply per job.

    Translations do not depend on the sentences that share a batch, so neither do the replies.
    """
    groups: dict[object, list[int]] = {}
    for number, job in enumerate(jobs):
        groups.setdefault(job.key, []).append(number)
    replies: dict[int, Reply] = {}
    for numbers in groups.values():
        replies.update(zip(numbers, _reply(translator, [jobs[n] for n in numbers]), strict=True))
    return [replies[number] for number in range(len(jobs))]


def _reply(translator: "Translator", jobs: Sequence[Job]) -> list[Reply]:
    lines = [line for job in jobs for line in _lines(job)]
    try:
        with explained_out_of_memory("send shorter texts, or lower beam_size"):
            found = iter(translator.translate_lines(lines, jobs[0].options))
    except UserError as error:
        if len(jobs) == 1:
            return [UserError("; ".join(error.lines))]
        # The mistake of one request must not fail the others.
        return [_reply(translator, [job])[0] for job in jobs]
    replies: list[Reply] = []
    for job in jobs:
        own = [next(found) for _ in job.sentences]
        fields = [_fields(one, job) for one in own]
        if job.report and own:
            fields[0]["report"] = _report(own)
        replies.append(fields)
    return replies


def _report(translations: "Sequence[Translation]") -> str:
    """Return the attention report of translations as one page, however large."""
    from nmt.evaluation.report.writer import open_report

    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        with open_report(page, "nmt-serve", single_file=True) as report:
            for number, translation in enumerate(translations):
                report.add(number, translation)
        return page.read_text(encoding="utf-8")


def _lines(job: Job) -> "list[SourceLine]":
    from nmt.search.intervention import Intervention
    from nmt.search.source_line import SourceLine

    lines = []
    for number, (text, target, constraints, pieces, attention) in enumerate(job.sentences):
        given = Intervention(pieces, dict(attention)) if pieces or attention else None
        lines.append(SourceLine(number, text, target, constraints, given))
    return lines


def _fields(translation: "Translation", job: Job) -> dict[str, Any]:
    if job.detailed:
        from nmt.evaluation.json_fields import json_fields

        options = job.options
        return json_fields(translation, quality=options.quality, beam_tree=options.beam_tree)
    return {
        "translation": translation.text,
        "n_best": [{"translation": one.text, "score": one.score} for one in translation.n_best],
    }
