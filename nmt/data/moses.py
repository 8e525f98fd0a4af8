"""Tokenization and detokenization of Moses, by the package sacremoses."""

import re
from functools import lru_cache
from typing import Any

from nmt.errors import UserError
from nmt.version import install_command


def tokenize(text: str, language: str, *, escape: bool, protected: tuple[str, ...] = ()) -> str:
    """Tokenize a sentence; a sentence that is tokenized already is unchanged.

    Args:
        text: a sentence
        language: code of its language; rules for abbreviations are English if it has none
        escape: write `&`, `<`, quotes and brackets as entities, as Moses does by default
        protected: strings that are kept whole
    """
    tokenizer, detokenizer = _load(language)
    plain = detokenizer.unescape_xml(text) if escape else text
    tokenized: str = tokenizer.tokenize(
        plain, return_str=True, escape=escape, protected_patterns=[re.escape(p) for p in protected]
    )
    for one in protected if escape else ():
        tokenized = tokenized.replace(tokenizer.escape_xml(one), one)
    return tokenized


def detokenize(text: str, language: str) -> str:
    """Detokenize a sentence, and replace its entities by their characters."""
    _, detokenizer = _load(language)
    detokenized: str = detokenizer.detokenize(text.split(), return_str=True, unescape=True)
    return detokenized


@lru_cache(maxsize=4)
def _load(language: str) -> tuple[Any, Any]:
    try:
        from sacremoses import MosesDetokenizer, MosesTokenizer
    except ImportError as error:
        raise UserError(
            f"moses requires the package sacremoses; run {install_command('moses')}"
        ) from error
    return MosesTokenizer(lang=language), MosesDetokenizer(lang=language)
