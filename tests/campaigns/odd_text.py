"""Odd text: all scripts, combining and invisible characters, very long and empty lines."""

import random
import unicodedata
from collections.abc import Iterator
from functools import cache

# Lines end with LF alone, so no line contains one; a NUL and surrogates are other tests' matter.
ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u061c\u180e"
BIDI = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
SPACES = (
    " \u00a0\u1680\u2000\u2003\u2009\u202f\u205f\u3000\t\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029"
)
MARKS = "\u0301\u0308\u0327\u0338\u20dd\u0489\u0e47\u0f39\u302a\ufe0f\ufe0e\u093c"
WORDS = [
    "2026-11-29",
    "29 Nov 2026",
    "Sunday, November 29, 2026",
    "e\u0301te\u0301",
    "\u0939\u093f\u0928\u094d\u0926\u0940",
    "\u0645\u0631\u062d\u0628\u0627",
    "\u05e9\u05dc\u05d5\u05dd",
    "\u4f60\u597d\u4e16\u754c",
    "\ud55c\uad6d\uc5b4",
    "\u1112\u1161\u11ab",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f1e9\U0001f1ea",
    "\U00010348\U0001d54f\U00020000",
    "\ufb03\ufdfa\u33c2\u2460\u01c5\u1e9e\u0130",
    "<s></s><pad><unk>",
    "\u2581\u2581",
    "|||",
    "a" * 300,
    "\ue000\U000f0000\U0010fffd",
    "\ufffe\uffff\ufdd0",
]


@cache
def scripts() -> tuple[range, ...]:
    """Return blocks of code points that hold assigned characters."""
    blocks = (range(start, start + 0x80) for start in range(0x80, 0x30000, 0x80))
    return tuple(
        block
        for block in blocks
        if not 0xD800 <= block.start < 0xE000
        and sum(unicodedata.category(chr(c)) not in ("Cn", "Co") for c in block) > 32
    )


def odd_lines(count: int, seed: int = 1) -> Iterator[str]:
    """Yield lines without line feeds and carriage returns."""
    chosen = random.Random(seed)
    for _ in range(count):
        line = "".join(_piece(chosen) for _ in range(chosen.choice((0, 1, 1, 2, 3, 5, 8))))
        yield line.replace("\n", " ").replace("\r", " ")


def _piece(chosen: random.Random) -> str:
    kind = chosen.randrange(9)
    if kind < 3:
        return chosen.choice(WORDS) + " "
    if kind == 3:
        block = chosen.choice(scripts())
        return "".join(chr(chosen.choice(block)) for _ in range(chosen.randrange(1, 12)))
    if kind == 4:
        return "".join(chosen.choices(ZERO_WIDTH + BIDI, k=chosen.randrange(1, 6)))
    if kind == 5:
        return "".join(chosen.choices(SPACES, k=chosen.randrange(1, 6)))
    if kind == 6:
        return "o" + "".join(chosen.choices(MARKS, k=chosen.randrange(1, 20)))
    if kind == 7:
        return "".join(chr(chosen.randrange(1, 0x20)) for _ in range(chosen.randrange(1, 4)))
    return chosen.choice(("1", "x ", "\u00e9", "\U0001f600")) * chosen.choice((1, 2, 30, 60))
