"""Preparation of text before its vocabulary, and its inverse for translations.

A sentence is prepared by masking its placeholders and by the tokenizer `pre`. A translation is
restored by `post` and by putting the placeholders back. Attention and alignments refer to the text
as it was read and written, so spans of prepared text are projected to it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from nmt.config.schema import DataConfig
from nmt.data.moses import detokenize, tokenize
from nmt.data.placeholders import MASKS, Placeholders, find_placeholders
from nmt.data.vocabulary import Span, Vocabulary
from nmt.errors import option_errors

SUBWORD_SEPARATOR = "@@ "


@dataclass(frozen=True)
class Preparation:
    """Steps between the text of an experiment and its vocabularies, in both directions.

    Attributes:
        pre: tokenizer of both sides; None for text that its vocabulary reads as it is
        post: detokenizers of translations, in order
        languages: codes of source and target
        tokenized: whether the files of the corpus are tokenized as `pre` does
        placeholders: the placeholders; None without any
        tags: symbols before source sentences, which `pre` keeps whole
    """

    pre: str | None = None
    post: tuple[str, ...] = ()
    languages: tuple[str, str] = ("", "")
    tokenized: bool = False
    placeholders: Placeholders | None = None
    tags: tuple[str, ...] = ()

    @classmethod
    def from_config(
        cls, data: DataConfig, source: Vocabulary | None, target: Vocabulary
    ) -> "Preparation":
        """Return the preparation of an experiment with these vocabularies.

        Raises:
            UserError: if the vocabularies have no masks for placeholders
        """
        with option_errors("data.placeholders"):
            placeholders = find_placeholders(data.placeholders, source, target, data.tags)
        return cls._make(data, placeholders)

    @classmethod
    def for_learning(cls, data: DataConfig) -> "Preparation":
        """Return the preparation of a text that vocabularies are learned from."""
        patterns = tuple(data.placeholders or ())
        return cls._make(data, Placeholders(patterns, MASKS) if patterns else None)

    @classmethod
    def _make(cls, data: DataConfig, placeholders: Placeholders | None) -> "Preparation":
        uses_languages = data.pre is not None or "moses" in data.post
        languages = (data.source, data.target) if uses_languages else ("", "")
        tags = tuple(data.tags) if data.pre is not None else ()
        return cls(data.pre, tuple(data.post), languages, data.tokenized, placeholders, tags)

    @property
    def of_files(self) -> "Preparation":
        """The preparation of the files of the corpus, which may be tokenized already."""
        return replace(self, pre=None) if self.tokenized else self

    @property
    def changes_source(self) -> bool:
        """Return whether source sentences differ from the text that their vocabulary reads."""
        return self.pre is not None or bool(self.masks)

    @property
    def changes_target(self) -> bool:
        """Return whether translations differ from the text that their vocabulary decodes."""
        return bool(self.post) or self.placeholders is not None

    @property
    def masks(self) -> tuple[str, ...]:
        """The tokens that replace placeholders."""
        if self.placeholders is None or not self.placeholders.renames:
            return ()
        return self.placeholders.masks

    def source(self, text: str) -> str:
        """Return a source sentence as its vocabulary reads it."""
        if self.placeholders is not None:
            text = self.placeholders.mask(text)
        return self._tokenize(text, self.languages[0])

    def target(self, text: str, source: str) -> str:
        """Return a translation as its vocabulary reads it, given its source sentence."""
        if self.placeholders is not None:
            text = self.placeholders.mask(text, source)
        return self._tokenize(text, self.languages[1])

    def _tokenize(self, text: str, language: str) -> str:
        if self.pre is None:
            return text
        escape = self.pre == "moses_escaped"
        return tokenize(text, language, escape=escape, protected=(*self.masks, *self.tags))

    def pairs(self, pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Yield sentence pairs of files of the corpus as their vocabularies read them."""
        files = self.of_files
        if not files.changes_source:
            yield from pairs
        else:
            for source, target in pairs:
                yield files.source(source), files.target(target, source)

    def restore(self, text: str, source: str) -> str:
        """Return a decoded translation as it is written, given its source sentence."""
        text = self._detokenize(text)
        return text if self.placeholders is None else self.placeholders.restore(text, source)

    def reference(self, text: str) -> str:
        """Return a target sentence of a file of the corpus as the reference of translations."""
        is_tokenized = self.tokenized or self.pre is None
        return self._detokenize(text) if is_tokenized else text

    def _detokenize(self, text: str) -> str:
        for step in self.post:
            if step == "moses":
                text = detokenize(text, self.languages[1])
            else:
                text = f"{text} ".replace(SUBWORD_SEPARATOR, "").rstrip(" ")
        return text


UNPREPARED = Preparation()


def project(spans: Sequence[Span], text: str, other: str) -> list[Span]:
    """Return spans of a text as spans of another text that has most characters in common.

    Args:
        spans: first character and the one after the last of each part of `text`
        text, other: a text before and after its preparation, or the reverse
    """
    if text == other:
        return list(spans)
    positions: list[int] = []
    for _, start, end, other_start, other_end in SequenceMatcher(
        None, text, other, autojunk=False
    ).get_opcodes():
        # Parts of different lengths have no common characters: all positions become the start.
        equal = end - start == other_end - other_start
        positions += [other_start + i * equal for i in range(end - start)]
    positions.append(len(other))
    return [(positions[start], max(positions[start], positions[end])) for start, end in spans]
