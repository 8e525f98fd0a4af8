"""The parts and the experiment file, described for people and for editors."""

import json
from typing import Any

from pydantic import TypeAdapter

from nmt.component_spec import REQUIRED, ComponentSpec, Option
from nmt.config.fields import part_registries
from nmt.config.schema import Experiment
from nmt.config.validation import WIRED, options_model
from nmt.errors import UserError
from nmt.registry import FAMILIES, Registry, unknown


def list_components(family: str | None = None) -> str:
    """Every part with its options, defaults and meaning; of one family if it is named.

    Raises:
        UserError: for a family that does not exist
    """
    if family is not None and family not in FAMILIES:
        raise UserError(unknown(family, FAMILIES, "family"))
    names = [family] if family else list(FAMILIES)
    return "\n\n".join(_family(name, FAMILIES[name]) for name in names)


def _family(name: str, registry: Registry[Any]) -> str:
    parts = "\n".join(_part(part) for part in registry.specs().values())
    return f"{name}\n{parts}"


def _part(part: ComponentSpec) -> str:
    lines = [f"  {part.name}: {part.summary}"]
    lines += [f"      {name}: {_option(option)}" for name, option in part.options.items()]
    return "\n".join(lines)


def _option(option: Option) -> str:
    default = "required" if option.default is REQUIRED else f"default {json.dumps(option.default)}"
    return f"{_type(option.annotation)}, {default}; {option.help}"


def _type(annotation: Any) -> str:
    """An option's type in a few words, by way of its JSON schema."""
    return _words(TypeAdapter(annotation).json_schema())


def _words(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_words(branch) for branch in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    ranges = [f"{sign} {schema[key]:g}" for key, sign in limits.items() if key in schema]
    return " ".join([str(schema.get("type", "any")), *ranges])


def json_schema() -> dict[str, Any]:
    """JSON Schema of the experiment file, with every registered part."""
    schema = Experiment.model_json_schema()
    schema["properties"]["include"] = {
        "description": "experiment files that this one is laid over, key by key; "
        "a part of the same type keeps the options that are not given again",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    }
    # A file may leave anything to those that it includes or that include it; so may parts.
    for section in (schema, *schema["$defs"].values()):
        section.pop("required", None)
    del schema["$defs"]["ComponentConfig"]  # every part has a schema of its own
    for key, place in part_registries().items():
        section = schema["$defs"][f"{key[0].capitalize()}Config"]
        choices = _choices(place.registry, place.default)
        if key in WIRED:  # a decoder or a mechanism without it leaves it out
            choices["anyOf"].append({"type": "null"})
        section["properties"][key[1]] = choices
    return schema


def _choices(registry: Registry[Any], default: str) -> dict[str, Any]:
    names = {"enum": list(registry), "description": f"{registry.family} by name"}
    return {
        "description": f"{registry.family}, {default} when not given",
        "anyOf": [names, *(_part_schema(part) for part in registry.specs().values())],
    }


def _part_schema(part: ComponentSpec) -> dict[str, Any]:
    schema = options_model(part).model_json_schema()
    for name, option in part.options.items():
        schema["properties"][name]["description"] = option.help
    schema["properties"] = {"type": {"const": part.name}, **schema.get("properties", {})}
    schema.pop("required", None)
    return {**schema, "description": part.summary}
