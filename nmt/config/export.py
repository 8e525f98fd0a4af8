"""Descriptions of the components and of the experiment file: `--list` and JSON Schema."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_origin

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue

from nmt.component_spec import LARGE, REQUIRED, ComponentSpec, Option, bound_text
from nmt.config.component_fields import Components, component_of
from nmt.config.schema import Experiment
from nmt.config.sections import Section, section_of
from nmt.errors import UserError, suggest
from nmt.registry import FAMILIES


def list_options(name: str | None = None) -> str:
    """List the options of all sections and components, or of one section or family.

    Raises:
        UserError: if no section or family has this name
    """
    sections = {key: section for key, section in _sections(Experiment) if key not in FAMILIES}
    known = [*sections, *FAMILIES]
    if name is not None and name not in known:
        raise UserError(f"unknown section or family '{name}'; {suggest(name, known)}")
    blocks = []
    for title in [name] if name else known:
        if title in sections:
            lines = list(_section_lines(sections[title], ""))
        else:
            lines = [_entry(spec) for spec in FAMILIES[title].specs().values()]
        blocks.append("\n".join([title, *lines]))
    return "\n\n".join(blocks)


def _sections(parent: type[Section]) -> Iterator[tuple[str, type[Section]]]:
    """Yield the keys of a section that are sections themselves, optional ones included."""
    for key, field in parent.model_fields.items():
        if section := section_of(field):
            yield key, section


def _section_lines(section: type[Section], prefix: str) -> Iterator[str]:
    """Yield one line per option of a section; those of its sections have dotted names."""
    nested = dict(_sections(section))
    for key, field in section.model_fields.items():
        option = _field_option(field)
        if key in nested:
            if get_origin(field.annotation) is list:
                yield f"  {prefix}{key} (path, section or list of these, required): {option.help}"
            elif option.default is None:
                yield f"  {prefix}{key} (section, default null): {option.help}"
            yield from _section_lines(nested[key], f"{prefix}{key}.")
        elif key in FAMILIES:
            is_list = isinstance(component_of(field), Components)
            kind = option.help if is_list else "a component"
            yield f"  {prefix}{key}: {kind}; see --list {key}"
        else:
            yield f"  {prefix}{key} ({_kind(option)}): {option.help}"


def _field_option(field: FieldInfo) -> Option:
    """Convert a field of a section to the description of an option."""
    annotation: Any = field.annotation
    for item in field.metadata:  # pydantic separates the range from the type
        annotation = Annotated[annotation, item]
    default = REQUIRED if field.is_required() else field.default
    return Option(annotation, default, " ".join((field.description or "").split()))


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
        case {"const": value}:
            return _yaml(value)
        case {"items": Mapping() as items}:
            return f"list of {_type_words(items)}"
        case {"format": "path"}:
            return "path"
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
        for name, field in section.get("properties", {}).items():
            if "$ref" in field and "default" in field:  # a section, which null gives its defaults
                branches = [{"$ref": field.pop("$ref")}, {"type": "null"}]
                definition = schema["$defs"][branches[0]["$ref"].rpartition("/")[2]]
                whole = {"description": definition["description"], "anyOf": branches, **field}
                section["properties"][name] = whole
    return schema
