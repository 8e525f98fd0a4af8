"""Comparison of translations, and a line that contains a Unicode line separator."""

from collections.abc import Sequence

import pytest
import torch

from nmt.search.translation import Translation

LINE_SEPARATOR = "Guten Morgen!\u2028Gute Nacht, schlaf gut!"


def assert_equal(one: Sequence[Translation], other: Sequence[Translation]) -> None:
    """Assert equal texts and pieces, and numbers equal within the rounding of float32."""
    assert [t.text for t in one] == [t.text for t in other]
    assert [t.pieces for t in one] == [t.pieces for t in other]
    for left, right in zip(one, other, strict=True):
        assert left.score == pytest.approx(right.score, rel=1e-5, abs=1e-6), left.source
        assert left.piece_scores == pytest.approx(right.piece_scores, rel=1e-4, abs=1e-5)
        assert [t.text for t in left.n_best] == [t.text for t in right.n_best]
        if left.attention is None or right.attention is None:
            assert left.attention is right.attention
        else:
            torch.testing.assert_close(left.attention, right.attention, rtol=1e-4, atol=1e-5)
