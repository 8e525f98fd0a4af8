"""The text of a benchmark: Multi30k where it is, else a synthetic one, cut into ids for all."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmt.data.batch_plan import plan_epoch
from nmt.data.corpus import find_corpus
from nmt.data.vocabulary import Vocabulary
from workers.ids import flat

PAIRS, TESTED = 29_000, 1_000  # as many as Multi30k has
WORDS = 12_000
MEAN_LENGTH, LONGEST = 12, 40  # words a sentence


class Text(NamedTuple):
    """Sentence pairs to train on, and some to translate.

    Attributes:
        name: as a table says it
        train: prefix of the training files
        test: sentences to translate
        references: their translations by people
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
    """Sentences of made-up words, frequent ones oftener (Zipf 1949); the target spells them anew.

    Lengths are Poisson's, as long as captions are; neighbours in the target change places.
    """
    generator = np.random.default_rng(1)
    spellings = [_words(generator), _words(generator)]
    chances = 1 / np.arange(1, WORDS + 1)
    chances /= chances.sum()
    lengths = generator.poisson(MEAN_LENGTH - 1, PAIRS + TESTED).clip(0, LONGEST - 1) + 1
    drawn = generator.choice(WORDS, lengths.sum(), p=chances)
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
    """Different words of one to four syllables."""
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    words: dict[str, None] = {}
    while len(words) < WORDS:
        count = int(generator.integers(1, 5))
        words["".join(generator.choice(syllables, count))] = None
    return list(words)


def find_vocabulary(text: Text, size: int, folder: Path) -> Vocabulary:
    """The joint vocabulary of the training text; kept in `folder`, so that it is learned once."""
    path = folder / f"{text.train.parent.name}-{text.train.name}-{size}.model"
    if not path.is_file():
        corpus = find_corpus(text.train, *text.languages)
        Vocabulary.train((line for pair in corpus.pairs() for line in pair), size=size).save(path)
    return Vocabulary.load(path)


def write_ids(text: Text, vocabulary: Vocabulary, sentences: int, path: Path) -> Path:
    """The text as `workers.ids.Ids` reads it, in batches as training would have them.

    Args:
        sentences: pairs a batch; the few batches with fewer are left out
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
    """Write sentences and batches; a vocabulary given as a size has our usual marks."""
    if isinstance(vocabulary, int):
        pieces, marks = vocabulary, [0, 1, 2, 3]
    else:
        v = vocabulary
        pieces, marks = len(v), [v.pad, v.bos, v.eos, v.unk]
    arrays: dict[str, Any] = {"vocabulary": np.array(pieces), "marks": np.array(marks)}
    for name, sentences in (("source", sources), ("target", targets), ("test", test)):
        arrays |= flat(name, sentences)
    np.savez(path, batches=batches, **arrays)
    return path


def equal_ids(folder: Path, pieces: int, *, sentences: int, length: int, batches: int) -> Path:
    """So many batches of sentences that all have `length` pieces on each side; made once."""
    path = folder / f"random-{pieces}-{sentences}-{length}-{batches}.npz"
    if path.is_file():
        return path
    pairs = batches * sentences
    return random_ids(path, pieces, pairs=pairs, source=length, target=length, sentences=sentences)


def random_ids(
    path: Path, pieces: int, *, pairs: int, source: int, target: int, sentences: int
) -> Path:
    """Pairs of evenly drawn pieces, all of one length a side, end marks not counted."""
    generator = np.random.default_rng(1)
    sides = [generator.integers(4, pieces, (pairs, size)).tolist() for size in (source, target)]
    batches = np.arange(pairs // sentences * sentences).reshape(-1, sentences)
    return save_ids(path, pieces, sides[0], sides[1], sides[0], batches)
