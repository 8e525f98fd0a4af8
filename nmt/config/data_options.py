"""Schema of the data: files of sentence pairs, their preparation, and images."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from nmt.component_spec import Length, Size
from nmt.config.corpus_options import HeldOut, TrainingCorpora, ValidationCorpora
from nmt.config.sections import Section, check_distinct
from nmt.config.value_errors import error_at
from nmt.config.vocabulary_options import VocabularyConfig


def _check_columns(columns: list[int | str]) -> list[int | str]:
    numbers = [column for column in columns if isinstance(column, int)]
    if len(columns) != 2 or columns[0] == columns[1] or not all(0 < n <= 1000 for n in numbers):
        raise ValueError("give two columns, source and target, by number from 1 or by name: [1, 2]")
    return columns


class PicturesConfig(Section):
    """Source images instead of source text: pixels, or precomputed feature maps."""

    size: Size | None = None
    """height and width in pixels to which images are resized, without keeping the aspect ratio"""
    features: Size | None = None
    """width of each annotation of the feature maps, which are .npy files of floats"""
    positions: Length = 196
    """annotations of a feature map: rows times columns"""

    @model_validator(mode="after")
    def _check_one_kind(self) -> "PicturesConfig":
        if (self.size is None) == (self.features is None):
            raise ValueError(
                "requires either size, for images as pixels, or features, for feature maps"
            )
        # The annotations of images follow from their size and the encoder.
        if self.size is not None and self.positions != 196:
            raise ValueError("positions has no effect with size; remove one of them")
        return self


PostStep = Literal["moses", "subword_nmt"]


def _expand_step(value: object) -> object:
    """Convert a single detokenizer to a list."""
    return [value] if isinstance(value, str) else value


def _check_placeholder(pattern: str) -> str:
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    if compiled.match("") is not None:
        raise ValueError(f"{pattern!r} matches the empty string; use another expression")
    if compiled.groupindex or re.search(r"\\[1-9]", pattern):
        raise ValueError(f"{pattern!r} refers to groups, which is not possible here")
    return pattern


Placeholder = Annotated[str, AfterValidator(_check_placeholder)]


class DataConfig(Section):
    """Files of sentence pairs, and their vocabularies."""

    train: TrainingCorpora
    """training text: a prefix (`train` for train.de and train.en), a .tsv or .csv file, a pattern
    of shards (`part-*`, or `part-*.de.gz` for both sides), a section with one of these as its
    path, or a list of corpora; each file plain or compressed (.gz, .bz2, .xz, .zst)"""
    temperature: Annotated[float, Field(ge=1, le=1000)] = 1.0
    """weights of the training corpora by their sizes: the share of n pairs is proportional to
    n^(1/temperature), and every pair is read once per epoch or more often; 1: all pairs once"""
    valid: ValidationCorpora
    """validation text, named in the same way, or the share of the training text that is held out
    for validation, such as 0.05; pairs that share a sentence stay together"""
    source: str
    """suffix of the source files, usually the code of the language"""
    target: str
    """suffix of the target files"""
    columns: Annotated[list[int | str], AfterValidator(_check_columns)] | None = None
    """columns of source and target in .tsv and .csv files, by number from 1 or by their names in
    the header row (default: the only two, or those named like the suffixes)"""
    pictures: PicturesConfig | None = None
    """source images: the source files list one file name per line, relative to the text file"""
    alignments: Path | list[Path] | None = None
    """word alignments of the training text for training.guided_alignment, in Pharaoh format: one
    line of links SOURCE-TARGET per pair, `0-0 1-2`; a file, plain or compressed, or a list"""
    target_order: Literal["left_to_right", "right_to_left"] = "left_to_right"
    """order in which the model generates the tokens of a translation; right_to_left: from the last
    to the first, for reranking"""
    max_length: Length = 100
    """training pairs with more tokens than this on either side are skipped"""
    vocabulary: VocabularyConfig = VocabularyConfig()
    pre: Literal["moses", "moses_escaped"] | None = None
    """tokenizer of the text before its vocabulary, in training and translation: moses, or
    moses_escaped, which writes & < > ' " as entities"""
    post: Annotated[
        list[PostStep], BeforeValidator(_expand_step), AfterValidator(check_distinct)
    ] = []  # noqa: RUF012 (copied)
    """detokenizers of translations: subword_nmt joins `lo@@ w`, moses detokenizes. Without pre, the
    files are tokenized, and scores are of detokenized references as well"""
    tokenized: bool = False
    """the files are tokenized as pre does: it applies to the text of nmt-translate alone, and
    scores are of detokenized references"""
    placeholders: Annotated[list[Placeholder], AfterValidator(check_distinct)] | None = None
    """regular expressions of the parts of a sentence that its translation copies, such as
    `%[sd]`; each different one is one token (default: none, but a wrong user-defined symbol in a
    translation is replaced by the one that the source has)"""
    cache: Path | None = None
    """folder of the encoded text (default: in the run directory)"""

    @property
    def held_out(self) -> float | None:
        """Return the share of the training text that is held out; None for a text of its own."""
        return next((one.share for one in self.valid if isinstance(one, HeldOut)), None)

    @property
    def is_right_to_left(self) -> bool:
        """Return whether the model generates translations from the last token to the first."""
        return self.target_order == "right_to_left"

    @property
    def tags(self) -> list[str]:
        """Return the tags of all corpora, each once."""
        corpora = [*self.train, *self.valid]
        return list(dict.fromkeys(corpus.tag for corpus in corpora if corpus.tag is not None))

    @model_validator(mode="after")
    def _check_corpora(self) -> "DataConfig":
        if not self.train or not self.valid:
            name = "valid" if self.train else "train"
            raise error_at(f"data.{name}", "the list of corpora is empty; give at least one")
        if self.temperature > 1 and len(self.train) == 1:
            message = "has no effect with one training corpus; give a list, or remove it"
            raise error_at("data.temperature", message)
        if self.temperature > 1 and any(corpus.weight != 1 for corpus in self.train):
            message = "has no effect with weights of corpora; remove one of them"
            raise error_at("data.temperature", message)
        if self.pictures is not None and self.tags:
            message = "has no effect with data.pictures, since images have no words; remove it"
            raise error_at("data.train", f"tag {message}")
        return self

    @model_validator(mode="after")
    def _check_preparation(self) -> "DataConfig":
        if self.tokenized and self.pre is None:
            raise ValueError("tokenized has no effect without pre; remove it")
        if self.tokenized and not self.post:
            raise ValueError("tokenized requires post, which detokenizes translations; add it")
        for name in ("pre", "placeholders"):
            if self.pictures is not None and getattr(self, name) is not None:
                raise ValueError(f"{name} has no effect with pictures; remove it")
        return self

    @model_validator(mode="after")
    def _check_pictures(self) -> "DataConfig":
        for name in ("model", "codes"):
            files = getattr(self.vocabulary, name)
            if self.pictures is not None and isinstance(files, list) and len(files) > 1:
                raise ValueError(
                    f"vocabulary.{name}: images have no vocabulary; "
                    f"give only the {name} of the target"
                )
        if self.pictures is not None and self.alignments is not None:
            raise ValueError("alignments: images have no words to align; remove it")
        return self

    @property
    def alignment_files(self) -> list[Path]:
        """Return the files of word alignments."""
        given = self.alignments
        return given if isinstance(given, list) else [] if given is None else [given]

    @model_validator(mode="after")
    def _check_alignments(self) -> "DataConfig":
        if self.alignments == []:
            raise ValueError("alignments: the list is empty; give at least one file")
        if self.alignments is not None and self.held_out is not None:
            raise ValueError(
                "alignments requires a validation text in files of its own, since it has one line "
                "per pair of data.train; give files as data.valid"
            )
        if self.alignments is not None and self.vocabulary.sampling is not None:
            raise ValueError(
                "alignments cannot be used with vocabulary.sampling, which changes the tokens in "
                "every epoch; remove one of them"
            )
        return self
