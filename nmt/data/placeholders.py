"""Placeholders: parts of a sentence that are copied to its translation, such as `{name}` or `%s`.

The n-th different placeholder of a sentence is replaced by the n-th mask, one token of the
vocabulary, on both sides. A model thus learns to copy a few masks, and placeholders that are not in
its training text are copied as well. A restored translation contains each placeholder as often as
its source sentence: missing masks replace surplus ones or are appended, and further surplus masks
are removed.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple

from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError

# Masks of vocabularies that are learned.
MASKS = tuple(f"｟{number}｠" for number in range(1, 10))
TAG = re.compile(r"<[^<>]*>")


class Placeholders(NamedTuple):
    """The placeholders of a text, and their masks.

    Attributes:
        patterns: regular expressions of placeholders; if empty, the masks themselves are the
            placeholders, and no text is replaced
        masks: tokens of both vocabularies
    """

    patterns: tuple[str, ...]
    masks: tuple[str, ...]

    @property
    def renames(self) -> bool:
        """Return whether masks replace placeholders."""
        return bool(self.patterns)

    def mask(self, text: str, source: str | None = None) -> str:
        """Return a text with masks in place of its placeholders.

        Args:
            text: a source sentence, or its translation
            source: the source sentence of a translation, whose placeholders are replaced
        """
        if not self.renames:
            return text
        mask_of = self._masks_of(self._find(text if source is None else source))
        return self._pattern.sub(lambda m: mask_of.get(m.group(), m.group()), text)

    def restore(self, text: str, source: str) -> str:
        """Return a translation with the placeholders of its source sentence.

        Args:
            text: a translation with masks
            source: the source sentence with its placeholders
        """
        repaired = self._repair(text, self.expected(source))
        if not self.renames:
            return repaired
        mask_of = self._masks_of(self._find(source))
        original = {mask: placeholder for placeholder, mask in mask_of.items()}
        return self._mask_pattern.sub(lambda m: original.get(m.group(), m.group()), repaired)

    def expected(self, source: str) -> Counter[str]:
        """Return how often each mask occurs in a translation of a source sentence."""
        found = self._find(source)
        if not self.renames:
            return Counter(found)
        mask_of = self._masks_of(found)
        return Counter(mask_of[one] for one in found if one in mask_of)

    def _find(self, text: str) -> list[str]:
        return [match.group() for match in self._pattern.finditer(text)]

    @property
    def _pattern(self) -> re.Pattern[str]:
        # A mask in a text is a placeholder as well.
        return _any_of(self.patterns, self.masks)

    @property
    def _mask_pattern(self) -> re.Pattern[str]:
        return _any_of((), self.masks)

    def _masks_of(self, found: list[str]) -> dict[str, str]:
        """Return the mask of each different placeholder; surplus placeholders have none."""
        return dict(zip(dict.fromkeys(found), self.masks, strict=False))

    def _repair(self, text: str, expected: Counter[str]) -> str:
        """Return a text in which each mask occurs as often as expected.

        Without patterns, only wrong masks are replaced, since a symbol may be a tag.
        """
        missing, surplus = expected.copy(), 0
        kept: list[str | None] = []
        for match in self._mask_pattern.finditer(text):
            is_expected = missing[match.group()] > 0
            missing[match.group()] -= is_expected
            surplus += not is_expected
            kept.append(match.group() if is_expected else None)
        rest = list(missing.elements())
        if not surplus and not (rest and self.renames):
            return text
        replacements, kept_masks = iter(rest), iter(kept)

        def replace(match: re.Match[str]) -> str:
            default = "" if self.renames else match.group()
            return next(kept_masks) or next(replacements, default)

        repaired = self._mask_pattern.sub(replace, text)
        if not self.renames:
            return repaired
        words = [word for word in repaired.split(" ") if word]
        return " ".join([*words, *replacements])


def find_placeholders(
    patterns: Sequence[str] | None,
    source: Vocabulary | None,
    target: Vocabulary,
    tags: Collection[str] = (),
) -> Placeholders | None:
    """Return the placeholders of an experiment, or None if it has none.

    Args:
        patterns: their regular expressions; None for the user-defined symbols of the vocabularies,
            except tags such as `<2de>`, which are for the source alone
        source: source vocabulary; None for images
        target: target vocabulary
        tags: further symbols that are tags

    Raises:
        UserError: if the vocabularies have no masks
    """
    if source is None or (patterns is not None and not patterns):
        return None
    if patterns is None:
        symbols = set(source.user_defined_symbols) & set(target.user_defined_symbols)
        masks = [one for one in target.user_defined_symbols if one in symbols]
        masks = [one for one in masks if one not in tags and not TAG.fullmatch(one)]
        return Placeholders((), tuple(masks)) if masks else None
    tokens = target.tokens(range(len(target)))
    common = set(source.tokens(range(len(source)))) & set(tokens)
    masks = [mask for mask in MASKS if mask in common]
    pattern = _any_of(tuple(patterns))
    masks = masks or [one for one in tokens if one in common and pattern.fullmatch(one)]
    if not masks:
        raise UserError(
            f"requires vocabularies with tokens for placeholders, such as {MASKS[0]}; learn them "
            "here, or add user-defined symbols that match"
        )
    return Placeholders(tuple(patterns), tuple(masks))


@lru_cache(maxsize=8)
def _any_of(patterns: tuple[str, ...], strings: tuple[str, ...] = ()) -> re.Pattern[str]:
    alternatives = [*patterns, *map(re.escape, strings)]
    return re.compile("|".join(f"(?:{alternative})" for alternative in alternatives))
