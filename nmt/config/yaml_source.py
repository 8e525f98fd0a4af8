"""YAML as plain data, with the file and line of every key."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from nmt.config.validation import Key
from nmt.errors import UserError


class Loader(yaml.SafeLoader):
    """Loader with the scalars of YAML 1.2: `no` is text (a language), `1e-3` is a number."""


# PyYAML implements YAML 1.1, in which `no` and `on` are booleans and `1e-3` is text. A copy of its
# resolvers, without these two, leaves the class SafeLoader unchanged.
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
    """Nested mappings of one or several YAML files, and the location of every key."""

    values: dict[str, object] = field(default_factory=dict)
    locations: dict[Key, str] = field(default_factory=dict)

    def location(self, key: Key) -> str:
        """Return `FILE:LINE` of a key or of the nearest key above it, otherwise the file."""
        while key and key not in self.locations:
            key = key[:-1]
        return self.locations.get(key, "")

    def get(self, key: Key) -> object:
        """Return the value at a key, or None if it does not exist."""
        value: object = self.values
        for name in key:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def put(self, key: Key, value: object, location: str) -> None:
        """Set a key, creating the sections above it."""
        branch = self.values
        for depth, name in enumerate(key[:-1], start=1):
            below = branch.get(name)
            if not isinstance(below, dict):  # missing, or a value that is replaced
                branch[name] = below = {}
                self.locations[key[:depth]] = location
            branch = below
        branch[key[-1]] = value
        self.locations[key] = location

    def drop(self, key: Key) -> None:
        """Remove a key and everything below it."""
        self.locations = {k: p for k, p in self.locations.items() if k[: len(key)] != key}
        parent = self.get(key[:-1]) if key[:-1] else self.values
        if isinstance(parent, dict):
            parent.pop(key[-1], None)


def leaves(values: object, key: Key = ()) -> Iterator[tuple[Key, object]]:
    """Yield every key whose value is not a mapping, and those of empty mappings."""
    if not isinstance(values, Mapping) or (key and not values):
        yield key, values
        return
    for name, value in values.items():
        yield from leaves(value, (*key, name))


def read_yaml(file: Path) -> Tree:
    """Read a YAML file that contains a mapping.

    Raises:
        UserError: if the file cannot be read, is not YAML, is not a mapping, repeats a key or
            contains a recursive alias
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError("not found", str(file)) from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}; give a file", str(file)) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError("is not UTF-8; save it as UTF-8 text", f"{file}:{line}") from None
    # Nodes have line numbers, unlike the data that `yaml.load` returns.
    node = _compose(text, str(file))
    tree = Tree(locations={(): str(file)})
    if node is None:  # empty, or comments only
        return tree
    if not isinstance(node, yaml.MappingNode):
        raise UserError("an experiment file must be a mapping of sections", f"{file}:1")
    values = _construct(node, (), tree.locations, str(file))
    assert isinstance(values, dict)
    tree.values = values
    return tree


def read_value(text: str, location: str) -> object:
    """Read one YAML value of a command line."""
    node = _compose(text, location)
    return None if node is None else _construct(node, (), {}, location)


def _compose(text: str, name: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise UserError(f"invalid YAML: {error.problem or error.context}", name + line) from None
    except yaml.YAMLError as error:
        raise UserError(f"invalid YAML: {str(error).splitlines()[0]}", name) from None


def _construct(
    node: yaml.Node,
    key: Key,
    locations: dict[Key, str],
    file: str,
    ancestors: tuple[yaml.Node, ...] = (),
) -> object:
    """Convert a node to plain data, recording the location of every key."""
    location = f"{file}:{node.start_mark.line + 1}"
    # An alias is the node of its anchor itself, so a recursive one is among its own ancestors.
    if any(node is ancestor for ancestor in ancestors):
        raise UserError("recursive YAML alias; write the value out", location)
    ancestors = (*ancestors, node)
    if isinstance(node, yaml.MappingNode):
        values: dict[str, object] = {}
        for name_node, value_node in node.value:
            location = f"{file}:{name_node.start_mark.line + 1}"
            name = name_node.value
            if not isinstance(name, str):
                raise UserError("a key must be a word, not a list or a mapping", location)
            if name in values:
                raise UserError(f"duplicate key '{name}'; remove one", location)
            locations[(*key, name)] = location
            values[name] = _construct(value_node, (*key, name), locations, file, ancestors)
        return values
    if isinstance(node, yaml.SequenceNode):
        return [
            _construct(item, (*key, str(index)), locations, file, ancestors)
            for index, item in enumerate(node.value)
        ]
    # PyYAML converts scalars only by a loader, although there is nothing to load here.
    loader = Loader("")
    try:
        return loader.construct_object(node)
    except yaml.MarkedYAMLError as error:
        raise UserError(f"invalid YAML: {error.problem}", location) from None
    # PyYAML passes on all exceptions of a conversion: `!!int ''` raises IndexError.
    except (ValueError, LookupError, AttributeError) as error:
        raise UserError(f"invalid YAML: {node.tag} of {node.value!r}: {error}", location) from None
    finally:
        loader.dispose()
