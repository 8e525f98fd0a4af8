"""Ids of the special tokens, for code that needs no vocabulary."""

from typing import NamedTuple


class SpecialTokens(NamedTuple):
    """Ids of the special tokens that batching needs: padding, begin and end of a sentence."""

    pad: int
    bos: int
    eos: int


SpecialTokenPair = tuple[SpecialTokens | None, SpecialTokens]
"""Special tokens of source and target; images have none."""
