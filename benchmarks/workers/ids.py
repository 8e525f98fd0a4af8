"""What every worker of `benchmarks/benchmark.py` is given: sizes, and the text as ids.

Imports numpy alone, so that it can be read beside any system.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Sizes:
    """Of a model and its training; every system gets the same.

    Attributes:
        embedding: width of a piece's vector
        encoder: units of one direction of a layer of the encoder
        layers: layers of the encoder
        decoder: units of the decoder's only layer
        readout: width of what the output layer reads, where a system lets one choose
        dropout: share of units dropped, of embeddings too
    """

    embedding: int = 256
    encoder: int = 256
    layers: int = 2
    decoder: int = 512
    readout: int = 512
    dropout: float = 0.3
    learning_rate: float = 1e-3
    smoothing: float = 0.1
    clip_norm: float = 1.0


@dataclass(frozen=True)
class Marks:
    """Ids of the pieces that stand for no text."""

    pad: int
    bos: int
    eos: int
    unk: int


class Ids:
    """The text that every system reads: sentences as ids, and which of them make a batch.

    Args:
        path: an .npz file with `vocabulary`, `marks`, the training sentences `source` and `target`
            and the sentences to translate, `test`, each flat with `_offsets`; and `batches`, rows
            of numbers of training sentences, -1 where a batch has fewer
    """

    def __init__(self, path: str | Path) -> None:
        with np.load(path) as arrays:
            self.arrays = dict(arrays)
        self.vocabulary = int(self.arrays["vocabulary"])
        self.marks = Marks(*self.arrays["marks"].tolist())
        self.test = self.sentences("test")

    def sentences(self, name: str, rows: Sequence[int] | None = None) -> list[Array]:
        """Sentences of these numbers, or all of them, without begin and end."""
        tokens, offsets = self.arrays[name], self.arrays[f"{name}_offsets"]
        numbers = range(len(offsets) - 1) if rows is None else rows
        return [tokens[offsets[row] : offsets[row + 1]].astype(np.int64) for row in numbers]

    @property
    def batches(self) -> int:
        """How many batches of training there are."""
        return len(self.arrays["batches"])

    def batch(self, number: int) -> tuple[list[Array], list[Array]]:
        """Source and target sentences of a batch; after the last one the first follows."""
        rows = self.arrays["batches"][number % self.batches]
        kept = rows[rows >= 0].tolist()
        return self.sentences("source", kept), self.sentences("target", kept)


def flat(name: str, sentences: Sequence[Sequence[int]]) -> dict[str, Array]:
    """Sentences as `Ids` reads them."""
    lengths = [len(sentence) for sentence in sentences]
    tokens = [token for sentence in sentences for token in sentence]
    return {
        name: np.array(tokens, np.int64),
        f"{name}_offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    }


def padded(sentences: Sequence[Array], marks: Marks, *, begin: bool = False) -> Array:
    """Sentences with the end mark, and the begin mark where asked for, as rows padded alike."""
    marked = [
        [*([marks.bos] if begin else []), *sentence.tolist(), marks.eos] for sentence in sentences
    ]
    rows = np.full((len(marked), max(map(len, marked))), marks.pad, np.int64)
    for row, sentence in zip(rows, marked, strict=True):
        row[: len(sentence)] = sentence
    return rows
