"""A small parallel text and its vocabularies."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from nmt.data.corpus import Corpus, find_corpus
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabulary import Vocabulary

PEOPLE = {
    "Ein Mann": "A man",
    "Eine Frau": "A woman",
    "Ein Mädchen": "A girl",
    "Der Hund": "The dog",
}
DEEDS = {"liest": "reads", "schläft": "sleeps", "läuft schnell": "runs fast", "wartet": "waits"}
PLACES = {"im Garten": "in the garden", "auf der Straße": "on the street", "heute": "today"}
PAIRS = [
    (f"{who} {does} {where}.", f"{PEOPLE[who]} {DEEDS[does]} {PLACES[where]}.")
    for who, does, where in product(PEOPLE, DEEDS, PLACES)
]


@pytest.fixture
def pairs() -> list[tuple[str, str]]:
    """Return 48 sentence pairs."""
    return list(PAIRS)


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    """Train a joint unigram vocabulary on the pairs."""
    return SentencePieceVocabulary.train((line for pair in PAIRS for line in pair), size=60)


@pytest.fixture(scope="session")
def bpe() -> Vocabulary:
    """Train a joint BPE vocabulary on the pairs."""
    return SentencePieceVocabulary.train(
        (line for pair in PAIRS for line in pair), size=60, type="bpe"
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[[list[tuple[str, str]]], Corpus]:
    """Return a function that writes pairs to train.de and train.en."""

    def write_pairs(pairs: list[tuple[str, str]]) -> Corpus:
        for side, language in enumerate(("de", "en")):
            text = "".join(f"{pair[side]}\n" for pair in pairs)
            (tmp_path / f"train.{language}").write_text(text, encoding="utf-8", newline="")
        return find_corpus(tmp_path / "train", "de", "en")

    return write_pairs
