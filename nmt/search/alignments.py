"""From attention to alignments between words.

`weights_ts` holds the weights of one sentence: a row a target piece, then the end mark's row where
the hypothesis was ended by one; a column a source piece, then the end mark's. Pieces are given
without end marks.

The rule. The end mark's row is dropped and its column left out. A target piece links to the source
piece that has the greatest weight among the real ones, the first of equals. For words, the weights
of a source word's pieces are summed, those of a target word's pieces averaged, and the greatest
taken as before: one link a target word. A target without weight on any real piece, as when hard
attention reads the end mark, has no link.

A Pharaoh file has a line a sentence with 0-based links `source-target` between spaces: `0-0 2-1`.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

SPACE = "▁"
END = "</s>"
BYTE = re.compile(r"<0x([0-9A-F]{2})>")

Link = tuple[int, int]


def piece_alignment(
    weights_ts: Float[Tensor, "t s"], source_count: int, target_count: int
) -> list[Link]:
    """Links (source, target) between pieces, 0-based, in the order of the target.

    Args:
        source_count, target_count: pieces without end marks
    """
    _check_shape(weights_ts, source_count, target_count)
    return _greatest(weights_ts[:target_count, :source_count])


def word_alignment(
    weights_ts: Float[Tensor, "t s"], source_pieces: Sequence[str], target_pieces: Sequence[str]
) -> list[Link]:
    """Links (source, target) between words, 0-based, in the order of the target."""
    source, target = words(source_pieces), words(target_pieces)
    return _greatest(
        word_weights(weights_ts, source_pieces, target_pieces)[: len(target), : len(source)]
    )


def word_weights(
    weights_ts: Float[Tensor, "t s"], source_pieces: Sequence[str], target_pieces: Sequence[str]
) -> Float[Tensor, "t2 s2"]:
    """Weights between words, the end marks' row and column kept last where they were there.

    Every row sums to what the rows of its pieces sum to on average.
    """
    _check_shape(weights_ts, len(source_pieces), len(target_pieces))
    rows, columns = weights_ts.shape
    source = words(source_pieces) + [[i] for i in range(len(source_pieces), columns)]
    target = words(target_pieces) + [[i] for i in range(len(target_pieces), rows)]
    summed = [weights_ts[:, group].sum(dim=1) for group in source]
    if not summed or not target:
        return weights_ts.new_zeros(len(target), len(source))
    summed_ts = torch.stack(summed, dim=1)
    return torch.stack([summed_ts[group].mean(dim=0) for group in target])


def words(pieces: Sequence[str]) -> list[list[int]]:
    """Positions of the pieces of each word; the words are those of the text split at spaces.

    A word starts at the first piece and at every piece that begins with '▁'. A lone '▁' belongs
    to the word it opens, or to the last one where none follows.
    """
    groups: list[list[int]] = []
    open_word = True  # whether the last group still waits for its first letter
    for position, piece in enumerate(pieces):
        if not groups or (piece.startswith(SPACE) and not open_word):
            groups.append([])
            open_word = True
        groups[-1].append(position)
        open_word = open_word and not piece.strip(SPACE)
    if len(groups) > 1 and open_word:
        groups[-2].extend(groups.pop())
    return groups


def word_text(pieces: Sequence[str], group: Sequence[int]) -> str:
    """The text of the word that stands at these positions; byte pieces become their characters."""
    text = b""
    for piece in (pieces[position] for position in group):
        byte = BYTE.fullmatch(piece)
        text += bytes.fromhex(byte[1]) if byte else piece.encode()
    return text.decode(errors="replace").replace(SPACE, "")


def word_texts(pieces: Sequence[str], *, end: bool = False) -> list[str]:
    """The words of the pieces, with the end mark after them where asked."""
    return [word_text(pieces, group) for group in words(pieces)] + [END] * end


def _greatest(weights_ts: Float[Tensor, "t s"]) -> list[Link]:
    # NumPy's argmax promises the first of equals, torch's does not.
    weights = weights_ts.detach().float().cpu().numpy()
    if not weights.size:
        return []
    best = np.argmax(weights, axis=1)
    return [(int(best[t]), t) for t in range(len(best)) if weights[t, best[t]] > 0]


def _check_shape(weights_ts: Tensor, source_count: int, target_count: int) -> None:
    rows, columns = weights_ts.shape
    assert 0 <= rows - target_count <= 1 and 0 <= columns - source_count <= 1, (
        f"{rows} x {columns} weights for {target_count} target and {source_count} source pieces"
    )


def to_pharaoh(links: Iterable[Link]) -> str:
    """A line of a Pharaoh file, in the order given."""
    return " ".join(f"{source}-{target}" for source, target in links)
