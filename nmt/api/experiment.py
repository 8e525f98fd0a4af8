"""Experiments that a Python program describes, or reads from a file."""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path, PurePath
from typing import Any, TypeAlias

from pydantic import PrivateAttr

from nmt.config import schema
from nmt.config.loader import PYTHON, LoadedExperiment, load_experiment, load_values
from nmt.config.sections import Section
from nmt.errors import UserError, printable
from nmt.registry import ComponentConfig
from nmt.storage.open_run import to_yaml

Values: TypeAlias = Mapping[str, Any] | Section
"""A section, as a dictionary like that of an experiment file or as a model of the schema."""

Overrides: TypeAlias = Mapping[str, Any] | Sequence[str]
"""Values by dotted key, or one or more texts `section.key=value`."""


class Experiment(schema.Experiment):
    """An experiment: a pydantic model of data, components, training, search and evaluation.

    Its sections are those of an experiment file, and are validated like one. They are dictionaries
    or models of `nmt.config.schema`, such as `TrainingConfig(steps=100)`. Relative paths are
    relative to the current directory. An experiment never changes; `updated` returns another one.

    Args:
        sections: `data` and `training`, and if they are wanted `model`, `search`, `evaluation` and
            `plugins`

    Raises:
        UserErrors: all mistakes, each with the key of its option
    """

    _loaded: LoadedExperiment = PrivateAttr()

    def __init__(self, **sections: Values | Sequence[str | PathLike[str]]) -> None:
        self._adopt(load_values(plain(sections)))

    def _adopt(self, loaded: LoadedExperiment) -> None:
        # The sections are validated; pydantic accepts them as they are.
        super().__init__(**dict(loaded.experiment))
        self._loaded = loaded

    def __eq__(self, other: object) -> bool:
        # The locations of the options, and which of them have been written out, do not count.
        return isinstance(other, schema.Experiment) and self.to_dict() == other.to_dict()

    @classmethod
    def load(cls, file: str | PathLike[str], overrides: Overrides = ()) -> "Experiment":
        """Read an experiment file.

        Args:
            file: the YAML file
            overrides: values by dotted key, such as `{"training.epochs": 3}`, or texts
                `"training.epochs=3"` as on the command line

        Raises:
            UserErrors: all mistakes, each with file and line
        """
        return cls._of(load_experiment(Path(file), list_overrides(overrides), origin=PYTHON))

    @classmethod
    def _of(cls, loaded: LoadedExperiment) -> "Experiment":
        experiment = cls.__new__(cls)
        experiment._adopt(loaded)
        return experiment

    def updated(self, overrides: Overrides) -> "Experiment":
        """Return the experiment with other values; the arguments are those of `load`."""
        values = plain(self._loaded.tree.values)
        return self._of(load_values(values, list_overrides(overrides)))

    @property
    def loaded(self) -> LoadedExperiment:
        """Return the experiment with the locations of its options."""
        return self._loaded

    def to_yaml(self) -> str:
        """Return the experiment as the text of an experiment file, with every option."""
        return to_yaml(self)


Source: TypeAlias = str | PathLike[str] | Mapping[str, Any] | schema.Experiment
"""An experiment: the path of its file, its sections as dictionaries, or a model."""


def load(experiment: Source, overrides: Overrides = ()) -> LoadedExperiment:
    """Return an experiment with the locations of its options, after laying overrides over it.

    Raises:
        UserErrors: all mistakes
    """
    match experiment:
        case str() | PathLike():
            return Experiment.load(experiment, overrides).loaded
        case Experiment() if not overrides:
            return experiment.loaded
        case Experiment():
            return experiment.updated(overrides).loaded
        case schema.Experiment():
            return load_values(plain(dict(experiment)), list_overrides(overrides))
        case Mapping():
            return load_values(plain(experiment), list_overrides(overrides))
    kind = type(experiment).__name__
    raise UserError(f"expected the path of an experiment file, a dictionary or a model, got {kind}")


def list_overrides(overrides: object) -> Overrides:
    """Return overrides as plain data, and a single text as a list.

    Raises:
        UserError: they are neither a dictionary with keys of text nor texts
    """
    if isinstance(overrides, str):
        return [overrides]
    for item in overrides if isinstance(overrides, Iterable) else [overrides]:
        if not isinstance(item, str):
            raise UserError(
                "overrides: expected a dictionary such as {'training.epochs': 3}, or texts such as "
                f"'training.epochs=3', got {printable(repr(item))}"
            )
    listed: Overrides = plain(overrides)
    return listed


def plain(value: Any) -> Any:
    """Return a value as plain data of YAML: models as the dictionaries of their given options."""
    match value:
        case Section():
            return value.model_dump(mode="json", exclude_unset=True)
        case ComponentConfig():
            return plain(value.to_dict())
        case Mapping():
            return {name: plain(one) for name, one in value.items()}
        case PurePath():
            return str(value)
        case list() | tuple():
            return [plain(one) for one in value]
    return value
