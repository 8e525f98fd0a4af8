"""What all sections of an experiment file are."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from nmt.registry import ComponentConfig

# Every part is checked against its registry elsewhere; here it is only a place in the file.
PartField = Annotated[ComponentConfig | None, Field(json_schema_extra={"part": True})]


class Section(BaseModel):
    """A fixed section: unknown keys are errors, values do not change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, use_attribute_docstrings=True
    )


def to_dict(value: Any) -> Any:
    """Sections and what stands in them as to_dict data, for YAML."""
    if isinstance(value, Section):
        return {k: to_dict(v) for k, v in value}
    if isinstance(value, ComponentConfig):
        return value.to_dict()
    if isinstance(value, list | tuple):
        return [to_dict(v) for v in value]
    return str(value) if isinstance(value, Path) else value
