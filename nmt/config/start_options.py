"""Schema of fine-tuning: the run to start from, and the parts of it that are used."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Len
from pydantic import BeforeValidator

from nmt.config.sections import PathSection


class StartFromConfig(PathSection):
    """Run that provides the initial weights and the vocabulary."""

    path_field: ClassVar[str] = "run"

    run: Path
    """run directory"""
    checkpoint: str | int = "best"
    """best, last, or the number of an update"""
    vocabulary: Literal["keep", "extend", "replace"] = "keep"
    """keep that of the run; extend it by tokens that are learned from the training text; or replace
    it by another one, according to data.vocabulary"""
    layers: Annotated[list[str], Len(1)] | None = None
    """parts of the model whose weights are those of the run, such as encoder or
    decoder.attention; the others are initialized (default: all)"""
    freeze: list[str] = []  # noqa: RUF012 (copied)
    """parts of the model that are not trained, named in the same way"""


StartFrom = Annotated[
    StartFromConfig | None,
    BeforeValidator(StartFromConfig.expand, json_schema_input_type=Path | StartFromConfig | None),
]
