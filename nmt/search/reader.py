"""What a translator reads, window by window: text by way of a vocabulary, or pictures."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from nmt.data.batch import Source, pad
from nmt.data.corpus import image_path
from nmt.data.images import ImageSize, error_location, read_image, upcast_features
from nmt.data.vocabulary import Vocabulary
from nmt.search.options import SearchOptions

Place = Callable[[int], str]
"""Where a line of the window stands, by its number from 0; '' where it stands in no file."""


class Reader(ABC):
    """How the lines of a source become what a model reads.

    Attributes:
        grid: rows and columns of the annotations of a picture; None for text
        fingerprint: equal for readers that read alike
    """

    grid: tuple[int, int] | None = None
    fingerprint: str

    @abstractmethod
    def cut(self, texts: Sequence[str]) -> list[list[int]]:
        """The pieces of each line, as numbers; none for an empty line."""

    @abstractmethod
    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The name of each piece."""

    @abstractmethod
    def batch(
        self, texts: Sequence[str], ids: Sequence[list[int]], place: Place
    ) -> tuple[Source, Bool[Tensor, "b s"]]:
        """Lines and their pieces as a batch, and the mask of what the model will look at."""

    def longest(self, ids: Sequence[int], options: SearchOptions) -> int:
        """Target pieces, the end mark counted, that a line may get."""
        return options.longest(len(ids))

    def locate(self, text: str, folder: Path) -> str:
        """A line of a file in this folder, as `cut` and `batch` take it."""
        return text


class TextReader(Reader):
    """Sentences, cut by a vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.fingerprint = vocabulary.fingerprint

    def cut(self, texts: Sequence[str]) -> list[list[int]]:
        return self.vocabulary.encode_batch(list(texts))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        return self.vocabulary.tokens(ids)

    def batch(
        self, texts: Sequence[str], ids: Sequence[list[int]], place: Place
    ) -> tuple[Source, Bool[Tensor, "b s"]]:
        sentences = [np.array(sentence) for sentence in ids]
        source_bs, mask_bs = pad(sentences, self.vocabulary.special_tokens)
        return torch.from_numpy(source_bs), torch.from_numpy(mask_bs)


class PictureReader(Reader):
    """Names of pictures' files, relative to the current folder; pieces are places of the grid.

    Args:
        sizes: what a picture is
        grid: rows and columns of the model's annotations
    """

    def __init__(self, sizes: ImageSize, grid: tuple[int, int]) -> None:
        self.sizes, self.grid = sizes, grid
        self.rows, self.columns = grid
        self.fingerprint = f"pictures {sizes} {grid}"

    def cut(self, texts: Sequence[str]) -> list[list[int]]:
        positions = self.rows * self.columns
        return [list(range(positions)) if text.strip() else [] for text in texts]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        return [f"r{number // self.columns}c{number % self.columns}" for number in ids]

    def batch(
        self, texts: Sequence[str], ids: Sequence[list[int]], place: Place
    ) -> tuple[Source, Bool[Tensor, "b s"]]:
        pictures = []
        for number, text in enumerate(texts):
            with error_location(partial(place, number)):
                pictures.append(read_image(Path(text.strip()), self.sizes))
        mask_bs = torch.ones(len(texts), len(ids[0]), dtype=torch.bool)
        return torch.from_numpy(upcast_features(np.stack(pictures))), mask_bs

    def longest(self, ids: Sequence[int], options: SearchOptions) -> int:
        return options.longest(None)

    def locate(self, text: str, folder: Path) -> str:
        return image_path(text, folder)


def make_reader(source: Vocabulary | ImageSize, grid: tuple[int, int] | None) -> Reader:
    """The reader for a source vocabulary, or for pictures and the grid of the model."""
    if isinstance(source, Vocabulary):
        return TextReader(source)
    assert grid is not None, "an encoder that reads pictures has a grid"
    return PictureReader(source, grid)
