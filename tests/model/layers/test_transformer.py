"""Position embeddings: the formula in NumPy, any start, and the end of learned ones."""

import numpy as np
import pytest
import torch

from nmt.errors import UserError
from nmt.model.layers.transformer import LearnedPositions, Sinusoids, make_positions
from tests.model.numpy_formulas import array, draw


@pytest.mark.parametrize("size", [6, 7, 1])
@pytest.mark.parametrize("start", [0, 1, 900])
def test_sinusoids_equal_the_formula(size: int, start: int) -> None:
    embedded_btm = torch.randn(2, 4, size, dtype=torch.float64)
    placed = array(Sinusoids(size)(embedded_btm, start))
    for b, t, unit in np.ndindex(2, 4, size):
        angle = (start + t) / 10000 ** (2 * (unit // 2) / size)
        expected = np.cos(angle) if unit % 2 else np.sin(angle)
        assert placed[b, t, unit] - embedded_btm[b, t, unit] == pytest.approx(expected, abs=1e-12)


def test_sinusoids_are_exact_at_large_positions() -> None:
    """Angles rounded to float32 would be off by 1e-3 there."""
    near = Sinusoids(4)(torch.zeros(1, 3, 4), 20_000)
    exact = Sinusoids(4)(torch.zeros(1, 3, 4, dtype=torch.float64), 20_000)
    assert near.dtype == torch.float32
    torch.testing.assert_close(near.double(), exact, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("kind", "max_length"), [("sinusoid", None), ("learned", 9)])
def test_positions_of_a_sequence_equal_single_positions(kind: str, max_length: int | None) -> None:
    positions = draw(make_positions(kind, 5, max_length))  # type: ignore[arg-type]
    embedded_btm = torch.randn(2, 9, 5, dtype=torch.float64)
    whole_btm = positions(embedded_btm)
    for t in range(9):
        assert torch.equal(positions(embedded_btm[:, t : t + 1], t), whole_btm[:, t : t + 1])


def test_learned_positions_are_rows_of_unit_length() -> None:
    torch.manual_seed(1)
    positions = LearnedPositions(64, 300)
    added_1tm = positions(torch.zeros(1, 2, 64), 7)
    assert torch.equal(added_1tm[0], positions.table_tm[7:9])
    norm_t = positions.table_tm.norm(dim=1)
    assert float(norm_t.mean().detach()) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(("start", "count"), [(0, 9), (8, 1), (5, 4)])
def test_sentence_beyond_the_learned_positions_is_a_user_error(start: int, count: int) -> None:
    positions = make_positions("learned", 3, 8)
    positions(torch.zeros(1, 8, 3))
    with pytest.raises(UserError, match=r"sentence of 9 or more tokens .* the 8 .*max_length"):
        positions(torch.zeros(1, count, 3), start)


def test_max_length_of_sinusoids_is_rejected() -> None:
    with pytest.raises(ValueError, match="max_length has no effect"):
        make_positions("sinusoid", 3, 100)


def test_default_number_of_learned_positions() -> None:
    (table_tm,) = make_positions("learned", 3, None).parameters()
    assert table_tm.shape == (1024, 3)
