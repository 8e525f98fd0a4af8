"""Text of a benchmark, Multi30k or synthetic, and its token ids for all contenders."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmt.data.batch_plan import plan_epoch
from nmt.data.corpus import find_corpus
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabulary import Vocabulary
from workers.ids import flat

PAIRS, TEST_PAIRS = 29_000, 1_000  # as in Multi30k
WORDS = 12_000
MEAN_LENGTH, MAX_LENGTH = 12, 40  # words per sentence


class Text(NamedTuple):
    """Sentence pairs for training, and sentences to translate.

    Attributes:
        name: name for the heading
        train: prefix of the training files
        test: sentences to translate
        references: their reference translations
        languages: suffixes of the files
    """

    name: str
    train: Path
    test: list[str]
    references: list[str]
    languages: tuple[str, str]


def find_text(data: Path, folder: Path) -> Text:
    """Return Multi30k German-English if `data` contains it, else a synthetic text.

    Args:
        data: directory that contains `multi30k/`
        folder: directory of the synthetic text, which is generated once
    """
    multi30k = data / "multi30k"
    if (multi30k / "train.de").is_file():
        test, references = (_lines(multi30k / f"test_2016_flickr.{side}") for side in ("de", "en"))
        name = "Multi30k de-en, test_2016"
        return Text(name, multi30k / "train", test, references, ("de", "en"))
    prefix = folder / "synthetic"
    if not prefix.with_suffix(".a").is_file():
        _make_synthetic(prefix)
    sources, targets = (_lines(folder / f"synthetic_test.{side}") for side in "ab")
    return Text("synthetic", prefix, sources, targets, ("a", "b"))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _make_synthetic(prefix: Path) -> None:
    """Write sentences of random words with Zipf's frequencies and Poisson lengths, as captions.

    The target has the same sentences in other words, with neighboring words swapped.
    """
    generator = np.random.default_rng(1)
    spellings = [_words(generator), _words(generator)]
    probabilities = 1 / np.arange(1, WORDS + 1)
    probabilities /= probabilities.sum()
    lengths = generator.poisson(MEAN_LENGTH - 1, PAIRS + TEST_PAIRS).clip(0, MAX_LENGTH - 1) + 1
    drawn = generator.choice(WORDS, lengths.sum(), p=probabilities)
    sentences = np.split(drawn, np.cumsum(lengths)[:-1])
    for side, spelling in zip("ab", spellings, strict=True):
        lines = [" ".join(spelling[w] for w in _ordered(ids, side)) for ids in sentences]
        for name, some in (("", lines[:PAIRS]), ("_test", lines[PAIRS:])):
            path = prefix.with_name(f"{prefix.name}{name}.{side}")
            path.write_text("\n".join(some) + "\n", encoding="utf-8")


def _ordered(ids: NDArray[np.int64], side: str) -> list[int]:
    listed: list[int] = ids.tolist()
    if side == "b":
        listed[0:-1:2], listed[1::2] = listed[1::2], listed[0:-1:2]
    return listed


def _words(generator: np.random.Generator) -> list[str]:
    """Generate distinct words of one to four syllables."""
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    words: dict[str, None] = {}
    while len(words) < WORDS:
        count = int(generator.integers(1, 5))
        words["".join(generator.choice(syllables, count))] = None
    return list(words)


def find_vocabulary(text: Text, size: int, folder: Path) -> Vocabulary:
    """Return the joint vocabulary of the training text, learned once per `folder`."""
    path = folder / f"{text.train.parent.name}-{text.train.name}-{size}.model"
    if not path.is_file():
        corpus = find_corpus(text.train, *text.languages)
        SentencePieceVocabulary.train(
            (line for pair in corpus.pairs() for line in pair), size=size
        ).save(path)
    return SentencePieceVocabulary.load(path)


def write_ids(text: Text, vocabulary: Vocabulary, sentences: int, path: Path) -> Path:
    """Write the text for `workers.ids.Ids`, in the batches of a training epoch.

    Args:
        text: the text
        vocabulary: its vocabulary
        sentences: pairs per batch; smaller batches are left out
        path: the .npz file
    """
    pairs = [pair for pair in find_corpus(text.train, *text.languages).pairs() if all(pair)]
    sources, targets = (vocabulary.encode_batch([pair[side] for pair in pairs]) for side in (0, 1))
    plan = plan_epoch(
        *(np.array([len(ids) for ids in side]) for side in (sources, targets)),
        batch_tokens=sentences * 100,
        batch_sentences=sentences,
        seed=1,
        epoch=0,
    )
    batches = np.array([rows for rows in plan if len(rows) == sentences])
    test = vocabulary.encode_batch(text.test)
    return save_ids(path, vocabulary, sources, targets, test, batches)


def save_ids(
    path: Path,
    vocabulary: Vocabulary | int,
    sources: list[list[int]],
    targets: list[list[int]],
    test: list[list[int]],
    batches: NDArray[np.int64],
) -> Path:
    """Write sentences and batches; a vocabulary given by its size has our usual special tokens."""
    if isinstance(vocabulary, int):
        size, special_tokens = vocabulary, [0, 1, 2, 3]
    else:
        v = vocabulary
        size, special_tokens = len(v), [v.pad, v.bos, v.eos, v.unk]
    arrays: dict[str, Any] = {
        "vocabulary": np.array(size),
        "special_tokens": np.array(special_tokens),
    }
    for name, sentences in (("source", sources), ("target", targets), ("test", test)):
        arrays |= flat(name, sentences)
    np.savez(path, batches=batches, **arrays)
    return path


def equal_ids(folder: Path, size: int, *, sentences: int, length: int, batches: int) -> Path:
    """Write random batches of sentences of `length` tokens on each side, once."""
    path = folder / f"random-{size}-{sentences}-{length}-{batches}.npz"
    if path.is_file():
        return path
    pairs = batches * sentences
    return random_ids(path, size, pairs=pairs, source=length, target=length, sentences=sentences)


def random_ids(
    path: Path, size: int, *, pairs: int, source: int, target: int, sentences: int
) -> Path:
    """Write pairs of uniformly drawn tokens, all of one length per side without </s>."""
    generator = np.random.default_rng(1)
    sides = [generator.integers(4, size, (pairs, length)).tolist() for length in (source, target)]
    batches = np.arange(pairs // sentences * sentences).reshape(-1, sentences)
    return save_ids(path, size, sides[0], sides[1], sides[0], batches)
