"""Keys of the experiment file that the loader treats in a way of their own.

The schema is walked once: the loader needs these keys for every file and every override.
"""

from functools import cache
from pathlib import Path

from pydantic import AliasChoices

from nmt.config.component_fields import Component, component_of
from nmt.config.schema import Experiment
from nmt.config.sections import path_field, types_of, walk
from nmt.config.yaml_source import Key


@cache
def path_keys() -> tuple[Key, ...]:
    """Return the keys of file names."""
    return tuple(
        key
        for key, info in walk(Experiment)
        if Path in types_of(info.annotation) or path_field(info)
    )


@cache
def path_sections() -> dict[Key, str]:
    """Return the keys of sections that a file name may replace, each with the option it is."""
    found = ((key, path_field(info)) for key, info in walk(Experiment))
    return {key: field for key, field in found if field}


@cache
def components() -> dict[Key, Component]:
    """Return the keys of components, each with its family and default."""
    found = ((key, component_of(info)) for key, info in walk(Experiment))
    return {key: component for key, component in found if component}


@cache
def spellings() -> list[list[Key]]:
    """Return the spellings of every key that has several."""
    return [
        [(*key[:-1], str(name)) for name in info.validation_alias.choices]
        for key, info in walk(Experiment)
        if isinstance(info.validation_alias, AliasChoices)
    ]
