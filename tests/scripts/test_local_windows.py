import pytest
import torch
from local_windows import Windows, measure, read, table

from nmt.data.batch import Batch
from nmt.model.attention.mechanisms.local_p import PredictiveLocalAttention
from nmt.registry import ComponentConfig
from tests.model import small


def test_moves_and_weights_are_counted_at_real_positions() -> None:
    center_bt = torch.tensor([[0.5, 2.5, 1.0], [1.0, 9.0, 9.0]])
    weights_bts = torch.arange(24.0).view(2, 3, 4)
    target_mask_bt = torch.tensor([[True, True, True], [True, False, False]])
    source_mask_bs = torch.tensor([[True, True, True, True], [True, True, False, False]])
    real_bts = target_mask_bt[:, :, None] & source_mask_bs[:, None]
    found = measure(center_bt, weights_bts, real_bts, 1)
    assert found.moves.tolist() == [2.0, -1.5]
    # Positions within 1 of 0.5, 2.5 and 1.0; the second sentence has positions 0 and 1 only.
    assert found.inside.tolist() == [0.0, 1.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 13.0]
    assert found.outside.tolist() == [2.0, 3.0, 4.0, 5.0, 11.0]


@pytest.mark.parametrize("input_feeding", [True, False])
def test_weights_outside_of_a_models_windows_are_zero(input_feeding: bool) -> None:
    decoder = ComponentConfig("luong", {"hidden_size": small.WIDTH, "input_feeding": input_feeding})
    attention = ComponentConfig("local_p", {"window": 1, "hidden_size": small.WIDTH})
    model = small.build(small.config(decoder=decoder, attention=attention)).eval()
    assert isinstance(model.decoder.attention, PredictiveLocalAttention)
    text = small.text()
    mask_bt = text.target_mask_bt
    batch = Batch.create(
        text.source_bs, text.source_mask_bs, text.target_bt, text.target_bt, mask_bt
    )
    found = read(model, model.decoder.attention, batch)
    assert len(found.moves) == int(mask_bt[:, 1:].sum())
    pairs = int((mask_bt.sum(1) * text.source_mask_bs.sum(1)).sum())
    assert len(found.inside) + len(found.outside) == pairs
    assert len(found.outside) > 0
    assert found.outside.count_nonzero() == 0
    assert found.inside.count_nonzero() == len(found.inside)


def test_table_contains_moves_and_weights() -> None:
    found = Windows(torch.tensor([1.0, 0.0, -4.0, 1.0]), torch.tensor([0.0, 0.5]), torch.ones(6))
    rows = dict(line.strip("| ").split(" | ") for line in table(found, 2, 10).splitlines()[2:])
    assert {name.strip(): value.strip() for name, value in rows.items()} == {
        "sentences": "2",
        "moves p_{t+1} - p_t": "4",
        "mean move, in source positions": "-0.500",
        "moves that are not backward": "75.0%",
        "source positions within 10 of the center": "75.0%",
        "weights outside of windows": "2",
        "of which not exactly 0": "1",
    }
