"""Reading of an experiment file over the files that it includes."""

from contextlib import suppress
from pathlib import Path

from nmt.config.schema import Experiment
from nmt.config.special_keys import components, path_keys, path_sections, spellings
from nmt.config.yaml_source import Tree, leaves, read_yaml
from nmt.errors import UserError
from nmt.files import exists, resolve

INCLUDED_SUFFIXES = (".yaml", ".yml", ".json")
# An included file may be included again by another one, which counts twice.
MAX_INCLUDES = 100
MAX_INCLUDE_DEPTH = 20


class TreeReader:
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
        resolve_paths(file_tree, file.parent)
        expand_component_names(file_tree)
        tree = Tree()
        for name in names:
            included = self._find(file.parent / name, location, depth=len(parents) + 1)
            merge(tree, self.read(included, (*parents, resolved)))
        merge(tree, file_tree)
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


def merge(below: Tree, above: Tree) -> None:
    """Lay `above` over `below` key by key.

    A component of another type replaces the whole component. One of the same type, or without a
    type, keeps the options that `above` leaves out.
    """
    for key in components():
        component, replaced = above.get(key), below.get(key)
        if None not in (component, replaced) and not _same_type(component, replaced):
            below.drop(key)
    for key, field in path_sections().items():
        path = below.get(key)
        if isinstance(above.get(key), dict) and isinstance(path, Path):
            below.put(key, {field: path}, below.location(key))
    # A key replaces its other spellings; both in one file are an error of the section.
    for keys in spellings():
        if any(above.get(key) is not None for key in keys):
            for key in keys:
                below.drop(key)
    for key, value in leaves(above.values):
        if value != {} or below.get(key) is None:  # an empty section replaces nothing
            below.put(key, value, above.location(key))
    below.locations.update(above.locations)


def _same_type(component: object, replaced: object) -> bool:
    if not isinstance(component, dict) or not isinstance(replaced, dict):
        return False
    return bool(component.get("type", replaced.get("type")) == replaced.get("type"))


def expand_component_names(tree: Tree) -> None:
    """Rewrite the shorthand `NAME` of a component as `{type: NAME}`, which can be merged."""
    for key in components():
        name = tree.get(key)
        if isinstance(name, str):
            tree.put((*key, "type"), name, tree.location(key))


def resolve_paths(tree: Tree, folder: Path) -> None:
    """Convert file names to paths relative to the folder of the file that contains them."""
    for key in path_keys():
        value = tree.get(key)
        if isinstance(value, str):
            tree.put(key, _path(value, folder), tree.location(key))
        elif isinstance(value, list):
            field = path_sections().get(key, "")
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
