"""Sections of the experiment file as pydantic models, and their fields."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Protocol, get_args, runtime_checkable

from pydantic import BaseModel, ConfigDict, model_serializer, model_validator
from pydantic.fields import FieldInfo

from nmt.config.yaml_source import Key
from nmt.errors import printable


class Section(BaseModel):
    """A section of the experiment file: unknown keys are errors, and values never change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        # YAML has types of its own: `epochs: "3"` is a mistake, and `seed: true` is not 1.
        strict=True,
        # No option means anything at infinity or NaN.
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        # Fills in the options of default components.
        validate_default=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_sections(cls, values: object) -> object:
        """Give a section without content, or an override with null, its defaults."""
        if not isinstance(values, Mapping):
            return values
        filled = {name for name, info in cls.model_fields.items() if _has_defaults(info)}
        return {k: v for k, v in values.items() if v is not None or k not in filled}

    def to_dict(self) -> dict[str, Any]:
        """Return the section as plain data for YAML, defaults included."""
        return self.model_dump(mode="json")


class PathSection(Section):
    """A section that may be written as a file name, if its other options have their defaults.

    Attributes:
        path_field: the option that the file name sets
    """

    path_field: ClassVar[str] = "path"

    @classmethod
    def expand(cls, value: object) -> object:
        """Convert a file name to a section with this name."""
        if value is None or isinstance(value, (Mapping, Section)):
            return value
        return {cls.path_field: value}

    @model_serializer(mode="wrap")
    def _shorten(self, serialize: Callable[[Any], Any]) -> Any:
        """Convert to a file name where possible, as earlier versions wrote it."""
        values: dict[str, Any] = serialize(self)
        defaults = {name: info.default for name, info in type(self).model_fields.items()}
        others = [name for name in values if values[name] != defaults[name]]
        return values[self.path_field] if others == [self.path_field] else values


# pydantic's protocol cannot be checked at run time, as beartype does in the tests.
@runtime_checkable
class FieldContext(Protocol):
    """The part of pydantic's `ValidationInfo` that validators of a field use.

    `data` contains the valid ones of the fields before it.
    """

    @property
    def data(self) -> Mapping[str, object]: ...


def check_distinct(names: list[str]) -> list[str]:
    """Return a list of names, for a validator.

    Raises:
        ValueError: if a name occurs twice
    """
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"contains {printable(twice[0])!r} twice; remove one")
    return names


def walk(section: type[Section], key: Key = ()) -> Iterator[tuple[Key, FieldInfo]]:
    """Yield the key and the field of every entry of a section and of the sections inside it."""
    for name, info in section.model_fields.items():
        yield (*key, name), info
        inner = section_of(info)
        if inner is not None:
            yield from walk(inner, (*key, name))


def section_of(info: FieldInfo) -> type[Section] | None:
    """Return the class of a field that is a section."""
    for kind in types_of(info.annotation):
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind
    return None


def _has_defaults(info: FieldInfo) -> bool:
    """Return whether a field is a section that may be left out, and then has its defaults."""
    return isinstance(info.default, Section)


def path_field(info: FieldInfo) -> str | None:
    """Return the option that a file name sets, where a section may be written as one."""
    section = section_of(info)
    return section.path_field if section and issubclass(section, PathSection) else None


def types_of(annotation: object) -> Iterator[object]:
    """Yield the types inside an annotation: Path and None inside `Path | list[Path] | None`."""
    arguments = get_args(annotation)
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from types_of(argument)
