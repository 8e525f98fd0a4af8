"""Annotations of `nmt` are checked in all tests, by a cheaper decorator than jaxtyping's.

Pytest's option `--jaxtyping-packages` installs an import hook that decorates every function. The
decorator of jaxtyping binds the arguments of each call to the signature for its error messages, and
lets beartype check them twice, which takes half of the time of all tests. Here beartype checks a
call once. Only functions whose annotations have shapes get a context in which axes of equal names
have equal sizes. This module is imported before `nmt`.
"""

from collections.abc import Callable
from dataclasses import is_dataclass
from functools import partial, wraps
from inspect import isclass, isgeneratorfunction
from typing import Any, get_args, get_type_hints

import jaxtyping
from beartype import beartype

_original = jaxtyping.jaxtyped


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
    if not any(isinstance(one, str) for one in function.__annotations__.values()):
        return True
    try:
        get_type_hints(function)
    except Exception:
        return False
    return True


def _with_checks(function: Callable[..., Any]) -> Callable[..., Any]:
    checked: Callable[..., Any] = beartype(function)
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


setattr(jaxtyping, "jaxtyped", jaxtyped)  # noqa: B010
