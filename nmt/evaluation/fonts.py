"""Fonts that have the letters of a text.

Fonts are asked in this order until every letter is covered:

1. DejaVu Sans, which comes with matplotlib: Latin, Greek, Cyrillic and '▁';
2. the families of `FAMILIES` that the system has;
3. NanumGothic (SIL Open Font License 1.1) out of the package koreanize-matplotlib: Hangul, kana and
   common Chinese characters. The package is not imported, as that changes matplotlib's settings;
   the file is found through the package's metadata and added to matplotlib's list of fonts;
4. every other font of the system, by name.
"""

import logging
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, files

import matplotlib
from matplotlib.font_manager import fontManager, get_font

BASE = "DejaVu Sans"
FAMILIES = (
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "NanumGothic",
    "Noto Sans",
)
PACKAGE = "koreanize-matplotlib"
PACKAGED = "NanumGothic"
# Fonts that have every letter, as an empty box.
BOXES = ("Last Resort", "LastResort", ".LastResort", "Adobe Blank")
REGULAR = (400, "normal", "regular", "book")
UNKNOWN = "\N{REPLACEMENT CHARACTER}"

log = logging.getLogger(__name__)


def fit_fonts(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Families that together have every letter, for matplotlib, and the texts to draw with them.

    A letter that no font has becomes U+FFFD, a visible mark, and a warning in the log tells its
    range and the remedy, once a range.
    """
    drawn = [unicodedata.normalize("NFC", text) for text in texts]
    missing = set("".join(drawn))
    families = []
    for family in _families():
        found = missing & _letters(family)
        if found or family == BASE:
            families.append(family)
        missing -= found
        if not missing:
            break
    for letter in sorted(missing):
        _warn_once(ord(letter) >> 8, unicodedata.name(letter, "UNNAMED").split()[0])
    table = str.maketrans(dict.fromkeys(missing, UNKNOWN))
    return families, [text.translate(table) for text in drawn]


def _families() -> Iterator[str]:
    """Families in the order of asking; nothing of a later one is read before it is its turn."""
    yield BASE
    own = matplotlib.get_data_path()
    system = {
        font.name
        for font in fontManager.ttflist
        if not font.fname.startswith(own) and font.weight in REGULAR
    }
    preferred = [family for family in FAMILIES if family in system]
    yield from preferred
    if PACKAGED not in preferred and _add_packaged_font():
        yield PACKAGED
    yield from sorted(
        name for name in system - {BASE, PACKAGED, *FAMILIES} if not name.startswith(BOXES)
    )


@cache
def _add_packaged_font() -> bool:
    """Makes the packaged font known to matplotlib, if the package is installed."""
    try:
        packaged = files(PACKAGE) or []
    except PackageNotFoundError:
        return False
    for file in packaged:
        if file.name == f"{PACKAGED}.ttf":
            fontManager.addfont(str(file.locate()))
            return True
    return False


@cache
def _letters(family: str) -> frozenset[str]:
    path = next(x.fname for x in fontManager.ttflist if x.name == family and x.weight in REGULAR)
    return frozenset(map(chr, get_font(path).get_charmap()))


@cache
def _warn_once(page: int, script: str) -> None:
    log.warning(
        "no font for letters of U+%02X00 to U+%02XFF (%s), drawn as %s; install a font that has "
        "them, as Noto Sans, or for Korean: pip install %s",
        *(page, page, script, UNKNOWN, PACKAGE),
    )
