"""Matrices as 8-bit integers: exact in the layers that multiply in integers, near elsewhere."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.errors import UserError
from nmt.inference import linear
from nmt.inference.compile import compile_model
from nmt.inference.linear import Int8Linear, Int8Product
from nmt.inference.quantization import (
    ABSMAX,
    check_quantized,
    quantize_weights,
    restore_weights,
    restored_shapes,
)
from nmt.inference.saved_model import load_saved_model
from nmt.model.seq2seq import Seq2Seq
from nmt.model.weights import load_weights, weight_tensors


@pytest.fixture(scope="module")
def model(trained: Any) -> Seq2Seq:
    return load_saved_model(trained).model


def integers(model: Seq2Seq) -> list[tuple[Tensor, Tensor]]:
    """Return integers and scales of all integer layers of a compiled model."""
    compiled = compile_model(model, precision="int8")._model
    products = [module.product for module in compiled.modules() if isinstance(module, Int8Linear)]
    assert products
    return [(one.weight_dv, one.scale_v) for one in products if isinstance(one, Int8Product)]


def test_layers_of_integers_are_the_same_after_quantization(
    trained: Any, model: Seq2Seq, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Prepacked integers cannot be read.
    monkeypatch.setattr(linear, "supports_prepacked_int8", lambda: False)
    assert integers(model)
    restored = load_saved_model(trained).model
    load_weights(restored, restore_weights(*quantize_weights(model)), "here")
    for before, after in zip(integers(model), integers(restored), strict=True):
        assert torch.equal(before[0], after[0])
        assert torch.equal(before[1], after[1])


def test_restored_weights_are_within_half_a_step(model: Seq2Seq) -> None:
    weights, blocks = quantize_weights(model)
    restored = restore_weights(weights, blocks)
    assert restored.keys() == weight_tensors(model).keys()
    for name, exact in weight_tensors(model).items():
        if name in blocks:
            step = exact.double().abs().amax(dim=1, keepdim=True) / 127
            assert bool(((restored[name] - exact.double()).abs() <= 0.5001 * step).all())
        else:
            assert torch.equal(restored[name], exact)
    # Energies, whose errors grow in the softmax, are exact; most other weights are integers.
    assert not any(".score." in name for name in blocks)
    assert sum(weights[name].numel() for name in blocks) > 0.7 * sum(
        tensor.numel() for tensor in weight_tensors(model).values()
    )


def test_quantizing_twice_changes_nothing(trained: Any, model: Seq2Seq) -> None:
    once, blocks = quantize_weights(model)
    restored = load_saved_model(trained).model
    load_weights(restored, restore_weights(once, blocks), "here")
    twice, _ = quantize_weights(restored)
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_shapes_are_those_of_restored_weights(model: Seq2Seq) -> None:
    weights, blocks = quantize_weights(model)
    shapes = restored_shapes(weights, blocks)
    for name, tensor in restore_weights(weights, blocks).items():
        assert (shapes[name].shape, shapes[name].dtype) == (tensor.shape, tensor.dtype)
        assert shapes[name].device.type == "meta"


@pytest.mark.parametrize(
    ("change", "widths"),
    [
        ({}, [2, 2]),
        ({}, [4, 4]),
        ({"a": torch.zeros(2, 4)}, [4]),
        ({"a": torch.zeros(8, dtype=torch.int8)}, [4]),
        ({"a" + ABSMAX: torch.zeros(3, 1)}, [4]),
        ({"a" + ABSMAX: torch.zeros(2, 1, dtype=torch.float64)}, [4]),
        ({"a" + ABSMAX: torch.zeros(2)}, [4]),
    ],
)
def test_integers_that_fit_no_blocks_are_refused(
    change: dict[str, Tensor], widths: list[int]
) -> None:
    good = {"a": torch.zeros(2, 4, dtype=torch.int8), "a" + ABSMAX: torch.zeros(2, 1)}
    check_quantized(good, {"a": [4]}, "here")
    with pytest.raises(UserError, match="here: a is not a matrix of integers"):
        check_quantized(good | change, {"a": widths}, "here")
    with pytest.raises(UserError, match="here: b is not a matrix of integers"):
        check_quantized(good, {"b": [4]}, "here")
