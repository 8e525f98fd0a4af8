"""Loading of an experiment file: includes, overrides, plugins and validation."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nmt.config.includes import TreeReader, expand_component_names, merge, resolve_paths
from nmt.config.plugins import import_plugin
from nmt.config.schema import Experiment
from nmt.config.special_keys import components
from nmt.config.validation import validate
from nmt.config.yaml_source import Key, Tree, read_value, read_yaml
from nmt.errors import OptionError, UserError, UserErrors

Overrides = Sequence[str] | Mapping[str, object]
"""Texts `section.key=value`, or values by dotted key."""

COMMAND_LINE = "command line"
PYTHON = "overrides"
"""Location of overrides that a Python program gives."""

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
    tree = TreeReader().read(file)
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
    resolve_paths(tree, Path.cwd())
    expand_component_names(tree)
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
    tree = TreeReader().read(file)
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
    resolve_paths(tree, file.parent)
    expand_component_names(tree)
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
    for key, component in components().items():
        value = tree.get(key)
        for one in value if isinstance(value, list) else [value]:
            name = one.get("type") if isinstance(one, dict) else one
            if isinstance(name, str) and "." in name and name not in component.registry.specs():
                module = name.rpartition(".")[0]
                message = f"{'.'.join(key)}: '{name}' imports code; read the module {module}"
                raise untrusted(message, tree, (*key, "type"))


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
    resolve_paths(above, Path.cwd())
    expand_component_names(above)
    parent = key[:-1]
    component = components().get(parent)
    # `model.score.hidden_size=7` without a score in the file is about the default one.
    if component is not None and tree.get(parent) is None:
        tree.put((*parent, "type"), component.default, origin)
    if component is not None and key[-1] == "type" and isinstance(tree.get(parent), dict):
        # Only the type is replaced, so that options of the former type are reported, not lost.
        tree.put(key, above.get(key), origin)
    else:
        merge(tree, above)


def _remaining_option(error: UserError, tree: Tree, origin: str) -> UserError | None:
    """Return the error about an option of a file whose component `KEY.type=NAME` has replaced."""
    for key in components():
        dotted = ".".join(key)
        is_option = error.message.startswith(f"{dotted}.") and error.location != origin
        if is_option and tree.location((*key, "type")) == origin:
            problem, _, _ = error.message.partition("; ")
            name = tree.get((*key, "type"))
            if problem.endswith(f"unknown option of '{name}'"):
                remedy = f"{dotted}.type={name} keeps it; write '{dotted}={{type: {name}}}'"
                return UserError(f"{problem}; {remedy} to replace all options", error.location)
    return None


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
