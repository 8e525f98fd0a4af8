"""Descriptions of the components and of the experiment file: `--list` and JSON Schema."""

import json
from collections.abc import Mapping

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaValue

from nmt.component_spec import LARGE, REQUIRED, ComponentSpec, Option, bound_text
from nmt.config.schema import Experiment
from nmt.errors import UserError, suggest
from nmt.registry import FAMILIES


def list_components(family: str | None = None) -> str:
    """List all components, or those of one family, with their options, defaults and help.

    Raises:
        UserError: if the family does not exist
    """
    if family is not None and family not in FAMILIES:
        raise UserError(f"unknown family '{family}'; {suggest(family, FAMILIES)}")
    names = [family] if family else list(FAMILIES)
    return "\n\n".join(
        "\n".join([name, *map(_entry, FAMILIES[name].specs().values())]) for name in names
    )


def _entry(spec: ComponentSpec) -> str:
    lines = [f"  {spec.name}: {spec.summary}"]
    lines += [f"      {name} ({_kind(o)}): {o.help}" for name, o in spec.options.items()]
    return "\n".join(lines)


def _kind(option: Option) -> str:
    """Return the type, range and default of an option in a few words."""
    kind = _type_words(TypeAdapter(option.annotation).json_schema())
    if option.default is REQUIRED:
        return f"{kind}, required"
    return f"{kind}, default {_yaml(option.default)}"


def _type_words(schema: Mapping[str, object]) -> str:
    """Return the type that a JSON schema describes: `integer ≥ 1 or null`."""
    # pydantic converts any annotation to JSON schema, which has fewer forms to distinguish.
    match schema:
        case {"anyOf": list(branches)}:
            return " or ".join(_type_words(branch) for branch in branches)
        case {"enum": list(values)}:
            return " or ".join(map(_yaml, values))
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = []
    for key, sign in signs.items():
        bound = schema.get(key)
        if isinstance(bound, (int, float)) and bound < LARGE:
            bounds.append(f"{sign} {bound_text(bound)}")
    return f"{schema.get('type', 'any')} {' and '.join(bounds)}".rstrip()


def _yaml(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def json_schema() -> JsonSchemaValue:
    """Return the JSON Schema of an experiment file, including all registered components."""
    schema = Experiment.model_json_schema()
    # Removed by the loader before validation, and therefore no field of the schema.
    schema["properties"]["include"] = {
        "description": "experiment files that this file overrides key by key; a component of the "
        "same type keeps the options that this file leaves out",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    }
    # Any key may be in an included file instead, or in one that includes this one.
    for section in (schema, *schema["$defs"].values()):
        section.pop("required", None)
    return schema
