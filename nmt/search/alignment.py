"""Word and subword alignments from attention weights.

`weights_ts` holds the attention weights of one sentence: one row per target piece, then a row for
`</s>` if the hypothesis is finished; one column per source piece, then a column for `</s>`. Pieces
are SentencePiece's, given without `</s>`.

The row and the column of `</s>` are excluded. A target piece is linked to the source piece with the
largest weight, the first one if several are equal. For words, weights are summed over the pieces of
a source word and averaged over the pieces of a target word before the largest is selected, so a
target word has one link. A target without weight on any source piece has no link; hard attention,
for example, may select `</s>`.

A Pharaoh file has one line per sentence with 0-based links `source-target` separated by spaces:
`0-0 2-1`.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

SPACE = "▁"
END = "</s>"
BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")

Link = tuple[int, int]
"""(source, target), 0-based."""


def piece_alignment(
    weights_ts: Float[Tensor, "t s"], source_count: int, target_count: int
) -> list[Link]:
    """Return the links between pieces in the order of the target.

    Args:
        weights_ts: attention weights of one sentence
        source_count, target_count: number of pieces, `</s>` excluded
    """
    _check_shape(weights_ts, source_count, target_count)
    return _links_to_largest(weights_ts[:target_count, :source_count])


def word_alignment(
    weights_ts: Float[Tensor, "t s"], source_pieces: Sequence[str], target_pieces: Sequence[str]
) -> list[Link]:
    """Return the links between words in the order of the target."""
    source_count, target_count = len(word_spans(source_pieces)), len(word_spans(target_pieces))
    weights_ts = word_weights(weights_ts, source_pieces, target_pieces)
    return _links_to_largest(weights_ts[:target_count, :source_count])


def word_weights(
    weights_ts: Float[Tensor, "t s"], source_pieces: Sequence[str], target_pieces: Sequence[str]
) -> Float[Tensor, "t2 s2"]:
    """Return the weights between words; the row and the column of `</s>` stay last if present.

    The sum of a row is the mean of the sums of its pieces' rows.
    """
    _check_shape(weights_ts, len(source_pieces), len(target_pieces))
    rows, columns = weights_ts.shape
    # A column or row beyond the pieces belongs to </s>, which is a group by itself.
    source = word_spans(source_pieces) + [[i] for i in range(len(source_pieces), columns)]
    target = word_spans(target_pieces) + [[i] for i in range(len(target_pieces), rows)]
    summed = [weights_ts[:, span].sum(dim=1) for span in source]
    if not summed or not target:
        return weights_ts.new_zeros(len(target), len(source))
    summed_ts = torch.stack(summed, dim=1)
    return torch.stack([summed_ts[span].mean(dim=0) for span in target])


def word_spans(pieces: Sequence[str]) -> list[list[int]]:
    """Return the positions of each word's pieces; words are those of the text split at spaces.

    A word starts at the first piece and at every piece that starts with '▁'. A lone '▁' belongs to
    the word that follows, or to the last word if none follows.
    """
    spans: list[list[int]] = []
    is_empty = True  # the last word has no letter yet, only '▁'
    for position, piece in enumerate(pieces):
        if not spans or (piece.startswith(SPACE) and not is_empty):
            spans.append([])
            is_empty = True
        spans[-1].append(position)
        is_empty = is_empty and not piece.strip(SPACE)
    if len(spans) > 1 and is_empty:  # the text ends with a space
        spans[-2].extend(spans.pop())
    return spans


def word_text(pieces: Sequence[str], span: Sequence[int]) -> str:
    """Return the text of the word at these positions, with byte pieces decoded to characters."""
    text = b""  # a character may be spelled by several byte pieces
    for piece in (pieces[position] for position in span):
        byte = BYTE_PIECE.fullmatch(piece)
        text += bytes.fromhex(byte[1]) if byte else piece.encode()
    return text.decode(errors="replace").replace(SPACE, "")


def word_texts(pieces: Sequence[str], *, end: bool = False) -> list[str]:
    """Return the words of the pieces, followed by `</s>` if `end` is set."""
    return [word_text(pieces, span) for span in word_spans(pieces)] + [END] * end


def to_pharaoh(links: Iterable[Link]) -> str:
    """Format links as one line of a Pharaoh file, in the given order."""
    return " ".join(f"{source}-{target}" for source, target in links)


def _links_to_largest(weights_ts: Float[Tensor, "t s"]) -> list[Link]:
    # NumPy's argmax returns the first of equal values; torch's may return any of them.
    weights = weights_ts.detach().float().cpu().numpy()
    if not weights.size:
        return []
    best = np.argmax(weights, axis=1)
    # A row without weight has no link, although argmax returns its first position.
    return [(int(best[t]), t) for t in range(len(best)) if weights[t, best[t]] > 0]


def _check_shape(weights_ts: Tensor, source_count: int, target_count: int) -> None:
    rows, columns = weights_ts.shape
    assert 0 <= rows - target_count <= 1 and 0 <= columns - source_count <= 1, (
        f"{rows} x {columns} weights for {target_count} target and {source_count} source pieces"
    )
