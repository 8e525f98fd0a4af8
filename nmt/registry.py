"""Families of interchangeable parts, and how a config's choice becomes one of them."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

from nmt.component_spec import ComponentSpec, read_component_specs, spec_of
from nmt.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class ComponentConfig:
    """One pick from a family: `{type: additive, hidden_size: 512}` or just `additive` in YAML."""

    type: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The choice as an experiment file writes it."""
        return {"type": self.type, **self.options}


class Registry(Generic[T]):
    """Every implementation of one part, by the name an experiment file uses.

    Args:
        family: what the parts are, in words: "attention score"
        home: the package or module whose files hold the built-in parts; adding a file adds a part
        constant: the name of this registry, as it stands before `.register` in those files
    """

    def __init__(self, family: str, home: str, constant: str) -> None:
        self.family, self.home, self.constant = family, home, constant
        self._own: dict[str, Callable[..., T]] = {}
        self._described: dict[str, ComponentSpec] = {}
        self._built_in: dict[str, ComponentSpec] | None = None

    def register(self, name: str) -> Callable[[Callable[..., T]], Any]:
        """Add a part under `name`; raises UserError when another part has it already."""

        def add(part: Callable[..., T]) -> Callable[..., T]:
            here = f"{part.__module__}.{part.__qualname__}"
            known = self.specs().get(name)
            if known is not None and f"{known.module}.{known.qualname}" != here:
                raise UserError(
                    f"{self.family} '{name}' is already registered by {known.module}; "
                    "choose another name",
                    part.__module__,
                )
            self._own[name] = part
            if known is None or name in self._described:
                self._described[name] = spec_of(name, part)
            return part

        return add

    def specs(self) -> dict[str, ComponentSpec]:
        """Every part by name, the built-in ones first; reads source files, imports nothing."""
        if self._built_in is None:
            self._built_in = read_component_specs(self.home, self.constant)
        return {**self._built_in, **self._described}

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs())

    def find(self, name: str) -> ComponentSpec:
        """The part called `name`: registered, or importable by a dotted path.

        Raises:
            UserError: with a suggestion and all known names
        """
        known = self.specs()
        if name in known:
            return known[name]
        if "." in name:
            return self._import_dotted(name)
        raise UserError(unknown(name, known, self.family))

    def load(self, name: str) -> Callable[..., T]:
        """The part itself; imports the module that holds it."""
        part = self.find(name)
        if name not in self._own:
            importlib.import_module(part.module)
        return self._own[name]

    def build(self, choice: ComponentConfig, *wired: Any) -> T:
        """The part of this choice, given what the program wires in.

        Raises:
            UserError: when the part refuses these sizes or this combination of options
        """
        try:
            return self.load(choice.type)(*wired, **choice.options)
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"{self.family} '{choice.type}': {error}") from error

    def _import_dotted(self, path: str) -> ComponentSpec:
        module, _, attribute = path.rpartition(".")
        try:
            part = getattr(importlib.import_module(module), attribute)
            if not callable(part):
                raise TypeError("it is neither a class nor a function")
            described = spec_of(path, part)
        except UserError:
            raise
        except Exception as error:  # the module is the user's, and runs whatever stands in it
            raise UserError(
                f"no {self.family} '{path}': {error}; a dotted type is MODULE.CLASS "
                "of an importable module"
            ) from error
        self._own[path], self._described[path] = part, described
        return described


def unknown(name: str, known: Mapping[str, Any] | list[str], kind: str) -> str:
    """The one line about a name that does not exist: what is meant, what there is."""
    close = get_close_matches(name, list(known), n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"no {kind} '{name}'; {hint}known: {', '.join(known) or 'none'}"


ENCODERS: Registry[Any] = Registry("encoder", "nmt.model.encoders", "ENCODERS")
DECODERS: Registry[Any] = Registry("decoder", "nmt.model.decoders", "DECODERS")
MECHANISMS: Registry[Any] = Registry(
    "attention mechanism", "nmt.model.attention.mechanisms", "MECHANISMS"
)
SCORES: Registry[Any] = Registry("attention score", "nmt.model.attention.scores", "SCORES")
OPTIMIZERS: Registry[Any] = Registry("optimizer", "nmt.training.optimizers", "OPTIMIZERS")
SCHEDULES: Registry[Any] = Registry("schedule", "nmt.training.schedules", "SCHEDULES")
LENGTH_PENALTIES: Registry[Any] = Registry(
    "length penalty", "nmt.search.penalties", "LENGTH_PENALTIES"
)
COVERAGE_PENALTIES: Registry[Any] = Registry(
    "coverage penalty", "nmt.search.penalties", "COVERAGE_PENALTIES"
)

FAMILIES: dict[str, Registry[Any]] = {
    "encoder": ENCODERS,
    "decoder": DECODERS,
    "attention": MECHANISMS,
    "score": SCORES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "length_penalty": LENGTH_PENALTIES,
    "coverage_penalty": COVERAGE_PENALTIES,
}
