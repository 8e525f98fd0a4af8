"""From an experiment file to an experiment, or to everything that is wrong with it at once."""

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nmt.config.fields import part_registries, path_keys
from nmt.config.schema import Experiment
from nmt.config.validation import check_parts, explain
from nmt.config.yaml_source import Key, Tree, leaves, read_value, read_yaml
from nmt.errors import UserError, UserErrors

COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Loaded:
    """An experiment, and where its keys were written."""

    experiment: Experiment
    tree: Tree

    def error(self, key: str, message: str) -> UserError:
        """A mistake found later, at the place of a dotted key."""
        return UserError(f"{key}: {message}", self.tree.place(tuple(key.split("."))))


def load_experiment(file: Path, overrides: Sequence[str] = ()) -> Loaded:
    """Read, merge and check an experiment file.

    Args:
        file: the YAML file; its `include:` files are read first and overridden by it
        overrides: `section.key=value`, the strongest

    Raises:
        UserErrors: every mistake, each with file and line
    """
    tree = _read_with_includes(file, ())
    mistakes = [error for text in overrides if (error := _override(tree, text))]
    plugins = tree.values.get("plugins")
    for plugin in plugins if isinstance(plugins, list) else []:
        _import_plugin(plugin, tree.place(("plugins",)))
    values, found = check_parts(tree)
    mistakes += found
    try:
        experiment = Experiment.model_validate(values, strict=True)
    except ValidationError as error:
        mistakes += explain(error, tree, Experiment)
    if mistakes:
        raise UserErrors(sorted(mistakes, key=_by_place))
    return Loaded(experiment, tree)


def load_resolved(file: Path) -> Experiment:
    """The experiment of a run's `config.yaml`, which holds every option."""
    return load_experiment(file).experiment


def _read_with_includes(file: Path, parents: tuple[Path, ...]) -> Tree:
    file_tree = read_yaml(file)
    if file.resolve() in parents:
        raise UserError("includes itself; remove the include", file_tree.place(("include",)))
    include = file_tree.values.pop("include", [])
    place = file_tree.places.pop(("include",), str(file))
    names = [include] if isinstance(include, str) else include
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError("include: a file name or a list of them", place)
    _resolve_paths(file_tree, file.parent)
    _name_types(file_tree)
    tree = Tree()
    for name in names:
        included = file.parent / name
        if not included.exists():
            raise UserError(f"include: no file {included}", place)
        _merge(tree, _read_with_includes(included, (*parents, file.resolve())))
    _merge(tree, file_tree)
    return tree


def _merge(below: Tree, above: Tree) -> None:
    """Lay `above` over `below`, key by key; a part of another type replaces the part whole.

    A part of the same type, named alone or with options, keeps the options that `above` leaves out.
    """
    for key in part_registries():
        choice, old = above.get(key), below.get(key)
        if choice is not None and old is not None and not _goes_on(choice, old):
            below.drop(key)
    for key, value in leaves(above.values):
        if value != {} or below.get(key) is None:
            below.put(key, value, above.place(key))
    below.places.update(above.places)


def _goes_on(choice: Any, old: Any) -> bool:
    """Whether a choice is of the type of the one below it."""
    both = isinstance(choice, dict) and isinstance(old, dict)
    return both and choice.get("type", old.get("type")) == old.get("type")


def _name_types(tree: Tree) -> None:
    """Write a part that is only named as `{type: NAME}`, which can be laid over others."""
    for key in part_registries():
        name = tree.get(key)
        if isinstance(name, str):
            tree.put((*key, "type"), name, tree.place(key))


def _override(tree: Tree, text: str) -> UserError | None:
    dotted, equals, value = text.partition("=")
    if not equals or not dotted.strip():
        return UserError(f"'{text}' is not an override; write section.key=value", COMMAND_LINE)
    above = Tree()
    key: Key = tuple(dotted.strip().replace("-", "_").split("."))
    try:
        above.put(key, read_value(value, COMMAND_LINE), COMMAND_LINE)
    except UserError as error:
        return error
    _resolve_paths(above, Path.cwd())
    _name_types(above)
    for part, registry in part_registries().items():
        if key[: len(part)] == part and len(key) > len(part) and tree.get(part) is None:
            tree.put((*part, "type"), registry.default, COMMAND_LINE)
    if key[:-1] in part_registries() and key[-1] == "type" and isinstance(tree.get(key[:-1]), dict):
        tree.put(key, above.get(key), COMMAND_LINE)  # options stay, to be checked against the type
    else:
        _merge(tree, above)
    return None


def _resolve_paths(tree: Tree, folder: Path) -> None:
    """Make paths of the text at path keys, starting at the folder of the file that holds them."""
    for key in path_keys():
        value = tree.get(key)
        if isinstance(value, str):
            tree.put(key, _path(value, folder), tree.place(key))
        elif isinstance(value, list):
            paths = [_path(item, folder) if isinstance(item, str) else item for item in value]
            tree.put(key, paths, tree.place(key))


def _path(text: str, folder: Path) -> Path:
    return (folder / Path(text).expanduser()).absolute()


def _import_plugin(file: Any, place: str) -> None:
    """Run a user's Python file, so that its parts register themselves."""
    if not isinstance(file, Path) or not file.is_file():
        raise UserError(f"plugins: no file {file}", place)
    name = f"nmt_plugin_{file.stem}"
    if getattr(sys.modules.get(name), "__file__", None) == str(file):
        return
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except UserError:
        raise
    except Exception as error:
        del sys.modules[name]
        raise UserError(f"plugins: {file} fails: {type(error).__name__}: {error}", place) from error


def _by_place(error: UserError) -> tuple[str, int]:
    file, _, line = error.place.rpartition(":")
    return (file, int(line)) if line.isdigit() else (error.place, 0)
