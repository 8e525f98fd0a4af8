"""YAML as plain data that remembers the file and line of every key."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from nmt.errors import UserError

Key = tuple[str, ...]


class Loader(yaml.SafeLoader):
    """YAML 1.2's plain scalars: `no` is text (a language), `1e-3` is a number."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?$"
        r"|^[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$"
        r"|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


@dataclass
class Tree:
    """Nested mappings of one or several YAML files, and where each key stands."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[Key, str] = field(default_factory=dict)

    def place(self, key: Key) -> str:
        """Where `key`, or the nearest key above it, was written; else the file."""
        while key and key not in self.places:
            key = key[:-1]
        return self.places.get(key, "")

    def get(self, key: Key) -> Any:
        """The value at `key`; None where there is none."""
        value: Any = self.values
        for name in key:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def put(self, key: Key, value: Any, place: str) -> None:
        """Set `key`, making sections on the way."""
        branch = self.values
        for depth, name in enumerate(key[:-1], start=1):
            if not isinstance(branch.get(name), dict):
                branch[name] = {}
                self.places[key[:depth]] = place
            branch = branch[name]
        branch[key[-1]] = value
        self.places[key] = place

    def drop(self, key: Key) -> None:
        """Forget `key` and all below it."""
        self.places = {k: p for k, p in self.places.items() if k[: len(key)] != key}
        parent = self.get(key[:-1]) if key[:-1] else self.values
        if isinstance(parent, dict):
            parent.pop(key[-1], None)


def leaves(values: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every key whose value is not a mapping, empty mappings included."""
    if not isinstance(values, Mapping) or (key and not values):
        yield key, values
        return
    for name, value in values.items():
        yield from leaves(value, (*key, name))


def read_yaml(file: Path) -> Tree:
    """The mapping in a YAML file.

    Raises:
        UserError: no such file, not YAML, not a mapping, a key given twice, or an alias in itself
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError("no such file", str(file)) from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}; give a file", str(file)) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError("is not UTF-8; save it as UTF-8 text", f"{file}:{line}") from None
    node = _compose(text, str(file))
    tree = Tree(places={(): str(file)})
    if node is None:
        return tree
    if not isinstance(node, yaml.MappingNode):
        raise UserError("an experiment file is a mapping of sections", f"{file}:1")
    tree.values = _construct(node, (), tree.places, str(file))
    return tree


def read_value(text: str, place: str) -> Any:
    """One YAML value, as given on a command line."""
    node = _compose(text, place)
    return None if node is None else _construct(node, (), {}, place)


def _compose(text: str, name: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise UserError(f"not YAML: {error.problem or error.context}", name + line) from None
    except yaml.YAMLError as error:
        raise UserError(f"not YAML: {error}", name) from None


def _construct(
    node: yaml.Node, key: Key, places: dict[Key, str], file: str, above: tuple[yaml.Node, ...] = ()
) -> Any:
    if any(node is one for one in above):
        place = f"{file}:{node.start_mark.line + 1}"
        raise UserError("an alias stands inside what it names; write out what is meant", place)
    above = (*above, node)
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Any] = {}
        for name_node, value_node in node.value:
            place = f"{file}:{name_node.start_mark.line + 1}"
            name = name_node.value
            if not isinstance(name, str):
                raise UserError("a key is a word, not a list or a mapping", place)
            if name in values:
                raise UserError(f"'{name}' is given twice; remove one", place)
            places[(*key, name)] = place
            values[name] = _construct(value_node, (*key, name), places, file, above)
        return values
    if isinstance(node, yaml.SequenceNode):
        return [
            _construct(item, (*key, str(number)), places, file, above)
            for number, item in enumerate(node.value)
        ]
    loader = Loader("")
    try:
        return loader.construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"not YAML: {error}", f"{file}:{node.start_mark.line + 1}") from None
    finally:
        loader.dispose()
