"""The LSTM with kernels in C against the loop over its steps in float64."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from nmt.model.layers import recurrent
from nmt.model.layers.recurrent import LayerState, LSTMLayer
from nmt.native import library
from tests.model.numpy_formulas import draw

pytestmark = pytest.mark.skipif(
    not library.is_available(), reason="the kernels in C were not compiled"
)
STEPS, SENTENCES, INPUTS, UNITS = 6, 3, 5, 20  # UNITS: a vector of 16 numbers and a rest


def _results(
    layer: LSTMLayer, dtype: torch.dtype, *, starts: bool, holds: bool, by_steps: bool = False
) -> dict[str, Tensor]:
    """Compute outputs and gradients from the same random numbers for every dtype."""
    torch.manual_seed(3)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64).to(dtype)

    layer = deepcopy(layer).to(dtype)
    # Of any layout, as the embeddings are.
    inputs_tnm = randn(SENTENCES, STEPS, INPUTS).transpose(0, 1).requires_grad_()
    tensors = {"inputs": inputs_tnm, **dict(layer.named_parameters())}
    state = None
    if starts:
        state = LayerState(*(randn(SENTENCES, UNITS).requires_grad_() for _ in range(2)))
        assert state.cell_nd is not None
        tensors |= {"hidden": state.hidden_nd, "cell": state.cell_nd}
    hold_tn = torch.arange(STEPS)[:, None] >= torch.tensor([6, 1, 4]) if holds else None
    compute = layer.sequence_by_steps if by_steps else layer.sequence
    outputs_tnd, last = compute(inputs_tnm, state, hold_tn)
    assert last.cell_nd is not None
    kept_tn1 = torch.ones(STEPS, SENTENCES, 1) if hold_tn is None else ~hold_tn[:, :, None]
    # Hidden states of held steps are meaningless.
    outputs_tnd = outputs_tnd * kept_tn1.to(dtype)
    loss = (outputs_tnd * randn(*outputs_tnd.shape)).sum()
    loss = loss + (last.cell_nd * randn(SENTENCES, UNITS)).sum()
    gradients = torch.autograd.grad(loss, list(tensors.values()))
    return {
        "outputs": outputs_tnd.detach(),
        "last cell": last.cell_nd.detach(),
        **{f"gradient of {name}": x for name, x in zip(tensors, gradients, strict=True)},
    }


@pytest.mark.parametrize("holds", [False, True])
@pytest.mark.parametrize("starts", [False, True])
@pytest.mark.parametrize(("dtype", "floor"), [(torch.float32, 3e-6), (torch.bfloat16, 4e-3)])
def test_kernels_are_about_as_exact_as_torch(
    dtype: torch.dtype,
    floor: float,
    starts: bool,
    holds: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Weights that bfloat16 represents, so that all have the same.
    layer = draw(LSTMLayer(INPUTS, UNITS)).to(torch.bfloat16).double()
    exact = _results(layer, torch.float64, starts=starts, holds=holds, by_steps=True)
    found = _results(layer, dtype, starts=starts, holds=holds)
    monkeypatch.setattr(recurrent, "supports_training", lambda _: False)
    plain = _results(layer, dtype, starts=starts, holds=holds)
    assert found.keys() == exact.keys() == plain.keys()
    for name, exact_x in exact.items():
        assert found[name].dtype == plain[name].dtype == dtype, name
        error, error_of_torch = (
            float((x[name].double() - exact_x).norm() / exact_x.norm()) for x in (found, plain)
        )
        assert error < 2 * error_of_torch + floor, name


@pytest.mark.parametrize("trains", [True, False])
def test_kernels_are_for_training_alone(trains: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    def record(inputs_tnm: Tensor, hidden_nd: Tensor, cell_nd: Tensor, *_: Tensor) -> object:
        called.append(True)
        return inputs_tnm, cell_nd

    monkeypatch.setattr(recurrent, "lstm_sequence", record)
    with torch.set_grad_enabled(trains):
        LSTMLayer(UNITS, UNITS).sequence(torch.randn(STEPS, SENTENCES, UNITS))
    assert len(called) == trains


def test_six_numbers_are_saved_per_unit_and_step() -> None:
    layer = LSTMLayer(INPUTS, UNITS)
    inputs_tnm = torch.randn(STEPS, SENTENCES, INPUTS)
    saved = []

    def record(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with saved_tensors_hooks(record, lambda tensor: tensor):
        layer.sequence(inputs_tnm)
    own = {x.data_ptr() for x in (inputs_tnm, *layer.parameters())}
    numbers = sum(x.numel() for x in saved if x.data_ptr() not in own)
    # The activations of four gates, the hidden state and the cell; the last two also at the start.
    assert numbers == (6 * STEPS + 2) * SENTENCES * UNITS
