"""Validation of sections by pydantic, and its errors in the words of the experiment file."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, get_args, runtime_checkable

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    create_model,
    model_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import (
    no_info_plain_validator_function,
    plain_serializer_function_ser_schema,
)

from nmt.component_spec import REQUIRED, ComponentSpec, bound_text
from nmt.config.peers import counterpart
from nmt.config.yaml_source import Key
from nmt.errors import UserError, UserErrors, printable, suggest
from nmt.registry import AnyRegistry, ComponentConfig

MAX_MISTAKES = 50
MAX_SHOWN = 120  # characters
MAX_SHOWN_BITS = 256


class Section(BaseModel):
    """A section of the experiment file: unknown keys are errors, and values never change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        # YAML has types of its own: `epochs: "3"` is a mistake, and `seed: true` is not 1.
        strict=True,
        # No option means anything at infinity or NaN.
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        # Fills in the options of default components.
        validate_default=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_sections(cls, values: object) -> object:
        """Give a section without content, or an override with null, its defaults."""
        if not isinstance(values, Mapping):
            return values
        filled = {name for name, info in cls.model_fields.items() if _has_defaults(info)}
        return {k: v for k, v in values.items() if v is not None or k not in filled}

    def to_dict(self) -> dict[str, Any]:
        """Return the section as plain data for YAML, defaults included."""
        return self.model_dump(mode="json")


class PathSection(Section):
    """A section that a file name alone stands for, if its other options have their defaults.

    Attributes:
        path_field: the option that this name is
    """

    path_field: ClassVar[str] = "path"

    @classmethod
    def expand(cls, value: object) -> object:
        """Convert a file name to the section that it stands for."""
        if value is None or isinstance(value, (Mapping, Section)):
            return value
        return {cls.path_field: value}

    @model_serializer(mode="wrap")
    def _shorten(self, serialize: Callable[[Any], Any]) -> Any:
        """Convert to a file name where possible, as earlier versions wrote it."""
        values: dict[str, Any] = serialize(self)
        defaults = {name: info.default for name, info in type(self).model_fields.items()}
        others = [name for name in values if values[name] != defaults[name]]
        return values[self.path_field] if others == [self.path_field] else values


S = TypeVar("S", bound=Section)


# pydantic's protocol cannot be checked at run time, as beartype does in the tests.
@runtime_checkable
class FieldContext(Protocol):
    """The part of pydantic's `ValidationInfo` that validators of a field use.

    `data` contains the valid ones of the fields before it.
    """

    @property
    def data(self) -> Mapping[str, object]: ...


# Value of a field that leaves the choice to its `Component` annotation. It never remains in a
# validated section, so that the field's type need not allow None.
DEFAULT: Any = None


@dataclass(frozen=True)
class Component:
    """Annotation of a field that configures a component of one family.

    The field accepts a name, a mapping with `type:`, a `ComponentConfig` or None for the default,
    and always contains a `ComponentConfig` with all options. It is a union discriminated by `type`,
    whose members are the option models of the specifications. A member is built when its name
    occurs, because plugins and dotted types extend the union at run time.

    Attributes:
        registry: the family
        default: name of the component that is used if none is configured
    """

    registry: AnyRegistry
    default: str

    def validate(self, value: object) -> ComponentConfig:
        """Return the configuration with validated options, defaults included."""
        config = ComponentConfig(self.default) if value is None else _parse_component(value)
        # An unknown name raises UserError, a ValueError, which pydantic locates at this field.
        spec = self.registry.find(config.type)
        try:
            options = options_model(spec).model_validate(dict(config.options))
        except ValidationError as error:
            # pydantic merges a ValidationError raised inside a validator, below the field's key.
            details = [_option_error(detail, spec) for detail in error.errors()]
            raise ValidationError.from_exception_data(spec.name, details) from None
        return ComponentConfig(config.type, {name: getattr(options, name) for name in spec.options})

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        serialization = plain_serializer_function_ser_schema(
            ComponentConfig.to_dict, when_used="unless-none"
        )
        return no_info_plain_validator_function(self.validate, serialization=serialization)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        specs = self.registry.specs()
        names = {"enum": [*specs, None], "description": f"name; null for {self.default}"}
        return {
            "description": f"{self.registry.family} (default: {self.default})",
            "anyOf": [names, *(_json_schema(spec) for spec in specs.values())],
        }


@dataclass(frozen=True)
class Components(Component):
    """Annotation of a field that configures several components of one family.

    The field accepts a component as `Component` does, a list of them, or None, and contains a list
    or None.
    """

    def validate_all(self, value: object) -> list[ComponentConfig] | None:
        """Return the configurations with validated options, defaults included."""
        if value is None:
            return None
        if not isinstance(value, list):
            return [self.validate(value)]
        configs: list[ComponentConfig] = []
        for item in value:
            parsed = _parse_component(item)
            if parsed.type in [config.type for config in configs]:
                raise ValueError(f"contains '{printable(parsed.type)}' twice; remove one")
            try:
                configs.append(self.validate(parsed))
            except ValidationError as error:
                # One list may set the same option of several components.
                details = [_below(detail, parsed.type) for detail in error.errors()]
                raise ValidationError.from_exception_data(parsed.type, details) from None
        return configs

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        serialization = plain_serializer_function_ser_schema(
            lambda configs: [config.to_dict() for config in configs], when_used="unless-none"
        )
        return no_info_plain_validator_function(self.validate_all, serialization=serialization)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        specs = self.registry.specs()
        items = {"anyOf": [{"enum": [*specs]}, *(_json_schema(spec) for spec in specs.values())]}
        return {"anyOf": [*items["anyOf"], {"type": "array", "items": items}, {"type": "null"}]}


def _below(detail: ErrorDetails, name: str) -> InitErrorDetails:
    """Return an error with the name of a component in front of its option."""
    kind: str | PydanticCustomError = detail["type"]
    if kind == "custom":
        kind = _custom_error(str(detail["ctx"]["message"]))
    location = (f"{name}.{detail['loc'][0]}", *detail["loc"][1:])
    return InitErrorDetails(
        type=kind, loc=location, input=detail["input"], ctx=detail.get("ctx", {})
    )


def _parse_component(value: object) -> ComponentConfig:
    """Convert `NAME` and `{type: NAME, option: value}`."""
    match value:
        case ComponentConfig():
            return value
        case str():
            return ComponentConfig(value)
        case {"type": str(name), **options}:
            # A key of YAML may be a number, which is no option and is reported as an unknown one.
            return ComponentConfig(name, {str(key): option for key, option in options.items()})
    raise ValueError(f"expected NAME or {{type: NAME, option: value}}, got {_shown(value)}")


# One model takes about a millisecond to build, so only those of configured components are built.
@cache
def options_model(spec: ComponentSpec) -> type[BaseModel]:
    """Return the options of a component as a pydantic model."""
    fields: dict[str, Any] = {
        name: (option.annotation, ... if option.default is REQUIRED else option.default)
        for name, option in spec.options.items()
    }
    config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return create_model(spec.name, __config__=config, **fields)


def _option_error(detail: ErrorDetails, spec: ComponentSpec) -> InitErrorDetails:
    """Convert an error about an option, naming the component and its options if it is unknown."""
    kind: str | PydanticCustomError = detail["type"]
    if kind == "extra_forbidden":
        hint = suggest(str(detail["loc"][0]), spec.options)
        kind = _custom_error(f"unknown option of '{spec.name}'; {hint}")
    return InitErrorDetails(
        type=kind, loc=detail["loc"], input=detail["input"], ctx=detail.get("ctx", {})
    )


def _json_schema(spec: ComponentSpec) -> JsonSchemaValue:
    schema = options_model(spec).model_json_schema()
    properties = schema.get("properties", {})  # missing if there are no options
    for name, option in spec.options.items():
        properties[name]["description"] = option.help
    # Another file may contain the type and the required options; see `json_schema`.
    schema.pop("required", None)
    typed = {"type": {"const": spec.name, "description": spec.summary}, **properties}
    return {**schema, "properties": typed, "description": spec.summary}


def error_at(key: str, message: str) -> PydanticCustomError:
    """Return an error about another key than that of the validator which raises it.

    Args:
        key: dotted, from the root of the file
        message: what is wrong; what to do
    """
    return _custom_error(message, key=key)


def _custom_error(message: str, **context: str) -> PydanticCustomError:
    # The message is an argument of the template, because it may contain braces.
    return PydanticCustomError("custom", "{message}", {"message": message, **context})


def validate(
    section: type[S],
    values: Mapping[str, object],
    locate: Callable[[Key], str] = lambda key: "",
    spell: Callable[[str], str] = str,
) -> S:
    """Validate the values of a section.

    Args:
        section: class of the section
        values: values by key, as an experiment file contains them
        locate: returns the location of a key, to report errors there
        spell: returns the spelling of a dotted key in errors

    Raises:
        UserErrors: all mistakes
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise UserErrors(_explain(error, section, values, locate, spell)) from None


def walk(section: type[Section], key: Key = ()) -> Iterator[tuple[Key, FieldInfo]]:
    """Yield the key and the field of every entry of a section and of the sections inside it."""
    for name, info in section.model_fields.items():
        yield (*key, name), info
        inner = section_of(info)
        if inner is not None:
            yield from walk(inner, (*key, name))


def component_of(info: FieldInfo) -> Component | None:
    """Return the annotation of a field that configures a component."""
    return next((data for data in info.metadata if isinstance(data, Component)), None)


def section_of(info: FieldInfo) -> type[Section] | None:
    """Return the class of a field that is a section."""
    for kind in types_of(info.annotation):
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind
    return None


def _has_defaults(info: FieldInfo) -> bool:
    """Return whether a field is a section that may be left out, and then has its defaults."""
    return isinstance(info.default, Section)


def path_field(info: FieldInfo) -> str | None:
    """Return the option that a file name stands for, where it may replace a section."""
    section = section_of(info)
    return section.path_field if section and issubclass(section, PathSection) else None


def types_of(annotation: object) -> Iterator[object]:
    """Yield the types inside an annotation: Path and None inside `Path | list[Path] | None`."""
    arguments = get_args(annotation)
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from types_of(argument)


class _Problem(NamedTuple):
    """An error of pydantic, with its location split by the schema.

    Attributes:
        detail: the error
        key: key of the experiment file
        is_component: whether this key configures a component
        items: indices into a list at this key
        known: keys of the section that contains it
    """

    detail: ErrorDetails
    key: Key
    is_component: bool
    items: tuple[int, ...]
    known: tuple[str, ...]


def _explain(
    error: ValidationError,
    root: type[Section],
    values: Mapping[str, object],
    locate: Callable[[Key], str],
    spell: Callable[[str], str],
) -> list[UserError]:
    """Convert pydantic's errors to one error per key.

    Every member of a union of types raises its own error. If one of them got as far as the items of
    a list, only its errors are reported; otherwise they become one.
    """
    problems: dict[Key, list[_Problem]] = {}
    for detail in error.errors():
        problem = _problem(detail, root, values)
        problems.setdefault(problem.key, []).append(problem)
    mistakes = []
    for key, group in islice(problems.items(), MAX_MISTAKES):
        # The type of a component may be lines below its key.
        location = locate((*key, "type") if group[0].is_component else key)
        # The root itself has no key.
        prefix = f"{spell('.'.join(map(_shortened, key)))}: " if key else ""
        about_items = [[problem] for problem in group if problem.items]
        for same in about_items or [group]:
            mistakes.append(UserError(prefix + _message(same), location))
    if len(problems) > MAX_MISTAKES:
        mistakes.append(
            UserError(f"and {len(problems) - MAX_MISTAKES:,} more mistakes", locate(()))
        )
    return mistakes


def _problem(detail: ErrorDetails, root: type[Section], given: object) -> _Problem:
    """Follow the location of an error through the schema and the given values."""
    moved = detail.get("ctx", {}).get("key")  # set by `error_at`
    location = tuple(moved.split(".")) if moved else detail["loc"]
    section: type[Section] | None = root
    known: tuple[str, ...] = ()
    component = None
    keys: list[str] = []
    depth = 0
    # Below a value, pydantic appends the member of a union that it tried, "constrained-int" for
    # example. Below a component, the location contains the option.
    while depth < len(location) and (section is not None or component is not None):
        part = location[depth]
        depth += 1
        if section is not None and isinstance(part, int):
            # An item of a list of sections, or the only one, given without a list.
            if isinstance(given, list):
                keys.append(str(part))
                given = given[part]
            continue
        if section is None:
            component = None
        else:
            if issubclass(section, PathSection) and not isinstance(given, Mapping):
                break  # the file name that stands for the section
            known = tuple(section.model_fields)
            info = section.model_fields.get(str(part))
            component = component_of(info) if info else None
            section = section_of(info) if info else None
        keys.append(str(part))
        given = given.get(part) if isinstance(given, Mapping) else None
    items = tuple(part for part in location[depth:] if isinstance(part, int))
    return _Problem(detail, tuple(keys), component is not None, items, known)


# Kinds of values in the words of YAML, by pydantic's error about another one.
EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text (put it in quotes)",
    "list_type": "a list",
    "model_type": "a section of keys",
    "path_type": "a file name",
    "is_instance_of": "a file name",
}


def _message(group: list[_Problem]) -> str:
    """Return the message about one key, from the errors of all types that it may have."""
    bounds, kinds, literals = [], [], []
    for problem in group:
        detail, key = problem.detail, problem.key
        context = detail.get("ctx", {})
        match detail["type"]:
            case "extra_forbidden":
                other = counterpart(key)
                return (
                    f"unknown key; {f'use {other}' if other else suggest(key[-1], problem.known)}"
                )
            case "missing":
                return f"is missing; add {f'a section {key[0]!r}' if len(key) == 1 else 'it'}"
            case "custom":
                return str(context["message"])
            case "value_error":
                return str(context["error"])
            case "greater_than_equal":
                bounds.append(f"at least {bound_text(context['ge'])}")
            case "greater_than":
                bounds.append(f"greater than {bound_text(context['gt'])}")
            case "too_short":
                kinds.append(f"a list of at least {context['min_length']}")
            case "less_than_equal":
                bounds.append(f"at most {bound_text(context['le'])}")
            case "less_than":
                bounds.append(f"less than {bound_text(context['lt'])}")
            case "literal_error":
                literals.append(context["expected"])
            case kind:
                kinds.append(EXPECTED.get(kind, detail["msg"]))
    # A number out of range has the right type, so that the other types are of no interest.
    # Two types may have the same bound: a number of updates, and a share of them.
    alternatives = " or ".join(dict.fromkeys([*(bounds or kinds), *literals]))
    given = _shown(group[0].detail["input"])
    if bounds or kinds:
        return f"{'must be' if bounds else 'expected'} {alternatives}, got {given}"
    return f"must be {'one of ' * (' or ' in alternatives)}{alternatives}, got {given}"


def _shown(value: object) -> str:
    """Return a value as it is written in YAML, and only the kind of a mapping."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case Mapping():
            return "a mapping"
        case str():
            return _shortened(repr(str(value)))
        case int() if value.bit_length() > MAX_SHOWN_BITS:  # Python converts 4,300 digits at most
            return f"an integer of {value.bit_length():,} bits"
        case _:
            return _shortened(" ".join(str(value).split()))


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 20]}...{text[-10:]}"
