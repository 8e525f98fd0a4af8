"""Loading of an experiment file: includes, overrides, plugins and validation."""

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import AliasChoices

from nmt.config.schema import Experiment
from nmt.config.validation import Key, component_of, types_of, validate, walk
from nmt.config.yaml_source import Tree, leaves, read_value, read_yaml
from nmt.errors import UserError, UserErrors

COMMAND_LINE = "command line"


@dataclass(frozen=True)
class LoadedExperiment:
    """An experiment with the locations of its keys."""

    experiment: Experiment
    tree: Tree

    def error(self, key: str, message: str) -> UserError:
        """Return an error about a dotted key, at its location."""
        return UserError(f"{key}: {message}", self.tree.location(tuple(key.split("."))))


def load_experiment(file: Path, overrides: Sequence[str] = ()) -> LoadedExperiment:
    """Read, merge and validate an experiment file.

    Args:
        file: YAML file; files under `include:` are read first and overridden by it
        overrides: `section.key=value`, which override all files

    Raises:
        UserErrors: all mistakes, each with file and line
    """
    tree, mistakes = _read(file, overrides)
    # Before validation, because plugins extend the components that are valid.
    _import_plugins(tree)
    try:
        experiment = validate(Experiment, tree.values, tree.location)
    except UserErrors as errors:
        mistakes += errors.errors
    if mistakes:
        raise UserErrors(sorted(mistakes, key=_file_and_line))
    return LoadedExperiment(experiment, tree)


def import_plugins(file: Path, overrides: Sequence[str] = ()) -> None:
    """Import the plugins of an experiment file, which need not be valid otherwise."""
    tree, mistakes = _read(file, overrides)
    if mistakes:
        raise UserErrors(mistakes)
    _import_plugins(tree)


def load_resolved(file: Path) -> Experiment:
    """Load the `config.yaml` of a run, which contains every option."""
    return load_experiment(file).experiment


# The schema is walked once; the loader needs these keys for every file and every override.
@cache
def _path_keys() -> tuple[Key, ...]:
    """Return the keys of file names."""
    return tuple(key for key, info in walk(Experiment) if Path in types_of(info.annotation))


@cache
def _component_defaults() -> dict[Key, str]:
    """Return the keys of components, each with the type of its default."""
    found = ((key, component_of(info)) for key, info in walk(Experiment))
    return {key: component.default for key, component in found if component}


@cache
def _spellings() -> list[list[Key]]:
    """Return the spellings of every key that has several."""
    return [
        [(*key[:-1], str(name)) for name in info.validation_alias.choices]
        for key, info in walk(Experiment)
        if isinstance(info.validation_alias, AliasChoices)
    ]


def _read(file: Path, overrides: Sequence[str]) -> tuple[Tree, list[UserError]]:
    """Read a file with its includes and apply the overrides; return the mistakes in these."""
    tree = _read_with_includes(file, ())
    return tree, [error for text in overrides if (error := _override(tree, text))]


def _read_with_includes(file: Path, parents: tuple[Path, ...]) -> Tree:
    """Read a file over its includes; `parents` are the files that include it."""
    file_tree = read_yaml(file)
    location = file_tree.location(("include",))
    # Two files may include the same third one; only a file among its own parents is an error.
    if file.resolve() in parents:
        raise UserError("includes itself; remove the include", location)
    # Not a key of the experiment, and therefore unknown to the schema.
    include = file_tree.values.pop("include", [])
    file_tree.locations.pop(("include",), None)
    items = include if isinstance(include, list) else [include]
    names = [name for name in items if isinstance(name, str)]
    if len(names) < len(items):
        raise UserError("include: expected a file name or a list of file names", location)
    # Before merging, because afterwards the folder of each path is unknown.
    _resolve_paths(file_tree, file.parent)
    _expand_component_names(file_tree)
    tree = Tree()
    for included in [file.parent / name for name in names]:
        if not included.exists():
            raise UserError(f"include: not found: {included}", location)
        _merge(tree, _read_with_includes(included, (*parents, file.resolve())))
    _merge(tree, file_tree)
    return tree


def _merge(below: Tree, above: Tree) -> None:
    """Lay `above` over `below` key by key.

    A component of another type replaces the whole component. One of the same type, or without a
    type, keeps the options that `above` leaves out.
    """
    for key in _component_defaults():
        component, replaced = above.get(key), below.get(key)
        if None not in (component, replaced) and not _same_type(component, replaced):
            below.drop(key)
    # A key replaces its other spellings; both in one file are an error of the section.
    for spellings in _spellings():
        if any(above.get(key) is not None for key in spellings):
            for key in spellings:
                below.drop(key)
    for key, value in leaves(above.values):
        if value != {} or below.get(key) is None:  # an empty section replaces nothing
            below.put(key, value, above.location(key))
    below.locations.update(above.locations)


def _same_type(component: object, replaced: object) -> bool:
    if not isinstance(component, dict) or not isinstance(replaced, dict):
        return False
    return bool(component.get("type", replaced.get("type")) == replaced.get("type"))


def _expand_component_names(tree: Tree) -> None:
    """Rewrite the shorthand `NAME` of a component as `{type: NAME}`, which can be merged."""
    for key in _component_defaults():
        name = tree.get(key)
        if isinstance(name, str):
            tree.put((*key, "type"), name, tree.location(key))


def _override(tree: Tree, text: str) -> UserError | None:
    """Apply one `section.key=value`; return its mistake."""
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
    _expand_component_names(above)
    parent = key[:-1]
    default = _component_defaults().get(parent)
    # `model.score.hidden_size=7` without a score in the file is about the default one.
    if default is not None and tree.get(parent) is None:
        tree.put((*parent, "type"), default, COMMAND_LINE)
    if default is not None and key[-1] == "type" and isinstance(tree.get(parent), dict):
        # Only the type is replaced, so that options of the former type are reported, not lost.
        tree.put(key, above.get(key), COMMAND_LINE)
    else:
        _merge(tree, above)
    return None


def _resolve_paths(tree: Tree, folder: Path) -> None:
    """Convert file names to paths relative to the folder of the file that contains them."""
    for key in _path_keys():
        value = tree.get(key)
        if isinstance(value, str):
            tree.put(key, _path(value, folder), tree.location(key))
        elif isinstance(value, list):
            paths = [_path(item, folder) if isinstance(item, str) else item for item in value]
            tree.put(key, paths, tree.location(key))


def _path(text: str, folder: Path) -> Path:
    return (folder / Path(text).expanduser()).absolute()


def _import_plugins(tree: Tree) -> None:
    """Run the user's Python files, which register their components."""
    files = tree.get(("plugins",))
    for file in files if isinstance(files, list) else []:
        _import_plugin(file, tree.location(("plugins",)))


def _import_plugin(file: object, location: str) -> None:
    if not isinstance(file, Path) or not file.is_file():
        raise UserError(f"plugins: not found: {file}", location)
    # The prefix keeps a plugin from replacing a module of the same name.
    name = f"nmt_plugin_{file.stem}"
    if getattr(sys.modules.get(name), "__file__", None) == str(file):
        return
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UserError(f"plugins: {file} is not a Python file; its name must end in .py", location)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before execution, as `import` does, for pickle and dataclasses
    try:
        spec.loader.exec_module(module)
    except UserError:
        raise
    except Exception as error:  # the file is the user's and may raise anything
        del sys.modules[name]
        message = f"plugins: {file} fails: {type(error).__name__}: {error}"
        raise UserError(message, location) from error


def _file_and_line(error: UserError) -> tuple[str, int]:
    file, _, line = error.location.rpartition(":")
    # As a number, so that line 9 comes before line 10.
    return (file, int(line)) if line.isdecimal() else (error.location, 0)
