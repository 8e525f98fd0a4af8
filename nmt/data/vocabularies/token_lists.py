"""Vocabulary files of other toolkits: lists of tokens.

| toolkit | file | content |
| --- | --- | --- |
| JoeyNMT | `vocab.txt` | one token per line |
| eole, OpenNMT-py | `vocab.src` | one token per line, which its count may follow |
| fairseq | `dict.de.txt` | `token count` |
| Marian | `vocab.de.yml` | `token: id` |
| Sockeye | `vocab.src.0.json` | `{"token": id}` |

Their special tokens are left out: a vocabulary here has its own, with fixed ids.
"""

import json
import re
from collections.abc import Iterator

import yaml

SPECIAL_TOKENS = frozenset(
    {"<pad>", "<blank>", "<s>", "<bos>", "<sos>", "</s>", "<eos>", "<unk>", "[pad]", "[unk]"}
)
COUNT = re.compile(r"(?P<token>\S+)[ \t]+(?P<count>-?\d+(\.\d+)?(e-?\d+)?)( #fairseq:overwrite)?")
# Tokens that fairseq adds so that the number of tokens is a multiple of eight.
FILLER = re.compile(r"madeupword\d{4}")


class TokenListError(ValueError):
    """A fault of a list of tokens.

    Attributes:
        line: its line, from 1; 0 for the whole file
    """

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


def parse_token_list(text: str, *, is_mapping: bool = False) -> list[str]:
    """Return the tokens of a vocabulary file, without special tokens.

    Args:
        text: content of the file
        is_mapping: whether it maps tokens to ids, in YAML or JSON; otherwise it has one token per
            line

    Raises:
        TokenListError: if it is not such a file
    """
    tokens: dict[str, int] = {}
    for line, token in _read_mapping(text) if is_mapping else _read_lines(text):
        if token.lower() in SPECIAL_TOKENS or FILLER.fullmatch(token):
            continue
        if token in tokens:
            first = f" of line {tokens[token]}" if line else ""
            raise TokenListError(f"repeats the token '{token}'{first}; remove one", line)
        tokens[token] = line
    if not tokens:
        raise TokenListError("contains no token; give a vocabulary file")
    return list(tokens)


def _read_lines(text: str) -> Iterator[tuple[int, str]]:
    # Not `splitlines`, since tokens may contain other separators, such as U+2028.
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        line = line.removesuffix("\r")
        counted = COUNT.fullmatch(line)
        if counted and counted["count"].startswith("-"):
            message = "has scores of a SentencePiece model; give its .model file instead"
            raise TokenListError(message, number)
        token = counted["token"] if counted else line
        if len(token.split()) > 1:
            message = "expected one token per line, which a count may follow"
            raise TokenListError(message, number)
        if token.strip():
            yield number, token.strip()


def _read_mapping(text: str) -> Iterator[tuple[int, str]]:
    try:
        if text.lstrip().startswith("{"):
            values = json.loads(text)
        else:
            # All values as text: a token may spell a number, a date or null.
            values = yaml.load(text, getattr(yaml, "CBaseLoader", yaml.BaseLoader))
        ids = {token: int(number) for token, number in values.items()}
    except (ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise TokenListError("expected a mapping of tokens to ids") from error
    for token in sorted(ids, key=ids.__getitem__):
        if isinstance(token, str) and token.strip() and len(token.split()) == 1:
            yield 0, token
        else:
            raise TokenListError(f"expected tokens without white space, got {token!r}")
