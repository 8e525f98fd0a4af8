"""YAML as plain data, with the file and line of every key."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from nmt.errors import UserError
from nmt.files import MAX_CONFIG_BYTES, read_text

Key = tuple[str, ...]

# An experiment file has a few hundred values. A few lines of aliases can expand to billions.
MAX_NODES = 20_000
MAX_DEPTH = 40
MAX_SCALAR = 200
"""Largest number of characters of a value that is not text; conversion takes quadratic time."""


class Loader(yaml.SafeLoader):
    """Loader with the scalars of YAML 1.2: `no` is text (a language), `1e-3` is a number.

    It counts the nodes and their depth while it reads, before they take memory.
    """

    nodes = 0
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node within the limits.

        Raises:
            MarkedYAMLError: if the text has too many nodes, or they are nested too deeply
        """
        self.nodes += 1
        self.depth += 1
        if self.nodes > MAX_NODES or self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=_limit(self.depth), problem_mark=self.get_mark())
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _limit(depth: int) -> str:
    """Return the limit that a text exceeds."""
    if depth > MAX_DEPTH:
        return f"more than {MAX_DEPTH} levels of nesting"
    return f"more than {MAX_NODES:,} values, aliases included"


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


def read_yaml(file: Path, text: str | None = None) -> Tree:
    """Read a YAML file that contains a mapping.

    Args:
        file: the file
        text: its content, if it is known already

    Raises:
        UserError: if the file cannot be read, is not YAML, is not a mapping, repeats a key or
            contains a recursive alias
    """
    if text is None:
        text = read_text(file, max_bytes=MAX_CONFIG_BYTES)
    # Nodes have line numbers, unlike the data that `yaml.load` returns.
    node = _compose(text, str(file))
    tree = Tree(locations={(): str(file)})
    if node is None:  # empty, or comments only
        return tree
    if not isinstance(node, yaml.MappingNode):
        raise UserError("an experiment file must be a mapping of sections", f"{file}:1")
    values = _Constructor(str(file), tree.locations).construct(node)
    assert isinstance(values, dict)
    tree.values = values
    return tree


def read_value(text: str, location: str) -> object:
    """Read one YAML value of a command line."""
    node = _compose(text, location)
    return None if node is None else _Constructor(location, {}).construct(node)


def _compose(text: str, name: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader)
    except yaml.MarkedYAMLError as error:
        problem, mark = _explain(error)
        line = f":{mark.line + 1}" if mark else ""
        raise UserError(f"invalid YAML: {problem}", name + line) from None
    except yaml.YAMLError as error:
        raise UserError(f"invalid YAML: {_shortened(str(error).splitlines()[0])}", name) from None
    except (ValueError, OverflowError):  # "\UFFFFFFFF", or %YAML with 5,000 digits
        raise UserError("invalid YAML: an escape or a version is out of range", name) from None


# Remedies by the first words of PyYAML's messages.
UNFINISHED_REMEDIES = {
    "could not find expected ':'": "write 'key: value'",
    "expected ',' or": "close the bracket that this line opens, or add the missing comma",
    "found unexpected end of stream": "close the quote that this line opens",
}
OTHER_REMEDIES = {
    "expected <block end>": "indent all keys of a section equally",
    "found character '\\t'": "indent with spaces",
    "mapping values are not allowed": "indent all keys of a section equally, and quote a text that "
    "contains ': '",
}


def _explain(error: yaml.MarkedYAMLError) -> tuple[str, yaml.Mark | None]:
    """Return the problem, with its remedy if it is a common one, and where it is in the text."""
    problem = str(error.problem or error.context)
    mark = error.problem_mark or error.context_mark
    remedy = ""
    for start, text in (UNFINISHED_REMEDIES | OTHER_REMEDIES).items():
        if problem.startswith(start):
            remedy = f"; {text}"
            # Reading fails behind an unfinished construct; the mistake is where it begins.
            if start in UNFINISHED_REMEDIES:
                mark = error.context_mark or mark
    return _shortened(problem) + remedy, mark


class _Constructor:
    """Conversion of nodes to plain data.

    An alias is the node of its anchor itself, so that converting it again is bounded here, where
    every value counts.

    Args:
        file: name of the file in locations
        locations: receives the location of every key
    """

    def __init__(self, file: str, locations: dict[Key, str]) -> None:
        self.file, self.locations = file, locations
        self.nodes = 0
        # PyYAML converts scalars only by a loader, although nothing is loaded here.
        self.loader = Loader("")

    def construct(
        self, node: yaml.Node, key: Key = (), ancestors: tuple[yaml.Node, ...] = ()
    ) -> object:
        """Return the data of a node, and record the location of every key."""
        location = self._location(node)
        # A recursive alias is among its own ancestors.
        if any(node is ancestor for ancestor in ancestors):
            raise UserError("recursive YAML alias; write the value out", location)
        self.nodes += 1
        if self.nodes > MAX_NODES or len(ancestors) >= MAX_DEPTH:
            raise UserError(f"invalid YAML: {_limit(len(ancestors) + 1)}", location)
        ancestors = (*ancestors, node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key, ancestors)
        if isinstance(node, yaml.SequenceNode):
            return [
                self.construct(item, (*key, str(index)), ancestors)
                for index, item in enumerate(node.value)
            ]
        return self._scalar(node, location)

    def _mapping(
        self, node: yaml.MappingNode, key: Key, ancestors: tuple[yaml.Node, ...]
    ) -> dict[str, object]:
        values: dict[str, object] = {}
        for name_node, value_node in node.value:
            location = self._location(name_node)
            name = name_node.value
            if not isinstance(name, str):
                raise UserError("a key must be a word, not a list or a mapping", location)
            _check_characters(name, location)
            if name in values:
                raise UserError(f"duplicate key '{_shortened(name)}'; remove one", location)
            self.locations[(*key, name)] = location
            values[name] = self.construct(value_node, (*key, name), ancestors)
        return values

    def _scalar(self, node: yaml.Node, location: str) -> object:
        is_text = node.tag == "tag:yaml.org,2002:str"
        if not is_text and len(node.value) > MAX_SCALAR:
            raise UserError(
                f"invalid YAML: {node.tag} of {len(node.value)} characters; "
                "put it in quotes if it is text",
                location,
            )
        try:
            value = self.loader.construct_object(node)
        except yaml.MarkedYAMLError as error:
            raise UserError(f"invalid YAML: {_shortened(str(error.problem))}", location) from None
        # PyYAML passes on all exceptions of a conversion: `!!int ''` raises IndexError.
        except (ValueError, LookupError, AttributeError, ArithmeticError) as error:
            shown = _shortened(repr(node.value))
            raise UserError(f"invalid YAML: {node.tag} of {shown}: {error}", location) from None
        if isinstance(value, str):
            _check_characters(value, location)
        return value

    def _location(self, node: yaml.Node) -> str:
        return f"{self.file}:{node.start_mark.line + 1}"


def _check_characters(text: str, location: str) -> None:
    """Raise UserError for half of a surrogate pair, which no file and no terminal can represent."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UserError("invalid YAML: half of a surrogate pair; write the character", location)


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SCALAR else f"{text[: MAX_SCALAR // 2]}..."
