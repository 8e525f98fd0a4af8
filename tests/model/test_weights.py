"""Weights of checkpoints that earlier versions wrote."""

import pytest
import torch

from nmt.model.layers.lstmn import LSTMNLayer
from nmt.model.weights import RENAMED_WEIGHTS, load_weights, rename_weights
from nmt.registry import ComponentConfig
from tests.model.small import ADDITIVE, WIDTH, build, config

LUONG = ComponentConfig("luong", {"hidden_size": WIDTH})
MODEL = config(decoder=LUONG, attention=ComponentConfig("local_p"), score=ADDITIVE)


def test_weights_under_earlier_names_are_loaded() -> None:
    earlier_names = {today: earlier for earlier, today in RENAMED_WEIGHTS.items()}
    model, other = build(MODEL, seed=1), build(MODEL, seed=2)
    weights, renamed = {}, 0
    for name, tensor in model.state_dict().items():
        module, _, last = name.rpartition(".")
        renamed += last in earlier_names
        weights[f"{module}.{earlier_names.get(last, last)}"] = tensor
    assert renamed == 3  # v of the score, the center of the window, the bridge
    load_weights(other, weights, "checkpoint")
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("name", ["energy_a", "v_a"])
def test_a_parameter_that_still_has_an_earlier_name_keeps_it(name: str) -> None:
    """A component of the user may have such a parameter."""
    layer = torch.nn.Module()
    layer.inner = LSTMNLayer(2, 3, 4)
    layer.own = torch.nn.ParameterDict({"energy_a": torch.zeros(2)})
    weights = {f"inner.{name}": torch.zeros(4), "own.energy_a": torch.ones(2)}
    assert rename_weights(weights, layer).keys() == {"inner.v_a", "own.energy_a"}
