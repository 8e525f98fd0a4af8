"""Constraints as users give them."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from nmt.errors import UserError

TAG = re.compile(r"[A-Za-z][\w-]*")

Phrases = str | Sequence[str] | Sequence[Sequence[str]]
"""A phrase or a list of phrases for all texts, or a list of phrases per text."""


class Constraints(NamedTuple):
    """Constraints on the translation of one sentence.

    Attributes:
        prefix: text that it begins with
        terms: phrases that it contains, each exactly as often as it is listed
        forbid: phrases that it does not contain
    """

    prefix: str = ""
    terms: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(self)


NO_CONSTRAINTS = Constraints()


def constraints_of_texts(
    count: int,
    prefix: str | Sequence[str] = "",
    terms: Phrases = (),
    forbid: Phrases = (),
) -> list[Constraints]:
    """Return the constraints of each of `count` texts.

    Args:
        count: number of texts
        prefix: beginning of all translations, or one per text
        terms: phrases that all translations contain, or a list of phrases per text
        forbid: phrases that no translation contains, or a list of phrases per text

    Raises:
        UserError: if the number of prefixes or lists is not that of the texts
    """
    prefixes = [prefix] * count if isinstance(prefix, str) else list(prefix)
    if len(prefixes) != count:
        raise UserError(f"prefix: {len(prefixes)} for {count} sentences; give one per sentence")
    return [
        Constraints(*own)
        for own in zip(
            prefixes,
            _phrases_of_texts("terms", terms, count),
            _phrases_of_texts("forbid", forbid, count),
            strict=True,
        )
    ]


def take_tagged(text: str, tag: str, location: str = "") -> tuple[str, tuple[str, ...]]:
    """Remove tags from a text, and return it with the phrases between them.

    Args:
        text: a sentence in which `<TAG>` and `</TAG>` enclose phrases that are not translated
        tag: name of the tag
        location: `FILE:LINE` of the sentence for error messages; empty if unknown

    Raises:
        UserError: if the name is not that of a tag, or a tag has no partner
    """
    if not TAG.fullmatch(tag):
        raise UserError(f"'{tag}' is not the name of a tag, such as keep; use letters and digits")
    begin, end = f"<{tag}>", f"</{tag}>"
    plain, kept = "", list[str]()
    for number, part in enumerate(re.split(f"({begin}|{end})", text)):
        is_inside = number % 4 == 2
        if number % 2:
            # Tags alternate, the first one begins a phrase, and the last one ends it.
            if part != (begin if number % 4 == 1 else end):
                raise UserError(f"{part} has no partner; write {begin}text{end}", location)
        else:
            plain += part
            if is_inside and part.strip():
                kept.append(part.strip())
    if text.count(begin) != text.count(end):
        raise UserError(f"{begin} has no partner; write {begin}text{end}", location)
    return plain, tuple(kept)


def _phrases_of_texts(name: str, phrases: Phrases, count: int) -> list[tuple[str, ...]]:
    if isinstance(phrases, str):
        return [(phrases,)] * count
    same, lists = list[str](), list[tuple[str, ...]]()
    for one in phrases:
        if isinstance(one, str):
            same.append(one)
        else:
            lists.append(tuple(one))
    if same and lists:
        message = "contains both phrases and lists; give phrases for all sentences or a list for"
        raise UserError(f"{name}: {message} each")
    if not lists:
        return [tuple(same)] * count
    if len(lists) != count:
        message = f"{len(lists)} lists for {count} sentences; give one list per sentence"
        raise UserError(f"{name}: {message}")
    return lists
