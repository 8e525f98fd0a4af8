"""Word and subword alignments from attention weights.

`weights_ts` holds the attention weights of one sentence: one row per target piece, then a row for
`</s>` if the hypothesis is finished; one column per source piece, then a column for `</s>`. Pieces
are SentencePiece's, given without `</s>`.

The words of a text are those of `str.split`, which splits at white space, of the text as it was
read and written, before normalization. SentencePiece gives the characters that each piece covers,
so any model is supported, also one whose normalization changes, adds or removes spaces.

The row and the column of `</s>` are excluded. A target piece is linked to the source piece with the
largest weight, the first one if several are equal. For words, weights are summed over the pieces of
a source word and averaged over the pieces of a target word before the largest is selected, so a
target word has one link. A target without weight on any source piece has no link; hard attention,
for example, may select `</s>`. A word that normalization removes has no pieces and no links. For an
attention that was trained so, `</s>` of the source is the empty word, and a target whose largest
weight is on it has no link.

A Pharaoh file has one line per sentence with 0-based links `source-target` separated by spaces:
`0-0 2-1`.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nmt.data.pharaoh import Link
from nmt.data.segmented_text import SegmentedText

END = "</s>"


class AttentionMatrix(NamedTuple):
    """Attention weights between the words of a sentence and of its translation.

    Attributes:
        source, target: labels of the columns and of the rows, including `</s>` if it has weights
        weights_ts: one row per target word, one column per source word
    """

    source: Sequence[str]
    target: Sequence[str]
    weights_ts: Float[Tensor, "t s"]


def piece_alignment(
    weights_ts: Float[Tensor, "t s"],
    source_count: int,
    target_count: int,
    *,
    has_empty_word: bool = False,
) -> list[Link]:
    """Return the links between pieces in the order of the target.

    Args:
        weights_ts: attention weights of one sentence
        source_count, target_count: number of pieces, `</s>` excluded
        has_empty_word: whether `</s>` of the source is the empty word
    """
    _check_shape(weights_ts, source_count, target_count)
    return _links_to_largest(weights_ts[:target_count], source_count, has_empty_word)


def word_alignment(
    weights_ts: Float[Tensor, "t s"],
    source: SegmentedText,
    target: SegmentedText,
    *,
    has_empty_word: bool = False,
) -> list[Link]:
    """Return the links between words in the order of the target; see `piece_alignment`."""
    weights_ts = word_weights(weights_ts, source, target)[: len(target.words)]
    return _links_to_largest(weights_ts, len(source.words), has_empty_word)


def end_labels(
    weights_ts: Float[Tensor, "t s"], source: SegmentedText, target: SegmentedText
) -> tuple[list[str], list[str]]:
    """Return the labels of the column and the row of `</s>`; empty for weights without them."""
    # Only some models attend to </s> of the source, and only some translations contain </s>.
    rows, columns = weights_ts.shape
    return [END] * (columns > source.pieces), [END] * (rows > target.pieces)


def word_weights(
    weights_ts: Float[Tensor, "t s"], source: SegmentedText, target: SegmentedText
) -> Float[Tensor, "t2 s2"]:
    """Return the weights between words; the row and the column of `</s>` stay last if present.

    The sum of a row is the mean of the sums of its pieces' rows. The weight of a source piece that
    covers several words is divided equally among them.
    """
    _check_shape(weights_ts, source.pieces, target.pieces)
    rows, columns = weights_ts.shape
    shares = weights_ts.new_tensor([float(len(words) or 1) for words in source.words_of_pieces])
    # A column or row beyond the pieces belongs to </s>, which is a group by itself.
    summed = [
        (weights_ts[:, pieces] / shares[pieces]).sum(dim=1) for pieces in source.pieces_of_words
    ]
    summed += [weights_ts[:, column] for column in range(source.pieces, columns)]
    groups = target.pieces_of_words + [[row] for row in range(target.pieces, rows)]
    if not summed or not groups:
        return weights_ts.new_zeros(len(groups), len(summed))
    summed_ts = torch.stack(summed, dim=1)
    means = [
        summed_ts[rows_of_word].mean(dim=0) if rows_of_word else summed_ts.new_zeros(len(summed))
        for rows_of_word in groups
    ]
    return torch.stack(means)


def to_pharaoh(links: Iterable[Link]) -> str:
    """Format links as one line of a Pharaoh file, in the given order."""
    return " ".join(f"{source}-{target}" for source, target in links)


def _links_to_largest(
    weights_ts: Float[Tensor, "t s"], source_count: int, has_empty_word: bool
) -> list[Link]:
    # NumPy's argmax returns the first of equal values; torch's may return any of them.
    weights = weights_ts.detach().float().cpu().numpy()
    if not has_empty_word:
        weights = weights[:, :source_count]
    if not weights.size:
        return []
    best = np.argmax(weights, axis=1)
    # A row without weight has no link, although argmax returns its first position.
    linked = (weights.max(axis=1) > 0) & (best < source_count)
    return [(int(best[t]), t) for t in range(len(best)) if linked[t]]


def _check_shape(weights_ts: Tensor, source_count: int, target_count: int) -> None:
    rows, columns = weights_ts.shape
    assert 0 <= rows - target_count <= 1 and 0 <= columns - source_count <= 1, (
        f"{rows} x {columns} weights for {target_count} target and {source_count} source pieces"
    )
