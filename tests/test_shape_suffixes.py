"""Names of tensors end with the letters of their axes."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import nmt.model.interfaces

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path for folder in ("nmt", "benchmarks", "scripts") for path in (ROOT / folder).rglob("*.py")
)
LEGEND_LINE = re.compile(r"^ {4}([a-z])  \S", re.M)
LEGEND = set(LEGEND_LINE.findall(nmt.model.interfaces.__doc__ or ""))
# names of interfaces for values of any shape
FIXED = {"memory", "state", "attention", "alignment_weights"}
ARRAYS = {"Float", "Int", "Bool", "Integer", "Inexact", "Shaped", "Num", "Real", "UInt8", "Complex"}


@cache
def trees() -> dict[Path, ast.Module]:
    """Parse all files."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def annotated(tree: ast.AST) -> Iterator[tuple[int, str, ast.expr]]:
    """Yield line, name and annotation of parameters, variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation:
            yield node.lineno, node.arg, node.annotation
        elif isinstance(node, ast.AnnAssign):
            target = node.target
            name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
            yield node.lineno, name, node.annotation


def shapes(annotation: ast.AST) -> Iterator[list[str]]:
    """Yield the axes of every array type in an annotation."""
    for node in ast.walk(annotation):
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and node.value.id in ARRAYS
            and isinstance(node.slice, ast.Tuple)
            and isinstance(node.slice.elts[1], ast.Constant)
        ):
            yield str(node.slice.elts[1].value).split()


def outermost_shape(annotation: ast.expr) -> list[str] | None:
    """Return the axes of `Float[...]` or `Float[...] | None`; None for containers of arrays."""
    if isinstance(annotation, ast.BinOp):
        annotation = annotation.left
    if isinstance(annotation, ast.Subscript) and getattr(annotation.value, "id", "") in ARRAYS:
        return next(shapes(annotation), None)
    return None


def agrees(name: str, axes: list[str]) -> bool:
    """Return whether a name ends with its axes; a letter of the legend may name a fixed size."""
    if name in FIXED or any(len(axis) != 1 or axis == "_" for axis in axes):
        return True
    suffix = name.rpartition("_")[2]
    return len(suffix) == len(axes) and all(
        letter == axis or (axis.isdigit() and letter in LEGEND)
        for letter, axis in zip(suffix, axes, strict=True)
    )


def test_legend_is_found() -> None:
    assert {"b", "s", "t", "d", "e", "n"} <= LEGEND


def test_axes_of_annotations_are_in_the_legend() -> None:
    unknown = {
        (str(path), axis)
        for path, tree in trees().items()
        for axes in shapes(tree)
        for axis in axes
        if len(axis) == 1 and axis.isalpha() and axis not in LEGEND
    }
    assert not unknown


def test_annotated_tensors_are_named_after_their_axes() -> None:
    wrong = []
    for path, tree in trees().items():
        for line, name, annotation in annotated(tree):
            axes = outermost_shape(annotation)
            if axes and not agrees(name, axes):
                wrong.append(f"{path}:{line}: {name} has the axes '{' '.join(axes)}'")
    assert not wrong


def test_no_other_legend() -> None:
    """A docstring that defines several axis letters is a second legend."""
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                letters = LEGEND_LINE.findall(ast.get_docstring(node, clean=False) or "")
                assert len(letters) < 2 or path == Path(nmt.model.interfaces.__file__), path
