"""Weights of checkpoints that earlier versions wrote."""

import pytest
import torch

from nmt.errors import UserError
from nmt.model.attention.scores.cosine import CosineScore
from nmt.model.layers.lstmn import LSTMNLayer
from nmt.model.seq2seq import Seq2Seq
from nmt.model.weights import (
    RENAMED_WEIGHTS,
    load_weights,
    rename_weights,
    training_buffers,
    weight_tensors,
)
from nmt.registry import ComponentConfig
from nmt.training.checkpointing import BUFFER, restore_buffers
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


HARD = ComponentConfig("hard")
TRANSFERS = {
    "soft to hard": (ComponentConfig("soft"), HARD),
    "hard to soft": (HARD, ComponentConfig("soft")),
    "another reward": (HARD, ComponentConfig("hard", {"reward": "step"})),
}


@pytest.mark.parametrize("names", ["of today", "of earlier versions"])
@pytest.mark.parametrize(("before", "after"), TRANSFERS.values(), ids=TRANSFERS)
def test_weights_of_one_mechanism_start_another_with_other_training_state(
    before: ComponentConfig, after: ComponentConfig, names: str
) -> None:
    model = build(config(decoder=LUONG, attention=before, score=ADDITIVE), seed=1)
    other = build(config(decoder=LUONG, attention=after, score=ADDITIVE), seed=2)
    weights = weight_tensors(model)
    if names == "of earlier versions":
        weights |= training_buffers(model)
    load_weights(other, weights, "checkpoint")
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    assert all(buffer.isnan().all() for buffer in training_buffers(other).values())


def test_fixed_sharpness_of_a_started_model_is_its_own_option() -> None:
    def fixed(sharpness: float) -> Seq2Seq:
        options = {"learned": False, "sharpness": sharpness}
        return build(config(decoder=LUONG, score=ComponentConfig("cosine", options)))

    model, other = fixed(10.0), fixed(3.0)
    for weights in (weight_tensors(model), weight_tensors(model) | training_buffers(model)):
        load_weights(other, weights, "checkpoint")
        score = other.get_submodule("decoder.attention.score")
        assert isinstance(score, CosineScore)
        assert score.log_sharpness.exp().item() == pytest.approx(3.0)


def test_a_missing_parameter_is_refused() -> None:
    model = build(MODEL)
    weights = weight_tensors(model)
    weights.pop("decoder.attention.center_a")
    with pytest.raises(UserError, match="center_a does not fit"):
        load_weights(model, weights, "checkpoint")


@pytest.mark.parametrize("place", ["training", "weights"])
def test_a_continued_run_restores_training_state(place: str) -> None:
    """Checkpoints of earlier versions hold it among the weights."""
    model, other = (build(config(decoder=LUONG, attention=HARD, score=ADDITIVE)) for _ in "ab")
    ((name, buffer),) = training_buffers(model).items()
    buffer.fill_(-4.25)
    training = {f"{BUFFER}{name}": buffer} if place == "training" else {}
    restore_buffers(other, training, {name: buffer} if place == "weights" else {})
    assert torch.equal(training_buffers(other)[name], buffer)
