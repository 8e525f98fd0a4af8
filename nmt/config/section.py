"""What all sections of an experiment file are."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from nmt.registry import Choice

# Every part is checked against its registry elsewhere; here it is only a place in the file.
PartField = Annotated[Choice | None, Field(json_schema_extra={"part": True})]


class Section(BaseModel):
    """A fixed section: unknown keys are errors, values do not change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, use_attribute_docstrings=True
    )


def plain(value: Any) -> Any:
    """Sections and what stands in them as plain data, for YAML."""
    if isinstance(value, Section):
        return {k: plain(v) for k, v in value}
    if isinstance(value, Choice):
        return value.as_tree()
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value
