"""What is wrong with an experiment file, in the words of the file."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from nmt.component_spec import REQUIRED, ComponentSpec
from nmt.config.fields import PartPlace, part_registries, section_at
from nmt.config.yaml_source import Key, Tree
from nmt.errors import UserError
from nmt.registry import ENCODERS, ComponentConfig, unknown

# Model parts that are there only because another part is wired to them.
WIRED = {("model", "attention"): ("model", "decoder"), ("model", "score"): ("model", "attention")}

# What an encoder of pictures is wired to.
PICTURES = "pictures"


def check_parts(tree: Tree) -> tuple[dict[str, Any], list[UserError]]:
    """Return the tree with a checked `ComponentConfig` at every component key, and all errors."""
    values: dict[str, Any] = deepcopy(tree.values)
    mistakes: list[UserError] = []
    used: dict[Key, ComponentSpec | None] = {}
    for key, place in part_registries().items():
        section = values.setdefault(key[0], {})
        if not isinstance(section, dict):
            continue
        if key in WIRED and not _is_wired(used.get(WIRED[key]), key[-1]):
            if section.get(key[-1]) is not None:
                mistakes.append(_unused(tree, key, used[WIRED[key]]))
            # What is wired to a part that is not there is not there either, for the same reason.
            section[key[-1]], used[key] = None, used[WIRED[key]]
            continue
        choice, used[key] = _check_part(tree, key, place, mistakes)
        section[key[-1]] = choice
    for name in [k for k, v in values.items() if v == {} and k not in tree.values]:
        del values[name]
    mistakes += _check_source(tree, used.get(("model", "encoder")))
    return values, mistakes


def _is_wired(part: ComponentSpec | None, name: str) -> bool:
    return part is None or name in part.injected


def _unused(tree: Tree, key: Key, part: ComponentSpec | None) -> UserError:
    assert part is not None
    dotted = ".".join(key)
    message = f"{dotted}: is given, but '{part.name}' uses no {key[-1]}; remove it"
    return UserError(message, tree.place(key))


def _check_source(tree: Tree, encoder: ComponentSpec | None) -> list[UserError]:
    """The mistake of pictures for an encoder of text, or of text for one of pictures."""
    key = ("data", "pictures")
    given = tree.get(key) is not None
    if encoder is None or given == (PICTURES in encoder.injected):
        return []
    if not given:
        message = f"'{encoder.name}' reads pictures; add to data: 'pictures: {{size: 64}}'"
        return [UserError(f"model.encoder: {message}", tree.place(("model", "encoder")))]
    readers = [name for name, part in ENCODERS.specs().items() if PICTURES in part.injected]
    message = f"is given, but encoder '{encoder.name}' reads text; remove it or use encoder"
    return [UserError(f"data.pictures: {message} {' or '.join(readers)}", tree.place(key))]


def _check_part(
    tree: Tree, key: Key, place: PartPlace, mistakes: list[UserError]
) -> tuple[ComponentConfig, ComponentSpec | None]:
    """The choice at `key` and its part; the default and None when there is a mistake in it."""
    raw = tree.get(key)
    fallback = ComponentConfig(place.default)
    try:
        choice = _choice(raw, place.default)
        part = place.registry.find(choice.type)
    except UserError as error:
        mistakes.append(UserError(f"{'.'.join(key)}: {error.message}", tree.place((*key, "type"))))
        return fallback, None
    try:
        options = options_model(part).model_validate(dict(choice.options), strict=True)
    except ValidationError as error:
        known = list(part.options)
        for detail in error.errors():
            at = (*key, *map(str, detail["loc"]))
            mistakes.append(_explained(detail, tree, at, known, f"option of '{part.name}'"))
        return fallback, part
    return ComponentConfig(
        choice.type, {name: getattr(options, name) for name in part.options}
    ), part


def _choice(raw: Any, default: str) -> ComponentConfig:
    """`luong`, `{type: luong, hidden_size: 512}` and nothing at all are choices."""
    if raw is None:
        return ComponentConfig(default)
    if isinstance(raw, str):
        return ComponentConfig(raw)
    if isinstance(raw, Mapping) and isinstance(raw.get("type"), str):
        return ComponentConfig(raw["type"], {k: v for k, v in raw.items() if k != "type"})
    raise UserError(f"expected a name or {{type: NAME, option: value}}, got {_shown(raw)}")


def options_model(part: ComponentSpec) -> type[BaseModel]:
    """The keyword-only parameters of a part as a pydantic model."""
    fields: dict[str, Any] = {
        name: (option.annotation, ... if option.default is REQUIRED else option.default)
        for name, option in part.options.items()
    }
    return create_model(part.name, __config__=ConfigDict(extra="forbid"), **fields)


def explain(error: ValidationError, tree: Tree, root: type[BaseModel]) -> list[UserError]:
    """pydantic's errors about the fixed sections, as lines for the user.

    Where a value may be of several types, each of them complains: only the first one is told, or
    the one that got as far as the items of a list.
    """
    told: dict[tuple[Key, tuple[int, ...]], Any] = {}
    for detail in error.errors():
        told.setdefault(_key_and_items(detail["loc"]), detail)
    mistakes = []
    for (key, items), detail in told.items():
        if items or not any(key == other and further for other, further in told):
            section = section_at(key[:-1]) if key else root
            known = list(section.model_fields) if section else []
            mistakes.append(_explained(detail, tree, key, known, "key"))
    return mistakes


def _key_and_items(location: tuple[int | str, ...]) -> tuple[Key, tuple[int, ...]]:
    """The key that an error is about, and the numbers of items below; the types tried left out."""
    key: Key = tuple(map(str, location))
    while len(key) > 1 and section_at(key[:-1]) is None:
        key = key[:-1]
    return key, tuple(part for part in location[len(key) :] if isinstance(part, int))


def _explained(detail: Any, tree: Tree, key: Key, known: list[str], kind: str) -> UserError:
    dotted, name, given = ".".join(key), key[-1] if key else "", _shown(detail.get("input"))
    limits = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            text = unknown(name, known, kind)
        case "missing":
            text = "is missing; " + (f"write a section '{name}:'" if len(key) == 1 else "add it")
        case "literal_error":
            text = f"{given} is not allowed; use one of {limits['expected']}"
        case "value_error":
            text = str(limits["error"])
        case "greater_than_equal":
            text = f"must be at least {limits['ge']}, got {given}"
        case "greater_than":
            text = f"must be more than {limits['gt']}, got {given}"
        case "less_than_equal":
            text = f"must be at most {limits['le']}, got {given}"
        case "less_than":
            text = f"must be less than {limits['lt']}, got {given}"
        case kind_of_value:
            text = f"expected {EXPECTED.get(kind_of_value, detail['msg'])}, got {given}"
    return UserError(f"{dotted}: {text}" if dotted else text, tree.place(key))


EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text (put it in quotes)",
    "list_type": "a list",
    "model_type": "a section of keys",
    "path_type": "a file name",
    "is_instance_of": "a file name",
}


def _shown(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case Mapping():
            return "a mapping"
        case _:
            return repr(str(value)) if isinstance(value, str) else str(value)
