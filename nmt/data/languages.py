"""Languages and scripts of a text: codes, names, and identification."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib import import_module
from itertools import islice
from typing import Any, NamedTuple

# ISO 639-3 and other codes, and English names, by ISO 639-1 code.
ALIASES = {
    "ar": "ara arabic",
    "bg": "bul bulgarian",
    "cs": "ces cze czech",
    "da": "dan danish",
    "de": "deu ger german deutsch",
    "el": "ell gre greek",
    "en": "eng english",
    "es": "spa spanish",
    "et": "est estonian",
    "eu": "eus baq basque",
    "fa": "fas per pes persian farsi",
    "fi": "fin finnish",
    "fr": "fra fre french",
    "ga": "gle irish",
    "he": "heb iw hebrew",
    "hi": "hin hindi",
    "hr": "hrv croatian",
    "hu": "hun hungarian",
    "hy": "hye arm armenian",
    "id": "ind indonesian",
    "is": "isl ice icelandic",
    "it": "ita italian",
    "ja": "jpn jp japanese",
    "ka": "kat geo georgian",
    "kk": "kaz kazakh",
    "ko": "kor korean",
    "lt": "lit lithuanian",
    "lv": "lav latvian",
    "mn": "mon mongolian",
    "ne": "nep nepali",
    "nl": "nld dut dutch",
    "no": "nor nob nb norwegian",
    "pl": "pol polish",
    "pt": "por portuguese",
    "ro": "ron rum romanian",
    "ru": "rus russian",
    "sk": "slk slo slovak",
    "sl": "slv slovenian",
    "sr": "srp serbian",
    "sv": "swe swedish",
    "sw": "swa swahili",
    "ta": "tam tamil",
    "th": "tha thai",
    "tr": "tur turkish",
    "uk": "ukr ukrainian",
    "ur": "urd urdu",
    "vi": "vie vietnamese",
    "yo": "yor yoruba",
    "zh": "zho chi cmn cn chinese",
}
CODES = {alias: code for code, names in ALIASES.items() for alias in (code, *names.split())}

# Languages that their script identifies. Other scripts serve several languages.
LANGUAGE_OF_SCRIPT = {
    "HANGUL": "ko",
    "KANA": "ja",
    "CJK": "zh",
    "THAI": "th",
    "LAO": "lo",
    "KHMER": "km",
    "MYANMAR": "my",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
    "GREEK": "el",
    "HEBREW": "he",
    "TAMIL": "ta",
    "TELUGU": "te",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "GUJARATI": "gu",
    "GURMUKHI": "pa",
    "SINHALA": "si",
    "TIBETAN": "bo",
}
SCRIPT_OF_LANGUAGE = {code: script for script, code in LANGUAGE_OF_SCRIPT.items()}
# Kazakh and Serbian have two scripts.
NOT_LATIN = (*SCRIPT_OF_LANGUAGE, "kk", "sr", "ar", "fa", "ur", "ru", "uk", "bg", "mn", "hi", "ne")
SCRIPT_OF_LANGUAGE |= dict.fromkeys(("ar", "fa", "ur", "ps", "ug"), "ARABIC")
SCRIPT_OF_LANGUAGE |= dict.fromkeys(("ru", "uk", "bg", "be", "mk", "ky", "mn"), "CYRILLIC")
SCRIPT_OF_LANGUAGE |= dict.fromkeys(("hi", "mr", "ne", "sa"), "DEVANAGARI")
SCRIPT_OF_LANGUAGE |= dict.fromkeys((code for code in ALIASES if code not in NOT_LATIN), "LATIN")
# Scripts that are written together, by the one that names the group.
GROUPS = {"HIRAGANA": "KANA", "KATAKANA": "KANA", "IDEOGRAPHIC": "CJK", "BOPOMOFO": "CJK"}
TOGETHER = {"KANA": frozenset({"KANA", "CJK"}), "HANGUL": frozenset({"HANGUL", "CJK"})}
WIDTHS = ("FULLWIDTH", "HALFWIDTH", "MODIFIER", "MATHEMATICAL")
SAMPLE_LINES = 2_000
# Letters of a script that make it part of a language's writing.
MIN_SCRIPT_SHARE = 0.05
# Share of the sampled lines that lingua must identify alike to name the language of a text.
MIN_LANGUAGE_SHARE = 0.5
MIN_LETTERS = 30  # of a line, below which its language is not identified
MIN_IDENTIFIED = 20  # lines, below which no share of a language is reported


class Language(NamedTuple):
    """The language of a text.

    Attributes:
        code: ISO 639-1 code; None if unknown
        scripts: scripts that its letters belong to, most frequent first
        other, other_share: the next frequent language of single lines, and its share of them
    """

    code: str | None
    scripts: tuple[str, ...]
    other: str | None = None
    other_share: float = 0.0


def language_code(name: str) -> str | None:
    """Return the ISO 639-1 code of a code or a name, with or without a region; None if unknown."""
    return CODES.get(name.replace("_", "-").split("-")[0].strip().lower())


def language_name(code: str) -> str:
    """Return the English name of an ISO 639-1 code; another code is its own name."""
    names = (name for name in ALIASES.get(code, "").split() if len(name) > 3)
    return next(names, code).title() if code in ALIASES else code


@lru_cache(maxsize=1 << 16)
def script_of(character: str) -> str | None:
    """Return the script of a letter, such as LATIN; None for other characters."""
    if not character.isalpha():
        return None
    words = unicodedata.name(character, "").replace("-", " ").split()
    while words and words[0] in WIDTHS:
        del words[0]
    if not words:
        return None
    return GROUPS.get(words[0], words[0])


def scripts_of(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the scripts of a text, most frequent first, without rare ones."""
    characters = Counter[str]()
    for line in lines:
        characters.update(line)
    counts = Counter[str]()
    for character, count in characters.items():
        if (script := script_of(character)) is not None:
            counts[script] += count
    total = counts.total()
    return tuple(one for one, n in counts.most_common() if n >= MIN_SCRIPT_SHARE * total)


def identify(text: Sequence[str], *, lines: bool = True) -> Language:
    """Identify the language of a text by its script, or else by lingua if that is installed.

    Args:
        text: lines of the text
        lines: whether to use lingua, which identifies single lines
    """
    sample = text[:: max(1, len(text) // SAMPLE_LINES)][:SAMPLE_LINES]
    scripts = scripts_of(sample)
    if not scripts:
        return Language(None, ())
    # Japanese is written in kana and in Chinese characters, Korean with some of the latter.
    main = next((one for one in ("KANA", "HANGUL") if one in scripts), scripts[0])
    if main in LANGUAGE_OF_SCRIPT:
        return Language(LANGUAGE_OF_SCRIPT[main], scripts)
    identified = identify_lines(sample) if lines else None
    if identified is None:
        return Language(None, scripts)
    ranked = Counter(one for one in identified if one is not None).most_common(2)
    total = sum(one is not None for one in identified)
    if total < MIN_IDENTIFIED or ranked[0][1] < MIN_LANGUAGE_SHARE * total:
        return Language(None, scripts)
    if len(ranked) == 1:
        return Language(ranked[0][0], scripts)
    return Language(ranked[0][0], scripts, ranked[1][0], ranked[1][1] / total)


def identify_lines(lines: Iterable[str]) -> list[str | None] | None:
    """Return the language code of each line by lingua, or None if it is not installed.

    The code of a short line is None.
    """
    detector = _detector()
    if detector is None:
        return None
    found: list[str | None] = []
    for line in lines:
        letters = sum(map(str.isalpha, islice(line, 4 * MIN_LETTERS)))
        language = detector.detect_language_of(line) if letters >= MIN_LETTERS else None
        found.append(None if language is None else language.iso_code_639_1.name.lower())
    return found


@lru_cache(maxsize=1)
def _detector() -> Any:
    try:
        lingua = import_module("lingua")
    except ImportError:
        return None
    builder = lingua.LanguageDetectorBuilder.from_all_languages()
    return builder.with_low_accuracy_mode().build()


class ScriptClasses(dict[int, str]):
    """Table for `str.translate` that replaces letters of some scripts by `a`, others by `b`.

    Other characters are removed.

    Args:
        scripts: scripts of a language
    """

    def __init__(self, scripts: Sequence[str]) -> None:
        super().__init__()
        groups = (TOGETHER.get(one, frozenset({one})) for one in scripts)
        self.scripts = frozenset[str]().union(*groups)

    def __missing__(self, key: int) -> str:
        script = script_of(chr(key))
        value = "" if script is None else "a" if script in self.scripts else "b"
        self[key] = value
        return value
