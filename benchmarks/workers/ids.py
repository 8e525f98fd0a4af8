"""Input of every worker: sizes of the model, and the text as token ids.

Imports numpy only, so that it works in the environment of any system.
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
    """Sizes of a model and options of its training, equal for all systems.

    Attributes:
        embedding: width of an embedding
        encoder: units per direction of an encoder layer
        layers: encoder layers
        decoder: units of the single decoder layer
        readout: width of the output layer's input, in systems where it can be chosen
        dropout: dropout rate, of embeddings too
        learning_rate: constant learning rate of Adam
        smoothing: label smoothing
        clip_norm: limit of the gradient norm
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
class SpecialTokens:
    """Ids of the special tokens."""

    pad: int
    bos: int
    eos: int
    unk: int


class Ids:
    """Sentences as token ids, and the batches of training.

    Args:
        path: an .npz file with `vocabulary` (its size), `special_tokens`, the training sentences
            `source` and `target` and the sentences to translate, `test`, each flat with
            `_offsets`; and `batches`, rows of indices of training sentences, -1 for no sentence
    """

    def __init__(self, path: str | Path) -> None:
        with np.load(path) as arrays:
            self.arrays = dict(arrays)
        self.vocabulary = int(self.arrays["vocabulary"])
        self.special_tokens = SpecialTokens(*self.arrays["special_tokens"].tolist())
        self.test = self.sentences("test")

    def sentences(self, name: str, rows: Sequence[int] | None = None) -> list[Array]:
        """Return the sentences with these indices, or all of them, without <s> and </s>."""
        tokens, offsets = self.arrays[name], self.arrays[f"{name}_offsets"]
        numbers = range(len(offsets) - 1) if rows is None else rows
        return [tokens[offsets[row] : offsets[row + 1]].astype(np.int64) for row in numbers]

    @property
    def batches(self) -> int:
        """Return the number of training batches."""
        return len(self.arrays["batches"])

    def batch(self, number: int) -> tuple[list[Array], list[Array]]:
        """Return source and target sentences of a batch; the first batch follows the last."""
        rows = self.arrays["batches"][number % self.batches]
        kept = rows[rows >= 0].tolist()
        return self.sentences("source", kept), self.sentences("target", kept)


def flat(name: str, sentences: Sequence[Sequence[int]]) -> dict[str, Array]:
    """Return the arrays from which `Ids` reads sentences."""
    lengths = [len(sentence) for sentence in sentences]
    tokens = [token for sentence in sentences for token in sentence]
    return {
        name: np.array(tokens, np.int64),
        f"{name}_offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    }


def pad(sentences: Sequence[Array], special_tokens: SpecialTokens, *, begin: bool = False) -> Array:
    """Pad sentences with </s>, and optionally with <s>, to rows of equal length."""
    complete = [
        [*([special_tokens.bos] if begin else []), *sentence.tolist(), special_tokens.eos]
        for sentence in sentences
    ]
    rows = np.full((len(complete), max(map(len, complete))), special_tokens.pad, np.int64)
    for row, sentence in zip(rows, complete, strict=True):
        row[: len(sentence)] = sentence
    return rows
