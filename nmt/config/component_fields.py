"""Fields that configure components, validated by the specifications of a registry."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    create_model,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import (
    no_info_plain_validator_function,
    plain_serializer_function_ser_schema,
)

from nmt.component_spec import REQUIRED, ComponentSpec
from nmt.config.value_errors import custom_error, shown
from nmt.errors import printable, suggest
from nmt.registry import AnyRegistry, ComponentConfig

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


def component_of(info: FieldInfo) -> Component | None:
    """Return the annotation of a field that configures a component."""
    return next((data for data in info.metadata if isinstance(data, Component)), None)


def _below(detail: ErrorDetails, name: str) -> InitErrorDetails:
    """Return an error with the name of a component in front of its option."""
    kind: str | PydanticCustomError = detail["type"]
    if kind == "custom":
        kind = custom_error(str(detail["ctx"]["message"]))
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
    raise ValueError(f"expected NAME or {{type: NAME, option: value}}, got {shown(value)}")


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
        kind = custom_error(f"unknown option of '{spec.name}'; {hint}")
    return InitErrorDetails(
        type=kind, loc=detail["loc"], input=detail["input"], ctx=detail.get("ctx", {})
    )


def _json_schema(spec: ComponentSpec) -> JsonSchemaValue:
    schema = options_model(spec).model_json_schema()
    properties = schema.get("properties", {})  # missing for a component without options
    for name, option in spec.options.items():
        properties[name]["description"] = option.help
    # Another file may contain the type and the required options; see `json_schema`.
    schema.pop("required", None)
    typed = {"type": {"const": spec.name, "description": spec.summary}, **properties}
    return {**schema, "properties": typed, "description": spec.summary}
