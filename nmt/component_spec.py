"""Specification of a component: its name, its options and the arguments that the program injects.

The constructor of a component is its schema. Parameters to the left of the bare `*` are injected by
the program; keyword-only parameters are options of the experiment file. The specification is read
from the source text, so that a file can be checked and `--list` printed without importing torch.
"""

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

# The upper bounds are far above any sensible value. They keep a mistyped or hostile number from
# allocating all memory, from never ending, and from overflowing.
LARGE = 1_000_000
"""Upper bounds from here on only exclude mistakes; lists of options do not show them."""
Positive = Annotated[int, Ge(1), Le(1_000_000_000)]
NonNegative = Annotated[int, Ge(0), Le(1_000_000_000)]
Size = Annotated[int, Ge(1), Le(65_536)]
"""Width of a layer or of vectors."""
Count = Annotated[int, Ge(1), Le(256)]
"""Number of layers, heads or other modules."""
Length = Annotated[int, Ge(1), Le(100_000)]
"""Number of positions or tokens of a sentence."""
Seed = Annotated[int, Ge(0), Lt(1 << 32)]
PositiveFloat = Annotated[float, Gt(0), Le(1_000_000)]
NonNegativeFloat = Annotated[float, Ge(0), Le(1_000_000)]
Exponent = Annotated[float, Ge(0), Le(10)]
Probability = Annotated[float, Ge(0), Lt(1)]

# Annotations of options are evaluated without importing the component's module, so these names,
# built-in types and `|` are all that they may use.
ANNOTATIONS = {
    "Literal": Literal,
    "Positive": Positive,
    "NonNegative": NonNegative,
    "Size": Size,
    "Count": Count,
    "Length": Length,
    "Seed": Seed,
    "PositiveFloat": PositiveFloat,
    "NonNegativeFloat": NonNegativeFloat,
    "Exponent": Exponent,
    "Probability": Probability,
}
REQUIRED: Final = inspect.Parameter.empty
PACKAGE = Path(__file__).parent


def bound_text(bound: object) -> str:
    """Return the bound of a range as text: `1,000,000`, not `1e+06`."""
    assert isinstance(bound, (int, float))
    return f"{bound:,.15g}"


@dataclass(frozen=True)
class Option:
    """An option of a component that an experiment file may set.

    Attributes:
        annotation: type and range, as written in the constructor
        default: value of an option that the file leaves out, or `REQUIRED`
        help: one line from the docstring
    """

    annotation: Any
    default: object
    help: str


@dataclass(frozen=True)
class ComponentSpec:
    """Specification of one component of a family.

    Attributes:
        name: value of `type:` in an experiment file
        module: module that defines the class or function
        qualname: name of the class or function in that module
        summary: first paragraph of the docstring, which names the component and the paper
        injected: names of the parameters to the left of the bare `*` that have no default
        options: options by name, in the order of the constructor
    """

    name: str
    module: str
    qualname: str
    summary: str
    injected: tuple[str, ...]
    options: Mapping[str, Option] = field(hash=False)


def read_component_specs(home: str, constant: str) -> dict[str, ComponentSpec]:
    """Read the specification of every `@constant.register(name)` without importing anything.

    Args:
        home: module, or package whose modules are searched
        constant: name of the registry in these modules
    """
    path = PACKAGE.joinpath(*home.split(".")[1:])
    # Sorted, so that `--list` and the error messages have the same order on every file system.
    files = sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    specs = {}
    for file in files:
        module = f"{home}.{file.stem}" if path.is_dir() else home
        for node in _syntax_tree(file).body:
            name = _registered_name(node, constant)
            if name is not None:
                specs[name] = _spec_from_source(name, module, node)
    return specs


def spec_of(name: str, component: Callable[..., object]) -> ComponentSpec:
    """Return the specification of an imported component, such as one of a plugin."""
    # `get_type_hints` of a class returns its attributes, not the parameters of its constructor.
    constructor = component.__init__ if inspect.isclass(component) else component
    hints = get_type_hints(constructor, include_extras=True)
    parameters = list(inspect.signature(component).parameters.values())
    doc = inspect.getdoc(component)
    option_help = _option_help(doc)
    return ComponentSpec(
        name,
        component.__module__,
        component.__qualname__,
        _summary(doc),
        # A default is that of a base class, which the component passes no value to.
        tuple(
            p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty
        ),
        {
            p.name: Option(hints.get(p.name, object), p.default, option_help.get(p.name, ""))
            for p in parameters
            if p.kind is p.KEYWORD_ONLY
        },
    )


@cache
def _syntax_tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def _registered_name(node: ast.stmt, constant: str) -> str | None:
    """Return NAME of a definition decorated with `@constant.register("NAME")`."""
    for decorator in getattr(node, "decorator_list", []):
        match decorator:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=found), attr="register"),
                args=[ast.Constant(value=str(name))],
            ) if found == constant:
                return name
    return None


def _spec_from_source(name: str, module: str, node: ast.stmt) -> ComponentSpec:
    assert isinstance(node, ast.ClassDef | ast.FunctionDef)
    doc = ast.get_docstring(node)
    option_help = _option_help(doc)
    constructor = _constructor(node, module)
    if constructor is None:
        return ComponentSpec(name, module, node.name, _summary(doc), (), {})
    arguments = constructor.args
    options = {
        argument.arg: Option(
            _evaluate(argument.annotation),
            REQUIRED if default is None else ast.literal_eval(default),
            option_help.get(argument.arg, ""),
        )
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    }
    injected = tuple(a.arg for a in arguments.args if a.arg != "self")
    return ComponentSpec(name, module, node.name, _summary(doc), injected, options)


def _constructor(node: ast.stmt, module: str) -> ast.FunctionDef | None:
    """Return the function itself, or `__init__` of the class or of a base class in this package."""
    if isinstance(node, ast.FunctionDef):
        return node
    assert isinstance(node, ast.ClassDef)
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            return member
    # Without a constructor of its own, a class has that of its first base class which has one.
    for base in node.bases:
        # A generic base class is written `Base[State]`.
        name = base.value if isinstance(base, ast.Subscript) else base
        if isinstance(name, ast.Name):
            for home, definition in _class_definitions(name.id, module):
                return _constructor(definition, home)
    return None


def _class_definitions(name: str, module: str) -> Iterator[tuple[str, ast.ClassDef]]:
    """Yield the module and definition of a class that `module` defines or imports."""
    file = PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
    for node in _syntax_tree(file).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            yield module, node
        if (
            isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("nmt.")
            and any(alias.name == name for alias in node.names)
        ):
            yield from _class_definitions(name, str(node.module))


def _evaluate(annotation: ast.expr | None) -> Any:
    assert annotation is not None, "an option of a component needs an annotation"
    # The text is our own source code, and its names are limited to ANNOTATIONS and built-in types.
    return eval(compile(ast.Expression(annotation), "<annotation>", "eval"), dict(ANNOTATIONS))


def _summary(doc: str | None) -> str:
    """Return the first paragraph of a docstring as one line."""
    return " ".join((doc or "").partition("\n\n")[0].split())


def _option_help(doc: str | None) -> dict[str, str]:
    """Return the text of each entry in the `Args:` section of a docstring."""
    entries: dict[str, str] = {}
    name = ""
    _, _, section = (doc or "").partition("Args:\n")
    for line in section.splitlines():
        indent = len(line) - len(line.lstrip())
        if not line.strip() or indent < 4:  # the end of the section
            break
        if indent == 4 and ":" in line:  # an entry; deeper lines continue it
            name, _, text = line.strip().partition(":")
            entries[name] = text.strip()
        elif name:
            entries[name] += " " + line.strip()
    return entries
