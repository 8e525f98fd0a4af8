"""Annotations of `nmt` are checked in all tests, by a cheaper decorator than jaxtyping's.

Pytest's option `--jaxtyping-packages` installs an import hook that decorates every function. The
decorator of jaxtyping binds the arguments of each call to the signature for its error messages, and
lets beartype check them twice, which takes half of the time of all tests. Here beartype checks a
call once. Only functions whose annotations have shapes get a context in which axes of equal names
have equal sizes, and the fit of a dtype and a number of axes to an annotation is looked up where
jaxtyping has found it before. This module is imported before `nmt`.
"""

from collections.abc import Callable
from dataclasses import is_dataclass
from functools import partial, wraps
from inspect import isclass, isgeneratorfunction
from typing import Any, ForwardRef, get_args, get_type_hints

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping._storage import get_shape_memo
from torch import Tensor, dtype
from torch.nn import Parameter

_original = jaxtyping.jaxtyped
_check = beartype(conf=BeartypeConf(violation_type=jaxtyping.TypeCheckError))  # a TypeError
_Annotation = type(jaxtyping.AbstractArray)
_is_instance = _Annotation.__instancecheck__
_AXES: dict[tuple[object, dtype, int], list[str]] = {}


def jaxtyped(decorated: Any = None, *, typechecker: Any = None) -> Any:
    """Decorate a function, or the constructor of a dataclass, with checks of its annotations."""
    if decorated is None:
        return partial(jaxtyped, typechecker=typechecker)
    if decorated == "context":
        return _original("context")
    if isclass(decorated):
        if is_dataclass(decorated) and "__init__" in vars(decorated):
            setattr(decorated, "__init__", _with_checks(decorated.__init__))  # noqa: B010
        return decorated
    if isgeneratorfunction(decorated) or not _is_resolvable(decorated):
        return _original(decorated, typechecker=typechecker)
    return _with_checks(decorated)


def _is_resolvable(function: Callable[..., Any]) -> bool:
    """Return whether no annotation is the name of a class that is defined or imported later."""
    if not any(map(_has_name, function.__annotations__.values())):
        return True
    try:
        get_type_hints(function)
    except Exception:
        return False
    return True


def _has_name(annotation: Any) -> bool:
    """Return whether a type is, or contains, the name of a class in place of the class."""
    if isinstance(annotation, list):  # the parameters of a Callable
        return any(map(_has_name, annotation))
    return isinstance(annotation, str | ForwardRef) or any(map(_has_name, get_args(annotation)))


def _with_checks(function: Callable[..., Any]) -> Callable[..., Any]:
    checked: Callable[..., Any] = _check(function)
    if not any(map(_may_have_shapes, function.__annotations__.values())):
        return checked

    @wraps(function)
    def in_context(*arguments: Any, **options: Any) -> Any:
        with _original("context"):
            return checked(*arguments, **options)

    return in_context


def _may_have_shapes(annotation: Any) -> bool:
    """Return whether a type contains one of jaxtyping, or is a string that could."""
    if isinstance(annotation, list):  # the parameters of a Callable
        return any(map(_may_have_shapes, annotation))
    if isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return isinstance(annotation, str) or any(map(_may_have_shapes, get_args(annotation)))


def _fits(annotation: Any, value: object) -> bool:
    """Return whether a value fits an annotation; if so, keep the sizes of its axes."""
    if type(value) is not Tensor and type(value) is not Parameter:
        return bool(_is_instance(annotation, value))
    key = (annotation, value.dtype, value.ndim)
    axes = _AXES.get(key)
    if axes is None:
        fits: bool = _is_instance(annotation, value)
        names = annotation.dim_str.split()
        # Other axes, such as fixed sizes and anonymous ones, remain with jaxtyping.
        if fits and all(map(str.isalpha, names)) and len(set(names)) == len(names):
            _AXES[key] = names
        return fits
    sizes, shape = get_shape_memo()[0], value.shape  # type: ignore[no-untyped-call]
    for axis, size in zip(axes, shape, strict=True):
        if sizes.get(axis, size) != size:
            return False
    sizes.update(zip(axes, shape, strict=True))
    return True


setattr(jaxtyping, "jaxtyped", jaxtyped)  # noqa: B010
setattr(_Annotation, "__instancecheck__", _fits)  # noqa: B010
