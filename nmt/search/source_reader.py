"""Reading of source lines for a model: sentences through a vocabulary, or images from files."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn.functional import pad as pad_tensor

from nmt.data.batch import Source, pad
from nmt.data.batch_plan import padding_length
from nmt.data.corpus import image_path
from nmt.data.images import ImageSize, error_location, read_image, upcast_features
from nmt.data.preparation import UNPREPARED, Preparation, project
from nmt.data.text import is_blank
from nmt.data.vocabulary import Span, Vocabulary


class SourceReader(ABC):
    """Conversion of source lines to the input of a model.

    Attributes:
        grid: rows and columns of the annotations of an image; None for text
        fingerprint: equal for readers that convert every line to the same input
    """

    grid: tuple[int, int] | None = None
    fingerprint: str

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the source positions of each line, without `</s>`; none for an empty line.

        For text these are token ids, for an image the numbers of its annotations.
        """

    @abstractmethod
    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the names of source positions."""

    def spans(self, text: str) -> list[Span]:
        """Return the characters of a line that each source position covers; none for an image."""
        return []

    def spans_after_tag(self, text: str, length: int) -> list[Span]:
        """Return the spans in a line without the tag of `length` characters that was added."""
        return [
            (start - length if end < length else max(0, start - length), end - length)
            for start, end in self.spans(text)
        ]

    @abstractmethod
    def batch(
        self, texts: Sequence[str], ids: Sequence[list[int]], locations: Sequence[str]
    ) -> tuple[Source, Bool[Tensor, "b s"]]:
        """Return the encoder's input for some lines, and the mask of its source positions.

        Args:
            texts: source lines, none of them empty
            ids: their source positions, from `encode`
            locations: `FILE:LINE` of each line for error messages; empty if unknown

        Raises:
            UserError: if an image cannot be read
        """

    @abstractmethod
    def default_max_length(self, ids: Sequence[int]) -> int:
        """Return the maximum number of target tokens, `</s>` included, if none is set.

        It depends on the line alone, so that the rest of a batch cannot truncate its translation.
        """

    def has_symbol(self, symbol: str) -> bool:
        """Return whether a word of a line is one token; never for an image."""
        return False

    def resolve(self, text: str, directory: Path) -> str:
        """Return a line of a file in this directory as `encode` and `batch` expect it."""
        return text


class TextReader(SourceReader):
    """Sentences that are encoded by a vocabulary.

    Args:
        vocabulary: source vocabulary
        few_shapes: whether sentences are padded to rounded lengths
        preparation: preparation of sentences before the vocabulary
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        few_shapes: bool = False,
        preparation: Preparation = UNPREPARED,
    ) -> None:
        self.vocabulary, self._few_shapes = vocabulary, few_shapes
        self._preparation = preparation
        self.fingerprint = vocabulary.fingerprint

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        prepare = self._preparation.source
        return self.vocabulary.encode_batch(
            ["" if is_blank(text) else prepare(text) for text in texts]
        )

    def pieces(self, ids: Sequence[int]) -> list[str]:
        return self.vocabulary.tokens(ids)

    def spans(self, text: str) -> list[Span]:
        prepared = self._preparation.source(text)
        return project(self.vocabulary.spans(prepared), prepared, text)

    def has_symbol(self, symbol: str) -> bool:
        return self.vocabulary.has_symbol(symbol)

    def batch(
        self, texts: Sequence[str], ids: Sequence[list[int]], locations: Sequence[str]
    ) -> tuple[Source, Bool[Tensor, "b s"]]:
        sentences = [np.array(sentence) for sentence in ids]
        source_bs, mask_bs = pad(sentences, self.vocabulary.special_tokens)
        source, mask = torch.from_numpy(source_bs), torch.from_numpy(mask_bs)
        if self._few_shapes:
            columns = (0, padding_length(source.size(1)))
            source = pad_tensor(source, columns, value=self.vocabulary.special_tokens.pad)
            mask = pad_tensor(mask, columns, value=False)
        return source, mask

    def default_max_length(self, ids: Sequence[int]) -> int:
        # The constant gives short sentences room, and the factor languages that need more tokens.
        return 2 * len(ids) + 20


class ImageReader(SourceReader):
    """Images that are named by files, relative to the current directory.

    Args:
        size: size of the images or of their feature maps
        grid: rows and columns of the model's annotations
    """

    def __init__(self, size: ImageSize, grid: tuple[int, int]) -> None:
        self.size, self.grid = size, grid
        self.rows, self.columns = grid
        self.fingerprint = f"images {size} {grid}"

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        positions = self.rows * self.columns
        # The line is only a name; `batch` reads the file.
        return [list(range(positions)) if text.strip() else [] for text in texts]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        return [f"r{position // self.columns}c{position % self.columns}" for position in ids]

    def batch(
        self, texts: Sequence[str], ids: Sequence[list[int]], locations: Sequence[str]
    ) -> tuple[Source, Bool[Tensor, "b s"]]:
        images = []
        for text, location in zip(texts, locations, strict=True):
            with error_location(partial(str, location)):
                images.append(read_image(Path(text.strip()), self.size))
        # All images have equally many annotations, and none of them is padding.
        mask_bs = torch.ones(len(texts), len(ids[0]), dtype=torch.bool)
        return torch.from_numpy(upcast_features(np.stack(images))), mask_bs

    def default_max_length(self, ids: Sequence[int]) -> int:
        return 100  # the size of an image says nothing about the length of its caption

    def resolve(self, text: str, directory: Path) -> str:
        return image_path(text, directory)


def make_reader(
    source: Vocabulary | ImageSize,
    grid: tuple[int, int] | None,
    *,
    few_shapes: bool = False,
    preparation: Preparation = UNPREPARED,
) -> SourceReader:
    """Return the reader for a source vocabulary, or for images and the model's annotation grid."""
    if isinstance(source, Vocabulary):
        return TextReader(source, few_shapes=few_shapes, preparation=preparation)
    assert grid is not None, "an encoder of images has a grid"
    return ImageReader(source, grid)
