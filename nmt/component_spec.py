"""What a part is: its name, its options and what it asks of the program.

A part's constructor is its schema. Parameters left of the bare `*` are what the program wires in;
parameters right of it are options that an experiment file may set. The description of a part is
read from its source text, so that a config is checked, and `--list` printed, without importing
torch.
"""

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from annotated_types import Ge, Gt, Lt

Positive = Annotated[int, Ge(1)]
NonNegative = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
Probability = Annotated[float, Ge(0), Lt(1)]

# The only names an option's annotation may use: a constructor is read without importing it.
ANNOTATIONS = {
    "Literal": Literal,
    "Positive": Positive,
    "NonNegative": NonNegative,
    "PositiveFloat": PositiveFloat,
    "NonNegativeFloat": NonNegativeFloat,
    "Probability": Probability,
}
REQUIRED: Any = inspect.Parameter.empty
PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class Option:
    """One thing about a part that an experiment file may set."""

    annotation: Any
    default: Any
    help: str


@dataclass(frozen=True)
class ComponentSpec:
    """The description of one part of a family."""

    name: str
    module: str
    qualname: str
    summary: str
    injected: tuple[str, ...]
    options: Mapping[str, Option]

    @property
    def defaults(self) -> dict[str, Any]:
        return {k: o.default for k, o in self.options.items() if o.default is not REQUIRED}


def read_component_specs(home: str, constant: str) -> dict[str, ComponentSpec]:
    """Describe every `@constant.register(name)` in module or package `home`, nothing imported."""
    place = PACKAGE.joinpath(*home.split(".")[1:])
    files = sorted(place.glob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    found = {}
    for file in files:
        module = f"{home}.{file.stem}" if place.is_dir() else home
        for node in _tree(file).body:
            name = _registered_name(node, constant)
            if name is not None:
                found[name] = _from_source(name, module, node)
    return found


def spec_of(name: str, part: Callable[..., Any]) -> ComponentSpec:
    """Describe a part that is already imported, such as a user's own."""
    constructor = part.__init__ if inspect.isclass(part) else part
    hints = get_type_hints(constructor, include_extras=True)
    parameters = list(inspect.signature(part).parameters.values())
    meanings = _meanings(inspect.getdoc(part))
    return ComponentSpec(
        name,
        part.__module__,
        part.__qualname__,
        _summary(inspect.getdoc(part)),
        tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD),
        {
            p.name: Option(hints.get(p.name, Any), p.default, meanings.get(p.name, ""))
            for p in parameters
            if p.kind is p.KEYWORD_ONLY
        },
    )


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def _registered_name(node: ast.stmt, constant: str) -> str | None:
    for decorator in getattr(node, "decorator_list", []):
        match decorator:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=found), attr="register"),
                args=[ast.Constant(value=str(name))],
            ) if found == constant:
                return name
    return None


def _from_source(name: str, module: str, node: ast.stmt) -> ComponentSpec:
    assert isinstance(node, ast.ClassDef | ast.FunctionDef)
    doc = ast.get_docstring(node)
    meanings = _meanings(doc)
    constructor = _constructor(node, module)
    if constructor is None:
        return ComponentSpec(name, module, node.name, _summary(doc), (), {})
    arguments = constructor.args
    options = {
        argument.arg: Option(
            _annotation(argument.annotation),
            REQUIRED if default is None else ast.literal_eval(default),
            meanings.get(argument.arg, ""),
        )
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    }
    wired = tuple(a.arg for a in arguments.args if a.arg != "self")
    return ComponentSpec(name, module, node.name, _summary(doc), wired, options)


def _constructor(node: ast.stmt, module: str) -> ast.FunctionDef | None:
    """The function whose signature is the schema; base classes of this package are searched too."""
    if isinstance(node, ast.FunctionDef):
        return node
    assert isinstance(node, ast.ClassDef)
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            return member
    for base in node.bases:
        if isinstance(base, ast.Name):
            for home, definition in _definitions(base.id, module):
                return _constructor(definition, home)
    return None


def _definitions(name: str, module: str) -> Iterator[tuple[str, ast.ClassDef]]:
    """Where class `name`, as seen from `module`, is written: there or where it is imported from."""
    file = PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
    for node in _tree(file).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            yield module, node
        if (
            isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("nmt.")
            and any(alias.name == name for alias in node.names)
        ):
            yield from _definitions(name, str(node.module))


def _annotation(node: ast.expr | None) -> Any:
    assert node is not None, "an option of a part needs an annotation"
    return eval(compile(ast.Expression(node), "<annotation>", "eval"), dict(ANNOTATIONS))


def _summary(doc: str | None) -> str:
    """The docstring up to its `Args:`, as one line of text."""
    lines = (doc or "").partition("Args:")[0].split("\n\n")
    return " ".join(" ".join(lines).split())


def _meanings(doc: str | None) -> dict[str, str]:
    """Option -> meaning, from the `Args:` section of a docstring."""
    found: dict[str, str] = {}
    name = ""
    _, _, section = (doc or "").partition("Args:\n")
    for line in section.splitlines():
        indent = len(line) - len(line.lstrip())
        if not line.strip() or indent < 4:
            break
        if indent == 4 and ":" in line:
            name, _, text = line.strip().partition(":")
            found[name] = text.strip()
        elif name:
            found[name] += " " + line.strip()
    return found
