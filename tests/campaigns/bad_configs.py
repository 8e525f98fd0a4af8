"""Wrong values for every key of an experiment file, and mutations of files."""

import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml

from nmt.config.component_fields import component_of
from nmt.config.schema import Experiment
from nmt.config.sections import walk
from tests.campaigns.runs import EXPERIMENT

# As written in the file; a key is given one after the other.
ODD_VALUES = [
    "",
    "~",
    "true",
    "-1",
    "0",
    "1.5",
    "1e400",
    ".nan",
    "-.inf",
    "9" * 30,
    "9" * 5000,
    "0x" + "f" * 5000,
    "[]",
    "[1, [2]]",
    "{}",
    "{a: 1}",
    "{type: nothing}",
    "{type: [1]}",
    "2026-11-29",
    '"\\0"',
    '"a\\nb"',
    "\u00b2",
    "\u0663",
    "x" * 5000,
    "../" * 2000,
    "/dev/zero",
    "*missing",
    "&a [*a]",
    "!!int ''",
    "!!float ''",
    "!!bool abc",
    "!!timestamp abc",
    "!!binary '='",
    "!!python/object/apply:os.system [exit]",
    "os.kill",
    "[" * 600 + "]" * 600,
    "{1: 2}",
    "{[1]: 2}",
    "'unclosed",
    "|",
]
PLACE = "PLACEHOLDER"


@cache
def keys() -> list[tuple[str, ...]]:
    """Return every key of the schema, and every option of every component."""
    found: list[tuple[str, ...]] = [(), ("include",)]  # the file itself, and no field of the schema
    for key, info in walk(Experiment):
        found.append(key)
        component = component_of(info)
        if component is not None:
            found.append((*key, "type"))
            specs = component.registry.specs()
            found += [(*key, o) for spec in specs.values() for o in spec.options]
    return list(dict.fromkeys(found))


def with_value(key: tuple[str, ...], value: str) -> str:
    """Return the small experiment with the text of a value at a key."""
    if not key:
        return value
    tree: dict[str, Any] = yaml.safe_load(yaml.safe_dump(EXPERIMENT))
    branch = tree
    for name in key[:-1]:
        if not isinstance(branch.get(name), dict):
            branch[name] = {}
        branch = branch[name]
    if key[-1] not in ("type",) and "type" not in branch:
        branch |= _component_with(key)
    branch[key[-1]] = PLACE
    return yaml.safe_dump(tree, sort_keys=False).replace(PLACE, value)


def _component_with(key: tuple[str, ...]) -> dict[str, str]:
    """Return the type of the first component that has an option of this name."""
    for key_of_component, info in walk(Experiment):
        component = component_of(info)
        if component is not None and key_of_component == key[:-1]:
            for name, spec in component.registry.specs().items():
                if key[-1] in spec.options:
                    return {"type": name}
    return {}


def mutations(text: str, seed: int, count: int) -> Iterator[str]:
    """Yield mutations of the lines, words and characters of a file."""
    chosen = random.Random(seed)
    lines = text.splitlines(keepends=True)
    kinds = [_rename, _drop_line, _repeat_line, _indent, _tab, _swap, _cut, _character, _value]
    for number in range(count):
        yield "".join(kinds[number % len(kinds)](list(lines), chosen))


def _settings(lines: list[str]) -> list[int]:
    return [n for n, line in enumerate(lines) if ":" in line and not line.lstrip().startswith("#")]


def _rename(lines: list[str], chosen: random.Random) -> list[str]:
    n = chosen.choice(_settings(lines))
    name = lines[n].partition(":")[0]
    lines[n] = lines[n].replace(name, name + chosen.choice("sx_1é"), 1)
    return lines


def _drop_line(lines: list[str], chosen: random.Random) -> list[str]:
    del lines[chosen.randrange(len(lines))]
    return lines


def _repeat_line(lines: list[str], chosen: random.Random) -> list[str]:
    n = chosen.choice(_settings(lines))
    return [*lines[: n + 1], *lines[n:]]


def _indent(lines: list[str], chosen: random.Random) -> list[str]:
    n = chosen.choice(_settings(lines))
    lines[n] = " " * chosen.randrange(1, 5) + lines[n]
    return lines


def _tab(lines: list[str], chosen: random.Random) -> list[str]:
    n = chosen.choice(_settings(lines))
    lines[n] = "\t" + lines[n].lstrip()
    return lines


def _swap(lines: list[str], chosen: random.Random) -> list[str]:
    one, other = chosen.choices(range(len(lines)), k=2)
    lines[one], lines[other] = lines[other], lines[one]
    return lines


def _cut(lines: list[str], chosen: random.Random) -> list[str]:
    text = "".join(lines)
    return [text[: chosen.randrange(len(text))]]


def _character(lines: list[str], chosen: random.Random) -> list[str]:
    text = "".join(lines)
    n = chosen.randrange(len(text))
    return [text[:n], chosen.choice("{}[]:,&*!|>'\"%@`\0\x07\u2028\ufeffé\n#-"), text[n + 1 :]]


def _value(lines: list[str], chosen: random.Random) -> list[str]:
    n = chosen.choice(_settings(lines))
    name = lines[n].partition(":")[0]
    lines[n] = f"{name}: {chosen.choice(ODD_VALUES)}\n"
    return lines
