"""What the schema says about its own keys."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic.fields import FieldInfo

from nmt.config.schema import Experiment
from nmt.config.section import Section
from nmt.config.yaml_source import Key
from nmt.registry import FAMILIES, ComponentConfig, Registry


class PartPlace(NamedTuple):
    """A key that holds a part: its family, and what stands there when the file says nothing."""

    registry: Registry[Any]
    default: str


def _fields(section: type[Section], key: Key = ()) -> Iterator[tuple[Key, FieldInfo]]:
    for name, info in section.model_fields.items():
        yield (*key, name), info
        for kind in _kinds(info.annotation):
            if isinstance(kind, type) and issubclass(kind, Section):
                yield from _fields(kind, (*key, name))


def _kinds(annotation: Any) -> Iterator[Any]:
    """The plain types inside an annotation: `Path | list[Path] | None` holds Path."""
    inner = get_args(annotation)
    if not inner:
        yield annotation
    for kind in inner:
        yield from _kinds(kind)


@cache
def path_keys() -> tuple[Key, ...]:
    """Keys that hold file names."""
    return tuple(key for key, info in _fields(Experiment) if Path in _kinds(info.annotation))


@cache
def part_registries() -> dict[Key, PartPlace]:
    """Keys that hold parts, each with its family; a key is called as its family is."""
    return {
        key: PartPlace(FAMILIES[key[-1]], info.default.type)
        for key, info in _fields(Experiment)
        if ComponentConfig in _kinds(info.annotation)
    }


def section_at(key: Key) -> type[Section] | None:
    """The section that `key` names; None when it names a value."""
    if not key:
        return Experiment
    info = dict(_fields(Experiment)).get(key)
    kinds = _kinds(info.annotation) if info else ()
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, Section)), None)
