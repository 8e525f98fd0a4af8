"""The operations of a model, counted from the sizes, against those of its weight matrices."""

from pathlib import Path

import numpy as np
import pytest

from harness.text import save_ids
from harness.work import search_flops, training_flops
from nmt.model.build import build_meta_model
from workers.ids import Ids, Sizes
from workers.nmt_worker import model_config

SIZES = Sizes(embedding=6, encoder=4, layers=2, decoder=10, readout=8)
VOCABULARY = 30


@pytest.fixture
def ids(tmp_path: Path) -> Ids:
    """Return sentences of 3 source and 1 target tokens, with </s> 4 and 2."""
    batches = np.array([[0, 1]])
    sources, targets = [[4, 5, 6], [4, 5, 6]], [[7], [8]]
    return Ids(save_ids(tmp_path / "ids.npz", VOCABULARY, sources, targets, [[4, 5, 6]], batches))


def test_training_multiplies_by_every_weight_matrix_once_per_token(ids: Ids) -> None:
    model = build_meta_model(model_config(SIZES, "bahdanau"), VOCABULARY, VOCABULARY)
    source = target = 0
    for name, weight in model.named_parameters():
        if weight.ndim < 2 or "embedding" in name or "bridge" in name:
            continue  # tables, and the initial state, which is computed once per sentence
        if name.startswith("encoder") or "key" in name:
            source += weight.numel()
        else:
            target += weight.numel()
    assert training_flops(SIZES, ids) == 3 * 2 * (2 * source + target)


def test_search_multiplies_by_the_whole_output_layer_per_hypothesis(ids: Ids) -> None:
    one, two = (search_flops(SIZES, ids, count=1, beam=5, length=n) for n in (1, 2))
    step = 4 * 10 * 10 + 10 * 10 + 10 * 16 + 8 * VOCABULARY
    assert two - one == 2 * 5 * step
    assert one > 2 * 5 * step
