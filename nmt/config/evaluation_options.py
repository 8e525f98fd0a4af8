"""Schema of the section `evaluation`: the reports of a validation."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator

from nmt.component_spec import NonNegative
from nmt.config.corpus_options import Corpora
from nmt.config.sections import PathSection, Section


class AlignmentSetConfig(PathSection):
    """Sentence pairs with gold word alignments, for the alignment error rate."""

    path_field = "gold"

    gold: Path
    """Pharaoh file with one line of links per pair: sure ones as `0-1`, possible ones as `0p1` or
    `0?1`"""
    text: Corpora | None = None
    """their text, named like data.valid (default: the validation text)"""


class EvaluationConfig(Section):
    """Reports of a validation."""

    metrics: list[Literal["bleu", "chrf", "ter", "exact"]] = ["chrf", "bleu"]  # noqa: RUF012 (copied)
    """metrics of the translations of the validation text"""
    tokenize: str | None = None
    """tokenizer of sacreBLEU for bleu (default: its own for the language that data.target names,
    or char for a language without spaces that it has none for)"""
    lowercase: bool = False
    """ignore case"""
    samples: NonNegative = 5
    """validation sentences whose translations are written to samples/"""
    pictures: NonNegative = 3
    """validation sentences whose attention is plotted in attention/"""
    alignments: Annotated[
        AlignmentSetConfig | None,
        BeforeValidator(
            AlignmentSetConfig.expand, json_schema_input_type=Path | AlignmentSetConfig | None
        ),
    ] = None
    """gold word alignments of the validation text, or of another one; every validation then reports
    `aer`, the alignment error rate in percent of attention while the model reads the targets"""

    @property
    def measured(self) -> list[str]:
        """Return the names of all values that a validation measures and that can be compared."""
        return ["loss", *self.metrics, *(["aer"] if self.alignments is not None else [])]
