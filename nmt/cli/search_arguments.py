"""Command line options of search, derived from the fields of `SearchOptions`.

`--help` must not wait for pydantic, so names, types, defaults and help are read from the source
text of `nmt.config.search_options` instead of its classes. Values are read as YAML and validated by
the classes, exactly like those of an experiment file.
"""

import argparse
import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args

from annotated_types import Ge, Gt, Le

import nmt.config
from nmt.component_spec import ANNOTATIONS, LARGE, bound_text
from nmt.errors import UserError
from nmt.registry import FAMILIES, ComponentConfig

if TYPE_CHECKING:
    from argparse import _ArgumentGroup

    from nmt.config.search_options import SearchOptions

SCHEMA = Path(nmt.config.__file__).with_name("search_options.py")

# Option of a penalty -> the penalty and the help; the penalty itself is selected by its type.
STRENGTHS = {
    "alpha": ("length_penalty", "exponent of the length penalty (average: 1.0, gnmt: 0.2)"),
    "beta": ("coverage_penalty", "weight of the coverage penalty (gnmt: 0.2)"),
}
MORE_HELP = {
    "n_best": ", written as Moses lines: id ||| text ||| features ||| score; ||| in the text is "
    "written as &#124;&#124;&#124;"
}
FLAGS = {"beam_size": ["-b", "--beam-size"], "early_stopping": ["--early-stopping", "--stop"]}


class SearchField(NamedTuple):
    """A field of `SearchOptions`, or of `SamplingOptions` within it.

    Attributes:
        section: "sampling" for a field of `SamplingOptions`, else empty
        type: annotation without `| None`; None for a component
        default: default value; the name of a component
        help: docstring of the field
    """

    section: str
    type: Any
    default: object
    help: str


@cache
def search_fields() -> dict[str, SearchField]:
    """Read all fields by name; imports neither pydantic nor the schema."""
    module = ast.parse(SCHEMA.read_text(encoding="utf-8"), str(SCHEMA))
    types: dict[str, ast.expr] = {}  # EarlyStopping = Literal[...]
    fields: dict[str, SearchField] = {}
    for node in module.body:
        match node:
            case ast.Assign([ast.Name(name)], value):
                types[name] = value
            case ast.ClassDef(name="SamplingOptions"):
                fields |= _read_fields(node, "sampling", types)
            case ast.ClassDef(name="SearchOptions"):
                fields |= _read_fields(node, "", types)
    return fields


def _read_fields(
    node: ast.ClassDef, section: str, types: dict[str, ast.expr]
) -> dict[str, SearchField]:
    fields = {}
    # The docstring of a field is the statement after it.
    for statement, doc in zip(node.body, node.body[1:], strict=False):
        match statement, doc:
            case ast.AnnAssign(ast.Name(name), annotation, default), ast.Expr(
                ast.Constant(str(text))
            ):
                kind, value = _type_and_default(annotation, default, types)
                fields[name] = SearchField(section, kind, value, " ".join(text.split()))
    return fields


def _type_and_default(
    annotation: ast.expr, default: ast.expr | None, types: dict[str, ast.expr]
) -> tuple[Any, object]:
    # The forms of annotations and defaults that the schema uses; a test compares the results with
    # pydantic's.
    match annotation, default:
        case ast.Subscript(slice=ast.Tuple([_, ast.Call(ast.Name("Component"), arguments)])), _:
            return None, ast.literal_eval(arguments[1])
        case ast.BinOp(ast.Name(name)), ast.Constant(value):  # X | None = None
            return _type(name, types), value
        case ast.Name(name), ast.Call(ast.Name("Field"), _, [ast.keyword("default", first), *_]):
            return _type(name, types), ast.literal_eval(first)
        case ast.Name(name), ast.Constant(value):
            return _type(name, types), value
    raise AssertionError(f"not a field of search options: {ast.unparse(annotation)}")


def _type(name: str, types: dict[str, ast.expr]) -> Any:
    """Return the type of a name that the schema defines or imports; None for a section."""
    if name not in types:
        return {"bool": bool, "Symbol": str}.get(name) or ANNOTATIONS.get(name)
    names = {"Annotated": Annotated, "Literal": Literal, "Ge": Ge, "Gt": Gt, "Le": Le}
    # The text is our own source code, and these names are all that it may use.
    return eval(compile(ast.Expression(types[name]), str(SCHEMA), "eval"), names)


def add_search_group(parser: argparse.ArgumentParser) -> "_ArgumentGroup":
    """Add the group of search options, without options, and return it."""
    return parser.add_argument_group(
        "search", "The default of an option is the value in the run's configuration, if it has one."
    )


def add_search_options(group: "_ArgumentGroup", *names: str) -> None:
    """Add options for fields of `SearchOptions`; an option that is not given is None."""
    for name in names:
        field = search_fields()[name]
        if field.type is bool:
            help_text = f"{field.help} (default: off)"
            # Not store_true, whose default False would override the configuration of the run.
            group.add_argument(_flag(name), action="store_const", const=True, help=help_text)
            continue
        facts = _range(field.type)
        if field.default is not None:  # otherwise the help names the default
            facts.append(f"default: {field.default}")
        details = f" ({'; '.join(facts)})" if facts else ""
        group.add_argument(
            *FLAGS.get(name, [_flag(name)]),
            dest=name,
            metavar=_metavar(name, field.type),
            help=f"{field.help}{MORE_HELP.get(name, '')}{details}",
        )
        for strength, (penalty, help_text) in STRENGTHS.items():
            if penalty == name:
                group.add_argument(_flag(strength), metavar="X", help=help_text)


def check_search_options(arguments: argparse.Namespace) -> None:
    """Raise UserErrors for invalid values, before a model is loaded."""
    from nmt.config.search_options import SearchOptions

    changes, sampling = _given(arguments)
    if sampling or getattr(arguments, "sample", False):
        changes["sampling"] = sampling
    # The options of the run are not known yet, and decide later whether --alpha and those of mbr
    # have an effect.
    if changes.keys() & {"candidates", "mbr_scale"}:
        changes.setdefault("mbr", "chrf")
    SearchOptions().updated(changes, _flag)


def search_options(arguments: argparse.Namespace, base: "SearchOptions") -> "SearchOptions":
    """Return the search options of a run with the changes of the command line.

    Args:
        arguments: parsed by a parser with options of `add_search_options`
        base: search options of the run

    Raises:
        UserError: for an invalid value, or an option without effect
    """
    changes, sampling = _given(arguments)
    if getattr(arguments, "sample", False) or base.sampling is not None:
        # Options of sampling that are not given stay those of the run.
        changes["sampling"] = dict(base.sampling or ()) | sampling
    elif sampling:
        raise UserError(f"{', '.join(map(_flag, sampling))}: requires --sample")
    for strength, (penalty, _) in STRENGTHS.items():
        # The penalty is that of the command line if it names one, else that of the run.
        if getattr(arguments, strength) is not None:
            changes[penalty] = _with_strength(
                getattr(base.updated(changes, _flag), penalty),
                penalty,
                strength,
                _value(strength, getattr(arguments, strength)),
            )
    return base.updated(changes, _flag)


def _given(arguments: argparse.Namespace) -> tuple[dict[str, object], dict[str, object]]:
    """Return the values given for fields of `SearchOptions` and of `SamplingOptions`."""
    options: dict[str, object] = {}
    sampling: dict[str, object] = {}
    for name, field in search_fields().items():
        # Commands offer different subsets of the fields.
        text = getattr(arguments, name, None)
        if text is not None:
            (sampling if field.section else options)[name] = _value(name, text)
    return options, sampling


def _value(name: str, text: object) -> object:
    from nmt.config.yaml_source import read_value

    return read_value(text, _flag(name)) if isinstance(text, str) else text


def _with_strength(
    component: ComponentConfig, penalty: str, strength: str, value: object
) -> ComponentConfig:
    if strength not in FAMILIES[penalty].find(component.type).options:
        message = f"has no effect with {_flag(penalty)} {component.type}"
        raise UserError(f"{_flag(strength)}: {message}")
    # The other options of the penalty stay those of the run.
    return ComponentConfig(component.type, {**component.options, strength: value})


def _flag(name: str) -> str:
    """Return the option of a field, or of an option within it: sampling.top_p is --top-p."""
    last = name.rpartition(".")[2].replace("_", "-")
    return "--sample" if last == "sampling" else f"--{last}"


def _metavar(name: str, kind: Any) -> str:
    if name in FAMILIES:
        return "{" + ",".join(FAMILIES[name]) + "}"
    if kind is str:
        return name.upper()
    if kind.__origin__ is Literal:
        return "{" + ",".join(get_args(kind)) + "}"
    return "N" if kind.__origin__ is int else "X"


def _range(kind: Any) -> list[str]:
    words: list[str] = []
    for limit in getattr(kind, "__metadata__", ()):
        match limit:
            case Ge(least):
                words.append(f"at least {bound_text(least)}")
            case Gt(bound):
                words.append(f"above {bound_text(bound)}")
            case Le(float() | int() as most) if most < LARGE:
                words.append(f"at most {bound_text(most)}")
    return [" and ".join(words)] if words else []
