"""Selection of fonts that cover the characters of a text.

Font families are tried in this order until every character is covered:

1. DejaVu Sans, which is part of matplotlib: Latin, Greek, Cyrillic and '▁';
2. the installed families of `PREFERRED_FAMILIES`;
3. NanumGothic (SIL Open Font License 1.1) from the package koreanize-matplotlib: Hangul, kana and
   common Chinese characters. Importing the package would change matplotlib's settings, so the file
   is located through the package's metadata and added to matplotlib's list of fonts;
4. all other installed families, by name.

matplotlib keeps its list of fonts in a file, which lacks fonts that were installed later. If a
character remains without a font, the fonts of the system are therefore listed again, once.
"""

import logging
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, files

import matplotlib
from matplotlib.font_manager import FontProperties, findSystemFonts, fontManager, get_font

DEFAULT_FAMILY = "DejaVu Sans"
PREFERRED_FAMILIES = (
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "NanumGothic",
    "Noto Sans",
)
FONT_PACKAGE = "koreanize-matplotlib"
PACKAGED_FAMILY = "NanumGothic"
# Fonts that draw every character as a box.
PLACEHOLDER_FONTS = ("Last Resort", "LastResort", ".LastResort", "Adobe Blank")
REGULAR_WEIGHTS = (400, "normal", "regular", "book")

_warned_scripts: set[str] = set()
log = logging.getLogger(__name__)


def select_fonts(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Select font families that together cover every character of the texts.

    Characters without a font are replaced by U+FFFD and logged as a warning, once per script.

    Returns:
        families for matplotlib, and the texts to draw
    """
    # NFC composes Hangul from its parts; fonts cover the composed syllables only.
    normalized = [unicodedata.normalize("NFC", text) for text in texts]
    characters = set("".join(normalized))
    families, missing = _cover(characters)
    if missing and add_new_fonts():
        families, missing = _cover(characters)
    scripts: dict[str, list[str]] = {}
    for character in sorted(missing):
        script = unicodedata.name(character, "UNNAMED").split()[0]
        scripts.setdefault(script, []).append(character)
    for script in sorted(scripts.keys() - _warned_scripts):
        warn_missing_font(script, scripts[script])
    _warned_scripts.update(scripts)
    table = str.maketrans(dict.fromkeys(missing, "\N{REPLACEMENT CHARACTER}"))
    return families, [text.translate(table) for text in normalized]


def _cover(characters: set[str]) -> tuple[list[str], set[str]]:
    """Return the families to draw these characters with, and the characters without a font."""
    missing, families = set(characters), []
    for family in candidate_families():
        covered = missing & font_characters(family)
        if covered or family == DEFAULT_FAMILY:
            families.append(family)
        missing -= covered
        if not missing:
            break
    return families, missing


def candidate_families() -> Iterator[str]:
    """Yield font families in the order of preference; later ones are located only when needed."""
    yield DEFAULT_FAMILY
    # Other fonts that matplotlib bundles are excluded: most are for formulas.
    bundled = matplotlib.get_data_path()
    installed = {
        font.name
        for font in fontManager.ttflist
        if not font.fname.startswith(bundled) and font.weight in REGULAR_WEIGHTS
    }
    preferred = [family for family in PREFERRED_FAMILIES if family in installed]
    yield from preferred
    if PACKAGED_FAMILY not in preferred and add_packaged_font():
        yield PACKAGED_FAMILY
    others = installed - {DEFAULT_FAMILY, PACKAGED_FAMILY, *PREFERRED_FAMILIES}
    yield from sorted(name for name in others if not name.startswith(PLACEHOLDER_FONTS))


@cache
def add_packaged_font() -> bool:
    """Add the packaged font to matplotlib's list; return whether the package is installed."""
    try:
        packaged = files(FONT_PACKAGE) or []
    except PackageNotFoundError:
        return False
    for file in packaged:
        if file.name == f"{PACKAGED_FAMILY}.ttf":
            fontManager.addfont(str(file.locate()))
            return True
    return False


@cache
def add_new_fonts() -> bool:
    """Add fonts of the system that matplotlib's list lacks; return whether any was added."""
    known = {font.fname for font in fontManager.ttflist}
    count = len(fontManager.ttflist)
    for path in sorted({*findSystemFonts()} - known):
        try:
            fontManager.addfont(path)
        except Exception as error:  # matplotlib skips a damaged font after any exception as well
            log.debug("skipping the font %s: %s", path, error)
    font_characters.cache_clear()
    return len(fontManager.ttflist) > count


@cache
def font_characters(family: str) -> frozenset[str]:
    """Return the characters of the font that matplotlib draws a family with."""
    # The list may contain oblique and condensed fonts of the family, which have fewer characters.
    with _ignored_weights():
        path = fontManager.findfont(FontProperties(family=family), fallback_to_default=False)
    return frozenset(map(chr, get_font(path).get_charmap()))


@contextmanager
def _ignored_weights() -> Iterator[None]:
    """Drop matplotlib's warnings about families that lack the weight "normal"."""

    def keep(record: logging.LogRecord) -> bool:
        return "font weight" not in record.getMessage()

    logger = logging.getLogger("matplotlib.font_manager")
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def warn_missing_font(script: str, characters: Sequence[str]) -> None:
    """Log a warning that names characters without a font."""
    names = [one if one.isprintable() else f"U+{ord(one):04X}" for one in characters]
    log.warning(
        "no font for %s (%s), drawn as %s; install a font that covers them, such as Noto Sans, or "
        "for Korean: pip install %s",
        *(" ".join(names), script, "\N{REPLACEMENT CHARACTER}", FONT_PACKAGE),
    )
