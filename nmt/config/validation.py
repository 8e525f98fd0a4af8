"""Validation of sections by pydantic, and its errors in the words of the experiment file."""

from collections.abc import Callable, Mapping
from itertools import islice
from typing import NamedTuple, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from nmt.component_spec import bound_text
from nmt.config.component_fields import component_of
from nmt.config.peers import counterpart
from nmt.config.sections import PathSection, Section, section_of
from nmt.config.value_errors import shortened, shown
from nmt.config.yaml_source import Key
from nmt.errors import UserError, UserErrors, suggest

MAX_MISTAKES = 50
S = TypeVar("S", bound=Section)


def validate(
    section: type[S],
    values: Mapping[str, object],
    locate: Callable[[Key], str] = lambda key: "",
    spell: Callable[[str], str] = str,
) -> S:
    """Validate the values of a section.

    Args:
        section: class of the section
        values: values by key, as an experiment file contains them
        locate: returns the location of a key, to report errors there
        spell: returns the spelling of a dotted key in errors

    Raises:
        UserErrors: all mistakes
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise UserErrors(_explain(error, section, values, locate, spell)) from None


class _Problem(NamedTuple):
    """An error of pydantic, with its location split by the schema.

    Attributes:
        detail: the error
        key: key of the experiment file
        is_component: whether this key configures a component
        items: indices into a list at this key
        known: keys of the section that contains it
    """

    detail: ErrorDetails
    key: Key
    is_component: bool
    items: tuple[int, ...]
    known: tuple[str, ...]


def _explain(
    error: ValidationError,
    root: type[Section],
    values: Mapping[str, object],
    locate: Callable[[Key], str],
    spell: Callable[[str], str],
) -> list[UserError]:
    """Convert pydantic's errors to one error per key.

    Every member of a union of types raises its own error. If one of them got as far as the items of
    a list, only its errors are reported; otherwise they become one.
    """
    problems: dict[Key, list[_Problem]] = {}
    for detail in error.errors():
        problem = _problem(detail, root, values)
        problems.setdefault(problem.key, []).append(problem)
    mistakes = []
    for key, group in islice(problems.items(), MAX_MISTAKES):
        # The type of a component may be lines below its key.
        location = locate((*key, "type") if group[0].is_component else key)
        # The root itself has no key.
        prefix = f"{spell('.'.join(map(shortened, key)))}: " if key else ""
        about_items = [[problem] for problem in group if problem.items]
        for same in about_items or [group]:
            mistakes.append(UserError(prefix + _message(same), location))
    if len(problems) > MAX_MISTAKES:
        mistakes.append(
            UserError(f"and {len(problems) - MAX_MISTAKES:,} more mistakes", locate(()))
        )
    return mistakes


def _problem(detail: ErrorDetails, root: type[Section], given: object) -> _Problem:
    """Follow the location of an error through the schema and the given values."""
    moved = detail.get("ctx", {}).get("key")  # set by `error_at`
    location = tuple(moved.split(".")) if moved else detail["loc"]
    section: type[Section] | None = root
    known: tuple[str, ...] = ()
    component = None
    keys: list[str] = []
    depth = 0
    # Below a value, pydantic appends the member of a union that it tried, "constrained-int" for
    # example. Below a component, the location contains the option.
    while depth < len(location) and (section is not None or component is not None):
        part = location[depth]
        depth += 1
        if section is not None and isinstance(part, int):
            # An item of a list of sections, or the only one, given without a list.
            if isinstance(given, list):
                keys.append(str(part))
                given = given[part]
            continue
        if section is None:
            component = None
        else:
            if issubclass(section, PathSection) and not isinstance(given, Mapping):
                break  # a file name in place of the section
            known = tuple(section.model_fields)
            info = section.model_fields.get(str(part))
            component = component_of(info) if info else None
            section = section_of(info) if info else None
        keys.append(str(part))
        given = given.get(part) if isinstance(given, Mapping) else None
    items = tuple(part for part in location[depth:] if isinstance(part, int))
    return _Problem(detail, tuple(keys), component is not None, items, known)


# Kinds of values in the words of YAML, by pydantic's error about another one.
EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text (put it in quotes)",
    "list_type": "a list",
    "model_type": "a section of keys",
    "path_type": "a file name",
    "is_instance_of": "a file name",
}


def _message(group: list[_Problem]) -> str:
    """Return the message about one key, from the errors of all types that it may have."""
    bounds, kinds, literals = [], [], []
    for problem in group:
        detail, key = problem.detail, problem.key
        context = detail.get("ctx", {})
        match detail["type"]:
            case "extra_forbidden":
                other = counterpart(key)
                return (
                    f"unknown key; {f'use {other}' if other else suggest(key[-1], problem.known)}"
                )
            case "missing":
                return f"is missing; add {f'a section {key[0]!r}' if len(key) == 1 else 'it'}"
            case "custom":
                return str(context["message"])
            case "value_error":
                return str(context["error"])
            case "greater_than_equal":
                bounds.append(f"at least {bound_text(context['ge'])}")
            case "greater_than":
                bounds.append(f"greater than {bound_text(context['gt'])}")
            case "too_short":
                kinds.append(f"a list of at least {context['min_length']}")
            case "less_than_equal":
                bounds.append(f"at most {bound_text(context['le'])}")
            case "less_than":
                bounds.append(f"less than {bound_text(context['lt'])}")
            case "literal_error":
                literals.append(context["expected"])
            case kind:
                kinds.append(EXPECTED.get(kind, detail["msg"]))
    # A number out of range has the right type, so that the other types are of no interest.
    # Two types may have the same bound: a number of updates, and a share of them.
    alternatives = " or ".join(dict.fromkeys([*(bounds or kinds), *literals]))
    given = shown(group[0].detail["input"])
    if bounds or kinds:
        return f"{'must be' if bounds else 'expected'} {alternatives}, got {given}"
    return f"must be {'one of ' * (' or ' in alternatives)}{alternatives}, got {given}"
