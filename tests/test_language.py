"""Documents, docstrings, comments, messages and test names use the field's words.

CONTRIBUTING.md states the rules. These patterns catch the most frequent lapses; a few of them are
right in some sentences, so each has a budget per 1,000 words instead of a ban.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import DOCUMENTS, prose

ROOT = Path(__file__).parents[1]
FOLDERS = ("nmt", "benchmarks", "scripts", "tests")
BUDGET = 1.0  # hits per 1,000 words
TEST_NAME = re.compile(r"_(?:what|stands?|told|tells?|asked|whoever|nobody|anew|beside)(?:_|$)")
PATTERNS = {
    "'what' in place of a noun": r"\bwhat\b(?! is wrong| to do|'s)",
    "'there is' in place of a subject": r"\bthere (?:is|are|was|were|be)\b",
    "code that acts like a person": (
        r"\b(?:stands?|stood|told|tells?|asked|asks?|hands? (?:out|on|over)|handed|heeds?|"
        r"promises?|looks?(?!-up)|looked|waited for|puts? by)\b"
    ),
    "people in place of a subject": r"\b(?:nobody|somebody|whoever)\b",
    "private connectives": r"\b(?:beside|anew|likewise|but for|such a one|as a rule)\b",
    "'to have' in place of a verb": r"\b(?:is|are|be|was) had\b",
    "'a' in place of 'per'": (
        r"\b(?:tokens?|pieces?|rows?|lines?|words?|updates?|seconds?|steps?|one) an? (?:batch|"
        r"second|sentence|step|update|hypothesis|token|piece|row|line|process)\b"
    ),
    "'no number' in place of NaN": r"\bno(?:t a)? numbers?\b",
    "British spelling": r"\b(?:colour|neighbour|centre|favour|behaviour)(?:s|ed|ing|ite)?\b",
}


def texts(path: Path) -> Iterator[str]:
    """Yield docstrings, comments and messages of exceptions of a Python file."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
        elif isinstance(node, ast.Raise):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def python_files(folder: str) -> list[Path]:
    """Return the Python files of a folder, without this one, which lists the words."""
    return [path for path in sorted((ROOT / folder).rglob("*.py")) if path != Path(__file__)]


@cache  # parsing takes most of the time, and every pattern reads the same text
def corpus(name: str) -> list[tuple[str, str]]:
    """Return names of files and texts of a folder, or of all documents."""
    if name == "documents":
        return [(path.name, prose(path)) for path in DOCUMENTS]
    return [
        (str(path.relative_to(ROOT)), text) for path in python_files(name) for text in texts(path)
    ]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("name", [*FOLDERS, "documents"])
def test_private_words_are_rare(name: str, pattern: str) -> None:
    found, words = [], 0
    for file, text in corpus(name):
        words += len(re.findall(r"[A-Za-z]+", text))
        for match in re.finditer(PATTERNS[pattern], text, re.I):
            around = text[max(0, match.start() - 40) : match.end() + 40]
            found.append(f"{file}: ...{' '.join(around.split())}...")
    rate = 1000 * len(found) / words
    assert rate <= BUDGET, f"{rate:.2f} per 1,000 words:\n" + "\n".join(found)


def test_names_of_tests_state_behavior() -> None:
    names = [
        f"{path.name}: {node.name}"
        for path in python_files("tests")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert not [name for name in names if TEST_NAME.search(name)]
