"""Assembly of models: tied tables, and components that do not fit together."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.autograd import backward

from nmt.config.schema import ModelConfig
from nmt.errors import UserError
from nmt.model.build import build_model, check_model
from nmt.registry import DECODERS, ENCODERS, MECHANISMS, SCORES, ComponentConfig, Registry
from tests.model.minimal import BlindDecoder, UniformAttention
from tests.model.small import config, encoders, models
from tests.model.small_images import image_encoders

LUONG = ComponentConfig("luong", {"hidden_size": 3})
WIDE = ComponentConfig("luong", {"hidden_size": 6})


def _storages(model: torch.nn.Module) -> list[int]:
    names = (
        "source_embedding.table.weight",
        "target_embedding.table.weight",
        "output_layer.weight",
    )
    return [model.get_parameter(name).data_ptr() for name in names]


@pytest.mark.parametrize(("tied", "tables"), [("none", 3), ("decoder", 2), ("all", 1)])
def test_tied_tables_share_one_parameter(tied: Any, tables: int) -> None:
    model = build_model(config(decoder=LUONG, tied_embeddings=tied), 9, 9)
    source, target, output = _storages(model)
    assert len({source, target, output}) == tables
    assert (target == output) == (tied != "none")
    untied = sum(p.numel() for p in build_model(config(decoder=LUONG), 9, 9).parameters())
    assert sum(p.numel() for p in model.parameters()) == untied - (3 - tables) * 9 * 3
    with torch.no_grad():
        model.target_embedding.table.weight[4, 1] = 77.0
    assert (float(model.output_weights[0][4, 1].detach()) == 77.0) == (tied != "none")


def test_tied_table_gets_the_gradient_of_all_its_uses() -> None:
    model = build_model(config(decoder=LUONG, tied_embeddings="all"), 9, 9)
    outputs_btd = model(
        torch.tensor([[2, 3]]), torch.ones(1, 2).bool(), torch.tensor([[5, 6]])
    ).output_btd
    backward(model.output_layer(outputs_btd)[..., 8].sum())
    gradient_vm = model.target_embedding.table.weight.grad
    assert gradient_vm is not None
    assert gradient_vm.abs().sum(dim=1).gt(0).nonzero().flatten().tolist() == [2, 3, 5, 6, 8]


@pytest.mark.parametrize("tied", ["decoder", "all"])
def test_tying_tables_of_unequal_width_is_rejected(tied: Any) -> None:
    with pytest.raises(UserError) as refusal:
        build_model(config(decoder=WIDE, tied_embeddings=tied), 9, 9)
    assert str(refusal.value) == (
        f"tied_embeddings '{tied}' requires a decoder output as wide as an "
        "embedding, got 6 and 3; make them equal or use 'none'"
    )


def test_tying_two_vocabularies_is_rejected() -> None:
    model = config(decoder=LUONG, tied_embeddings="all")
    with pytest.raises(UserError, match=r"requires one vocabulary for both sides.*joint"):
        build_model(model, 9, 8)
    with pytest.raises(UserError, match="requires one vocabulary for both sides"):
        check_model(model, joint=False)
    check_model(model, joint=True)
    check_model(config(decoder=LUONG, tied_embeddings="decoder"), joint=False)


MISFITS = {
    "attention score 'dot': requires queries and annotations of equal width": config(
        decoder=LUONG, score=ComponentConfig("dot")
    ),
    "attention mechanism 'global': coverage requires a score with keys": config(
        decoder=LUONG,
        attention=ComponentConfig("global", {"coverage": True}),
        score=ComponentConfig("location"),
    ),
    "decoder 'luong': initial_state 'last' copies states of width 4 into a": config(
        decoder=ComponentConfig("luong", {"hidden_size": 3, "initial_state": "last"})
    ),
    "encoder 'bilstm': residual has no effect with layers: 1": config(
        encoder=ComponentConfig("bilstm", {"residual": True}), decoder=LUONG
    ),
}


@pytest.mark.parametrize(("message", "model"), MISFITS.items(), ids=MISFITS.keys())
def test_components_that_do_not_fit_are_a_user_error(message: str, model: ModelConfig) -> None:
    with pytest.raises(UserError) as refusal:
        check_model(model, joint=True)
    assert str(refusal.value).startswith(message)


def test_check_model_allocates_no_parameters() -> None:
    """The parameters of the model would take 140 GB."""
    huge = ComponentConfig("bilstm", {"hidden_size": 65_536})
    check_model(config(encoder=huge, decoder=LUONG), joint=True)
    assert torch.empty(0).device.type == "cpu"


def test_decoder_without_attention_parameter_has_no_attention(plugin_dir: Path) -> None:
    DECODERS.register("blind")(BlindDecoder)
    model = build_model(config(decoder=ComponentConfig("blind", {"hidden_size": 3})), 9, 9)
    memory, state = model.start(torch.tensor([[2, 3]]), torch.ones(1, 2).bool())
    prediction = model.step(torch.tensor([4]), memory, state)
    assert prediction.weights_ns is None
    assert prediction.log_probs_nv.shape == (1, 9)


def test_mechanism_without_score_parameter_has_no_score(plugin_dir: Path) -> None:
    MECHANISMS.register("uniform")(UniformAttention)
    model = build_model(config(decoder=LUONG, attention=ComponentConfig("uniform")), 9, 9)
    memory, state = model.start(torch.tensor([[2, 3]]), torch.ones(1, 2).bool())
    weights_ns = model.step(torch.tensor([4]), memory, state).weights_ns
    assert weights_ns is not None
    assert weights_ns.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize(
    ("registry", "field"),
    [(DECODERS, "decoder"), (MECHANISMS, "attention"), (SCORES, "score"), (ENCODERS, "encoder")],
    ids=["decoders", "mechanisms", "scores", "encoders"],
)
def test_every_component_has_contract_tests(registry: Registry[Any], field: str) -> None:
    """A component whose small models are all rejected would otherwise pass unnoticed."""
    tested = models() + encoders() + image_encoders()
    components = [getattr(parameter.values[0], field) for parameter in tested]
    assert {component.type for component in components if component} == set(registry)
