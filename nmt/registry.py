"""Families of interchangeable components, and the construction of the configured one."""

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeAlias, TypeVar

from nmt.component_spec import ComponentSpec, read_component_specs, spec_of
from nmt.errors import UserError, printable, suggest

if TYPE_CHECKING:  # the interfaces import torch, which a configuration error must not
    from torch.optim import Optimizer

    from nmt.model.attention.mechanism import Mechanism
    from nmt.model.attention.score import Score
    from nmt.model.interfaces import AnyDecoder, Encoder
    from nmt.search.scoring import CoveragePenalty, LengthPenalty
    from nmt.training.schedules import Schedule
    from nmt.training.trackers.tracker import Tracker

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class ComponentConfig:
    """Configuration of a component: `{type: additive, hidden_size: 512}` or `additive` in YAML."""

    type: str
    options: Mapping[str, object] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """Return the mapping that an experiment file contains."""
        return {"type": self.type, **self.options}


class Registry(Generic[T]):
    """All implementations of one interface, by the name that an experiment file uses.

    Args:
        family: name of the interface in messages, such as "attention score"
        home: package or module with the built-in components; a new file adds its components
        constant: name of this registry in those files, before `.register`
        interface: MODULE.CLASS that components extend
    """

    def __init__(self, family: str, home: str, constant: str, interface: str) -> None:
        self.family, self.home, self.constant = family, home, constant
        self.interface = interface
        self._imported: dict[str, Callable[..., T]] = {}
        self._plugin_specs: dict[str, ComponentSpec] = {}

    def register(self, name: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Register the decorated class or function under `name`.

        Raises:
            UserError: if another component has this name
        """

        def add(component: Callable[P, T]) -> Callable[P, T]:
            # A built-in component registers itself when its module is imported, which is not a
            # conflict with its specification; neither is a module that is imported again.
            known = self.specs().get(name)
            here = (component.__module__, component.__qualname__)
            if known is not None and (known.module, known.qualname) != here:
                raise UserError(
                    f"{self.family} '{name}' is already registered by {known.module}; "
                    "choose another name"
                )
            self._imported[name] = component
            if name not in self._built_in_specs:
                self._plugin_specs[name] = spec_of(name, component)
            return component

        return add

    def unregister(self, name: str) -> None:
        """Remove a component that a plugin registered."""
        del self._imported[name], self._plugin_specs[name]

    def specs(self) -> dict[str, ComponentSpec]:
        """Return the specifications of all components, without importing the built-in ones."""
        # Built-in components come first in lists and messages.
        return {**self._built_in_specs, **self._plugin_specs}

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs())

    def find(self, name: str) -> ComponentSpec:
        """Return the specification of a registered name or of a dotted path MODULE.CLASS.

        Raises:
            UserError: if it does not exist, with a suggestion and all names
        """
        known = self.specs()
        if name in known:
            return known[name]
        if "." in name and name.replace(".", "").isidentifier():
            return self._import_dotted(name)
        raise UserError(f"unknown {self.family} '{printable(name)}'; {suggest(name, known)}")

    def load(self, name: str) -> Callable[..., T]:
        """Return the class or function, importing its module."""
        spec = self.find(name)
        if name not in self._imported:
            # The decorator in the module puts the component into `_imported`.
            importlib.import_module(spec.module)
        return self._imported[name]

    def build(self, config: ComponentConfig, *injected: object) -> T:
        """Construct the configured component.

        Args:
            config: name and options
            injected: values of the parameters to the left of the bare `*`

        Raises:
            UserError: if the component rejects these sizes or this combination of options
        """
        component = self.load(config.type)
        try:
            inspect.signature(component).bind(*injected, **config.options)
        except TypeError as error:  # a component of the user with other parameters
            raise UserError(f"{self.family} '{config.type}': {error}") from error
        try:
            return component(*injected, **config.options)
        except UserError:
            raise
        except ValueError as error:  # constructors need not know that a user configured them
            raise UserError(f"{self.family} '{config.type}': {error}") from error

    @cached_property
    def _built_in_specs(self) -> dict[str, ComponentSpec]:
        return read_component_specs(self.home, self.constant)

    def _import_dotted(self, path: str) -> ComponentSpec:
        module, _, attribute = path.rpartition(".")
        try:
            component = getattr(importlib.import_module(module), attribute)
            if not self._is_component(component):
                raise TypeError(f"it is no {self.interface.rpartition('.')[2]} of this toolkit")
            spec = spec_of(path, component)
        except (UserError, KeyboardInterrupt):
            raise
        # Importing runs the user's code, which may raise anything, SystemExit included.
        except BaseException as error:
            raise UserError(
                f"{self.family} '{path}' cannot be imported: {error or type(error).__name__}; "
                "a dotted type must be MODULE.CLASS of an importable module"
            ) from error
        # Registered under its path, so that it is imported only once.
        self._imported[path], self._plugin_specs[path] = component, spec
        return spec

    def _is_component(self, component: object) -> bool:
        """Return whether an object is registered, or a class that implements the interface.

        Any other callable would be called with the arguments of a component: `os.kill`.
        """
        if any(component is registered for registered in self._imported.values()):
            return True
        module, _, name = self.interface.rpartition(".")
        interface = getattr(importlib.import_module(module), name)
        is_class = isinstance(component, type) and issubclass(component, interface)
        return is_class and not inspect.isabstract(component)


# Components of different families in one collection.
AnyRegistry: TypeAlias = Registry[Any]


ENCODERS: "Registry[Encoder]" = Registry(
    "encoder", "nmt.model.encoders", "ENCODERS", "nmt.model.interfaces.Encoder"
)
DECODERS: "Registry[AnyDecoder]" = Registry(
    "decoder", "nmt.model.decoders", "DECODERS", "nmt.model.interfaces.Decoder"
)
MECHANISMS: "Registry[Mechanism]" = Registry(
    "attention mechanism",
    "nmt.model.attention.mechanisms",
    "MECHANISMS",
    "nmt.model.attention.mechanism.Mechanism",
)
SCORES: "Registry[Score]" = Registry(
    "attention score", "nmt.model.attention.scores", "SCORES", "nmt.model.attention.score.Score"
)
OPTIMIZERS: "Registry[Optimizer]" = Registry(
    "optimizer", "nmt.training.optimizers", "OPTIMIZERS", "torch.optim.Optimizer"
)
SCHEDULES: "Registry[Schedule]" = Registry(
    "schedule", "nmt.training.schedules", "SCHEDULES", "nmt.training.schedules.Schedule"
)
LENGTH_PENALTIES: "Registry[LengthPenalty]" = Registry(
    "length penalty",
    "nmt.search.scoring",
    "LENGTH_PENALTIES",
    "nmt.search.scoring.LengthPenalty",
)
COVERAGE_PENALTIES: "Registry[CoveragePenalty]" = Registry(
    "coverage penalty",
    "nmt.search.scoring",
    "COVERAGE_PENALTIES",
    "nmt.search.scoring.CoveragePenalty",
)
TRACKERS: "Registry[Tracker]" = Registry(
    "tracker", "nmt.training.trackers", "TRACKERS", "nmt.training.trackers.tracker.Tracker"
)

# By the name that `nmt-train --list FAMILY` takes.
FAMILIES: dict[str, AnyRegistry] = {
    "encoder": ENCODERS,
    "decoder": DECODERS,
    "attention": MECHANISMS,
    "score": SCORES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "length_penalty": LENGTH_PENALTIES,
    "coverage_penalty": COVERAGE_PENALTIES,
    "report": TRACKERS,
}
