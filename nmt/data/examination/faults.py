"""Faults of sentence pairs, found in the measurements of a text."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmt.data.examination.measurements import MAX_CHARACTERS, Measurements, Property

Mask = NDArray[np.bool_]

# A length ratio is a fault beyond this many robust standard deviations (Gale and Church 1993), and
# beyond this factor of the usual ratio, if the longer side has this many characters.
MAX_DEVIATION, MAX_FACTOR, MIN_RATIO_CHARACTERS = 6.0, 2.5, 20
# Characters of identical sides that are more than a name or a number.
MIN_IDENTICAL_CHARACTERS = 15
# A fault of most pairs is a property of the task, such as identical sides of a copy task.
MAX_REMOVED_SHARE = 0.5


class Fault(NamedTuple):
    """A kind of fault.

    Attributes:
        name: its name in reports and in the file of removed pairs
        meaning: the fault in words
        removable: whether cleaning removes the pair
    """

    name: str
    meaning: str
    removable: bool = True


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("empty", "one side has no visible character; training skips the pair"),
        Fault("duplicate", "the same pair as an earlier one, apart from case and spaces"),
        Fault(
            "identical", f"both sides are equal, of {MIN_IDENTICAL_CHARACTERS} characters or more"
        ),
        Fault("swapped", "source and target are exchanged, by their scripts"),
        Fault("script", "most letters of a side belong to another script than the text"),
        Fault("ratio", "the lengths of the sides do not fit together"),
        Fault("long", f"a side has more than {MAX_CHARACTERS:,} characters"),
        Fault("control", "control, replacement or private-use characters"),
        Fault("markup", "HTML or XML tags, or character entities"),
        Fault("leak", "the same pair is in another part"),
        Fault("normalization", "not in Unicode normalization form C, unlike usual text", False),
        Fault("shared side", "one side is in another part", False),
    )
}


def find_faults(measured: Measurements) -> dict[str, Mask]:
    """Return which pairs have each fault, without faults that no pair has."""
    foreign = measured.having(Property.FOREIGN_SOURCE), measured.having(Property.FOREIGN_TARGET)
    empty = measured.having(Property.EMPTY)
    equal = measured.hashes[:, 0] == measured.hashes[:, 1]
    source_scripts, target_scripts = (set(one.scripts) for one in measured.languages)
    swapped = foreign[0] & foreign[1] & (source_scripts.isdisjoint(target_scripts))
    found = {
        "empty": empty,
        "duplicate": _repeats(measured.pair_hashes) & ~empty,
        "identical": equal & (measured.characters[:, 0] >= MIN_IDENTICAL_CHARACTERS) & ~empty,
        "swapped": swapped,
        "script": (foreign[0] | foreign[1]) & ~swapped & ~empty,
        "ratio": _unusual_ratios(measured.characters) & ~empty,
        "long": measured.having(Property.LONG),
        "control": measured.having(Property.CONTROL),
        "markup": measured.having(Property.MARKUP),
        "normalization": measured.having(Property.NOT_NFC),
    }
    return {name: mask for name, mask in found.items() if mask.any()}


def find_leaks(measured: Measurements, others: Mapping[str, Measurements]) -> dict[str, Mask]:
    """Return which pairs, and which single sides, also are in other parts."""
    if not others:
        return {}
    pairs = np.concatenate([other.pair_hashes for other in others.values()])
    hashes = np.concatenate([other.hashes for other in others.values()])
    leaks = np.isin(measured.pair_hashes, pairs)
    shared = np.isin(measured.hashes[:, 0], hashes[:, 0])
    shared |= np.isin(measured.hashes[:, 1], hashes[:, 1])
    found = {"leak": leaks, "shared side": shared & ~leaks}
    return {name: mask for name, mask in found.items() if mask.any()}


def removal_reasons(faults: Mapping[str, Mask], pairs: int) -> dict[str, Mask]:
    """Return the faults for which cleaning removes pairs; those of most pairs are none."""
    return {
        name: mask
        for name, mask in faults.items()
        if FAULTS[name].removable and mask.sum() <= MAX_REMOVED_SHARE * pairs
    }


def length_ratio(characters: NDArray[np.int32]) -> float:
    """Return the median number of target characters per source character."""
    source, target = characters.T.astype(np.float64)
    usable = (source > 0) & (target > 0)
    return float(np.median(target[usable] / source[usable])) if usable.any() else 1.0


def _repeats(values: NDArray[np.uint64]) -> Mask:
    """Return which values have occurred before."""
    repeats = np.ones(len(values), np.bool_)
    repeats[np.unique(values, return_index=True)[1]] = False
    return repeats


def _unusual_ratios(characters: NDArray[np.int32]) -> Mask:
    ratio = length_ratio(characters)
    source, target = characters.T.astype(np.float64)
    expected = ratio * source
    # The variance of a length grows with the length; its scale is that of the middle pairs.
    deviation = np.abs(target - expected) / np.sqrt(np.maximum(1.0, (expected + target) / 2))
    scale = 1.4826 * np.median(deviation) if len(deviation) else 1.0
    factor = np.maximum(expected, target) / np.maximum(1.0, np.minimum(expected, target))
    return (
        (deviation > MAX_DEVIATION * max(scale, 0.5))
        & (factor > MAX_FACTOR)
        & (np.maximum(expected, target) >= MIN_RATIO_CHARACTERS)
    )
