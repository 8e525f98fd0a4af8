"""Loading of an experiment file: includes, overrides, plugins and validation."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices

from nmt.config.component_fields import Component, component_of
from nmt.config.plugins import import_plugin
from nmt.config.schema import Experiment
from nmt.config.sections import path_field, types_of, walk
from nmt.config.validation import validate
from nmt.config.yaml_source import Key, Tree, leaves, read_value, read_yaml
from nmt.errors import OptionError, UserError, UserErrors
from nmt.files import exists, resolve

Overrides = Sequence[str] | Mapping[str, object]
"""Texts `section.key=value`, or values by dotted key."""

COMMAND_LINE = "command line"
PYTHON = "overrides"
"""Location of overrides that a Python program gives."""

INCLUDED_SUFFIXES = (".yaml", ".yml", ".json")
# An included file may be included again by another one, which counts twice.
MAX_INCLUDES = 100
MAX_INCLUDE_DEPTH = 20
MAX_KEY_DEPTH = 10
MAX_NAMED_PLUGINS = 5

TrustedCode = Literal["none", "registered", "all"]
"""Code that the configuration of a run may use: none; components that are registered already; or
also plugins and dotted types."""


@dataclass(frozen=True)
class LoadedExperiment:
    """An experiment with the locations of its keys."""

    experiment: Experiment
    tree: Tree

    def error(self, key: str, message: str) -> UserError:
        """Return an error about a dotted key, at its location."""
        return UserError(f"{key}: {message}", self.tree.location(tuple(key.split("."))))

    @contextmanager
    def located(self) -> Iterator[None]:
        """Add the location of the option to an error about one that is raised inside the block."""
        try:
            yield
        except OptionError as error:
            raise self.error(error.location, error.message) from error


def load_experiment(
    file: Path, overrides: Overrides = (), *, origin: str = COMMAND_LINE
) -> LoadedExperiment:
    """Read, merge and validate an experiment file.

    Args:
        file: YAML file; files under `include:` are read first and overridden by it
        overrides: override all files
        origin: location of the overrides in errors

    Raises:
        UserErrors: all mistakes, each with file and line
    """
    tree = _Reader().read(file)
    return _validate(tree, _apply(tree, overrides, origin), origin)


def load_values(values: Mapping[str, object], overrides: Overrides = ()) -> LoadedExperiment:
    """Validate the experiment that a Python program describes, as a file would contain it.

    Args:
        values: plain data by section; relative paths are relative to the current directory
        overrides: override the values

    Raises:
        UserErrors: all mistakes, each with its key
    """
    tree = Tree(dict(values))
    _resolve_paths(tree, Path.cwd())
    _expand_component_names(tree)
    return _validate(tree, _apply(tree, overrides, PYTHON), PYTHON)


def _validate(tree: Tree, mistakes: list[UserError], origin: str) -> LoadedExperiment:
    # Before validation, because plugins extend the components that are valid.
    _import_plugins(tree)
    try:
        experiment = validate(Experiment, tree.values, tree.location)
    except UserErrors as errors:
        mistakes += [_remaining_option(error, tree, origin) or error for error in errors.errors]
    if mistakes:
        raise UserErrors(sorted(mistakes, key=_file_and_line))
    return LoadedExperiment(experiment, tree)


def import_plugins(file: Path, overrides: Sequence[str] = ()) -> None:
    """Import the plugins of an experiment file, which need not be valid otherwise."""
    tree = _Reader().read(file)
    if mistakes := _apply(tree, overrides, COMMAND_LINE):
        raise UserErrors(mistakes)
    _import_plugins(tree)


def load_resolved(
    file: Path,
    trusted: TrustedCode = "none",
    plugins: Sequence[Path] | None = None,
    text: str | None = None,
) -> Experiment:
    """Load the `config.yaml` of a run, which contains every option.

    It is data from a source that may be unknown, so by default nothing that it names is read or
    imported.

    Args:
        file: the file
        trusted: code that it may use
        plugins: copies of the plugins that it names, which take their place; None without copies
        text: content of the file, if it is known already

    Raises:
        UserError: if it would include another file or use code that is not trusted
    """
    tree = read_yaml(file, text)
    if "include" in tree.values:
        raise UserError(
            "include: the configuration of a run contains all options; remove the include",
            tree.location(("include",)),
        )
    _resolve_paths(tree, file.parent)
    _expand_component_names(tree)
    if trusted == "none" and tree.get(("plugins",)) not in (None, []):
        named = tree.get(("plugins",))
        files: Sequence[object] = plugins or (named if isinstance(named, list) else [named])
        names = ", ".join(map(str, files[:MAX_NAMED_PLUGINS]))
        raise untrusted(f"plugins: the run contains code; read {names}", tree, ("plugins",))
    if trusted != "all":
        _refuse_dotted_types(tree)
    else:
        if plugins is not None:
            tree.values["plugins"] = list(plugins)
        _import_plugins(tree)
    return validate(Experiment, tree.values, tree.location)


class UntrustedCodeError(UserError):
    """A run that requires code of unknown origin."""


def untrusted(message: str, tree: Tree, key: Key) -> UntrustedCodeError:
    """Return the error about a key that would run code of unknown origin."""
    return UntrustedCodeError(
        f"{message}; if you trust it, add --trust-plugins (Python: trust_plugins=True)",
        tree.location(key),
    )


def _refuse_dotted_types(tree: Tree) -> None:
    for key, component in _components().items():
        value = tree.get(key)
        for one in value if isinstance(value, list) else [value]:
            name = one.get("type") if isinstance(one, dict) else one
            if isinstance(name, str) and "." in name and name not in component.registry.specs():
                module = name.rpartition(".")[0]
                message = f"{'.'.join(key)}: '{name}' imports code; read the module {module}"
                raise untrusted(message, tree, (*key, "type"))


# The schema is walked once; the loader needs these keys for every file and every override.
@cache
def _path_keys() -> tuple[Key, ...]:
    """Return the keys of file names."""
    return tuple(
        key
        for key, info in walk(Experiment)
        if Path in types_of(info.annotation) or path_field(info)
    )


@cache
def _path_sections() -> dict[Key, str]:
    """Return the keys of sections that a file name may replace, each with the option it is."""
    found = ((key, path_field(info)) for key, info in walk(Experiment))
    return {key: field for key, field in found if field}


@cache
def _components() -> dict[Key, Component]:
    """Return the keys of components, each with its family and default."""
    found = ((key, component_of(info)) for key, info in walk(Experiment))
    return {key: component for key, component in found if component}


@cache
def _spellings() -> list[list[Key]]:
    """Return the spellings of every key that has several."""
    return [
        [(*key[:-1], str(name)) for name in info.validation_alias.choices]
        for key, info in walk(Experiment)
        if isinstance(info.validation_alias, AliasChoices)
    ]


class _Reader:
    """Reader of one experiment file and of its includes, whose number is limited."""

    def __init__(self) -> None:
        self.includes = 0

    def read(self, file: Path, parents: tuple[Path, ...] = ()) -> Tree:
        """Read a file over its includes; `parents` are the files that include it."""
        file_tree = read_yaml(file)
        location = file_tree.location(("include",))
        # Two files may include the same third one; only a file among its own parents is an error.
        resolved = resolve(file)
        if resolved in parents:
            raise UserError("includes itself; remove the include", location)
        if parents and file_tree.values:
            _check_included(file, file_tree)
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
        for name in names:
            included = self._find(file.parent / name, location, depth=len(parents) + 1)
            _merge(tree, self.read(included, (*parents, resolved)))
        _merge(tree, file_tree)
        return tree

    def _find(self, included: Path, location: str, *, depth: int) -> Path:
        """Return the path of an included file, after checking its name and the limits."""
        self.includes += 1
        if self.includes > MAX_INCLUDES or depth > MAX_INCLUDE_DEPTH:
            limit = (
                f"{MAX_INCLUDE_DEPTH} files deep"
                if depth > MAX_INCLUDE_DEPTH
                else f"{MAX_INCLUDES} files"
            )
            raise UserError(f"include: more than {limit}; merge some of them", location)
        # A file of another kind would be quoted by the errors about its content.
        if included.suffix not in INCLUDED_SUFFIXES:
            kinds = " or ".join(INCLUDED_SUFFIXES)
            raise UserError(f"include: {included} must be a file ending in {kinds}", location)
        try:
            if not exists(included):
                raise UserError(f"not found: {included}")
        except UserError as error:
            raise UserError(f"include: {error}", location) from None
        return included


def _check_included(file: Path, tree: Tree) -> None:
    """Raise UserError for a file that is no experiment file, without quoting it."""
    known = {*Experiment.model_fields, "include"}
    if not known & tree.values.keys():
        sections = ", ".join(Experiment.model_fields)
        raise UserError(f"included, but has none of the sections {sections}", str(file))


def _merge(below: Tree, above: Tree) -> None:
    """Lay `above` over `below` key by key.

    A component of another type replaces the whole component. One of the same type, or without a
    type, keeps the options that `above` leaves out.
    """
    for key in _components():
        component, replaced = above.get(key), below.get(key)
        if None not in (component, replaced) and not _same_type(component, replaced):
            below.drop(key)
    for key, field in _path_sections().items():
        path = below.get(key)
        if isinstance(above.get(key), dict) and isinstance(path, Path):
            below.put(key, {field: path}, below.location(key))
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
    for key in _components():
        name = tree.get(key)
        if isinstance(name, str):
            tree.put((*key, "type"), name, tree.location(key))


def _apply(tree: Tree, overrides: Overrides, origin: str) -> list[UserError]:
    """Apply overrides in their order; return their mistakes."""
    mistakes = []
    for item in overrides.items() if isinstance(overrides, Mapping) else overrides:
        try:
            dotted, value = _parse_override(item, origin) if isinstance(item, str) else item
            _override(tree, dotted, value, origin)
        except UserError as error:
            mistakes.append(error)
    return mistakes


def _parse_override(text: str, origin: str) -> tuple[str, object]:
    """Return the dotted key and the value of `section.key=value`."""
    dotted, equals, value = text.partition("=")
    if not equals or not dotted.strip():
        raise UserError(f"'{text}' is not an override; write section.key=value", origin)
    return dotted, read_value(value, origin)


def _override(tree: Tree, dotted: str, value: object, origin: str) -> None:
    """Lay one value over a tree."""
    above = Tree()
    key: Key = tuple(dotted.strip().replace("-", "_").split("."))
    if len(key) > MAX_KEY_DEPTH:
        raise UserError(f"{dotted[:60]}...: unknown key", origin)
    above.put(key, value, origin)
    _resolve_paths(above, Path.cwd())
    _expand_component_names(above)
    parent = key[:-1]
    component = _components().get(parent)
    # `model.score.hidden_size=7` without a score in the file is about the default one.
    if component is not None and tree.get(parent) is None:
        tree.put((*parent, "type"), component.default, origin)
    if component is not None and key[-1] == "type" and isinstance(tree.get(parent), dict):
        # Only the type is replaced, so that options of the former type are reported, not lost.
        tree.put(key, above.get(key), origin)
    else:
        _merge(tree, above)


def _remaining_option(error: UserError, tree: Tree, origin: str) -> UserError | None:
    """Return the error about an option of a file whose component `KEY.type=NAME` has replaced."""
    for key in _components():
        dotted = ".".join(key)
        is_option = error.message.startswith(f"{dotted}.") and error.location != origin
        if is_option and tree.location((*key, "type")) == origin:
            problem, _, _ = error.message.partition("; ")
            name = tree.get((*key, "type"))
            if problem.endswith(f"unknown option of '{name}'"):
                remedy = f"{dotted}.type={name} keeps it; write '{dotted}={{type: {name}}}'"
                return UserError(f"{problem}; {remedy} to replace all options", error.location)
    return None


def _resolve_paths(tree: Tree, folder: Path) -> None:
    """Convert file names to paths relative to the folder of the file that contains them."""
    for key in _path_keys():
        value = tree.get(key)
        if isinstance(value, str):
            tree.put(key, _path(value, folder), tree.location(key))
        elif isinstance(value, list):
            field = _path_sections().get(key, "")
            paths = [_resolved_item(item, folder, field) for item in value]
            tree.put(key, paths, tree.location(key))


def _resolved_item(item: object, folder: Path, field: str) -> object:
    """Convert a file name in a list, or in a section of a list."""
    if isinstance(item, str):
        return _path(item, folder)
    if isinstance(item, dict) and isinstance(item.get(field), str):
        return item | {field: _path(item[field], folder)}
    return item


def _path(text: str, folder: Path) -> Path:
    path = Path(text)
    with suppress(RuntimeError):  # `~name` without such a user is a name like any other
        path = path.expanduser()
    return (folder / path).absolute()


def _import_plugins(tree: Tree) -> None:
    """Run the user's Python files, which register their components."""
    files, location = tree.get(("plugins",)), tree.location(("plugins",))
    names = set()
    for file in files if isinstance(files, list) else []:
        if not isinstance(file, Path):
            raise UserError(f"plugins: not found: {file}", location)
        # A run keeps copies of its plugins, by their names.
        if file.name in names:
            raise UserError(f"plugins: two files are named {file.name}; rename one", location)
        names.add(file.name)
        import_plugin(file, location)


def _file_and_line(error: UserError) -> tuple[str, int]:
    file, _, line = error.location.rpartition(":")
    # As a number, so that line 9 comes before line 10.
    return (file, int(line)) if line.isdecimal() else (error.location, 0)
