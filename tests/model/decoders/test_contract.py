"""Contract of all decoders: gradients, precision, initial states."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import backward

from nmt.config.schema import ModelConfig
from nmt.model.interfaces import AnyDecoder, Encoded, LayerStates, SourceSizes
from nmt.model.layers.bridge import Bridge
from nmt.model.layers.lstmn import MEMORY_TAPE
from nmt.model.layers.ntm import WRITTEN_MEMORY, MemorySizes, MemoryState, WrittenMemory
from tests.model.small import (
    WIDTH,
    build,
    models,
)

MASK_BS = torch.tensor([[True, True, True], [True, False, False]])


class _Whole(nn.Module):
    """A decoder as a function from tensors to tensors."""

    def __init__(self, decoder: AnyDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self, embedded: Tensor, states: Tensor, summary: Tensor, final: Tensor, *machine: Tensor
    ) -> tuple[Tensor, ...]:
        cells_ble = final[1] if self.decoder.needs_cells else None
        last = LayerStates(final[0], cells_ble)
        # Any tensor of this shape can serve as a memory tape.
        extras: dict[str, object] = {MEMORY_TAPE: states.flip(-1)}
        if machine:
            *state, written_bsi = machine
            extras[WRITTEN_MEMORY] = WrittenMemory(MemoryState(*state), written_bsi)
        encoded = Encoded(states, MASK_BS, summary, last, extras)
        output = self.decoder(embedded, encoded, need_weights=True)
        found = (output.output_btd, output.weights_bts)
        return tuple(tensor for tensor in found if tensor is not None)


def _inputs(sizes: SourceSizes, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Return inputs of `_Whole` for an encoder of these sizes."""
    torch.manual_seed(2)
    states_bse = torch.randn(2, 3, WIDTH, dtype=dtype) * MASK_BS[:, :, None]
    embedded_btm = torch.randn(2, 3, 3, dtype=dtype)
    final_state_bx = torch.randn(2, sizes.final_state, dtype=dtype)
    final = torch.randn(2, 2, 2, WIDTH, dtype=dtype)
    return (
        embedded_btm,
        states_bse,
        final_state_bx,
        final,
        *_machine(sizes.extras.get(WRITTEN_MEMORY), dtype),
    )


def _machine(sizes: MemorySizes | None, dtype: torch.dtype) -> tuple[Tensor, ...]:
    if sizes is None:
        return ()
    memory_nui = torch.randn(2, sizes.width, sizes.slots, dtype=dtype)
    weights_nhi = torch.rand(2, sizes.heads, sizes.slots, dtype=dtype)
    read_nf = torch.randn(2, sizes.read_heads * sizes.width, dtype=dtype)
    return memory_nui, weights_nhi, read_nf, torch.rand(2, 3, sizes.slots, dtype=dtype)


@pytest.mark.parametrize("model", models())
def test_decoder_gradients(model: ModelConfig) -> None:
    built = build(model)
    whole, inputs = _Whole(built.decoder), _inputs(built.encoder.sizes, torch.float64)
    names = [name for name, _ in whole.named_parameters()]

    def outputs(*values: Tensor) -> tuple[Tensor, ...]:
        parameters = dict(zip(names, values[len(inputs) :], strict=True))
        found: tuple[Tensor, ...] = torch.func.functional_call(
            whole, parameters, values[: len(inputs)]
        )
        return found

    given = (*(tensor.requires_grad_() for tensor in inputs), *whole.parameters())
    assert torch.autograd.gradcheck(outputs, given, fast_mode=True)


def _has_cosine(model: ModelConfig) -> bool:
    return model.score is not None and model.score.type == "cosine"


def _in_bfloat16() -> Iterator[Any]:
    for one in models():
        # The sharpness of a cosine, 10, multiplies the rounding errors of its energies.
        if not _has_cosine(one.values[0]):
            marks = [*one.marks, *([ILL_CONDITIONED] if one.id in NEARLY_CANCELED else [])]
            yield pytest.param(*one.values, id=one.id, marks=marks)


# Models of three units whose addends of the gradient nearly cancel for these inputs: they differ by
# 3.7 % and 3.002 %. Rounding the parameters and inputs of the first changes it by 5.6 %.
NEARLY_CANCELED = {
    "bahdanau(hidden_size=3,layers=2,cell=gru,layer_norm=True,initial_state=zero,deep_output=False)"
    "-global(coverage=True)-additive(hidden_size=3)",
    "lstmn(hidden_size=3,attention_size=3,query=input,initial_state=zero,deep_output=False)"
    "-global(coverage=True)-concat",
}
ILL_CONDITIONED = pytest.mark.xfail(reason="addends of the gradient nearly cancel")


@pytest.mark.parametrize("model", list(_in_bfloat16()))
def test_bfloat16_is_close_to_float32(model: ModelConfig) -> None:
    """bfloat16 has 8 bits, 0.4 %; outputs and gradients stay within 3 % of their size."""
    built = build(model, torch.float32)
    whole, inputs = _Whole(built.decoder), _inputs(built.encoder.sizes, torch.float32)
    results = []
    for narrow in (False, True):
        whole.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            outputs_btd = whole(*inputs)[0]
        backward(outputs_btd.float().square().sum())
        slopes = [p.grad.flatten() for p in whole.parameters() if p.grad is not None]
        results.append((outputs_btd.float().detach(), torch.cat(slopes)))
    for exact, near in zip(*results, strict=True):
        difference = float((exact - near).norm() / exact.norm())
        assert 1e-6 < difference < 0.03, "equal results would mean that nothing was narrow"


def _encoded(layers: int) -> Encoded:
    torch.manual_seed(1)
    states_bse, final_state_bx = torch.randn(2, 3, 4), torch.randn(2, 2)
    return Encoded(states_bse, MASK_BS, final_state_bx, LayerStates(*torch.randn(2, 2, layers, 4)))


def test_initial_state_zero_is_independent_of_the_source() -> None:
    states = Bridge("zero", SourceSizes(4, 2, 1), 5, 2)(_encoded(1))
    assert [part.shape for state in states for part in state] == [(2, 5)] * 4
    assert sum(part.abs().sum() for state in states for part in state) == 0


def test_initial_state_last_copies_the_top_layers_in_order() -> None:
    encoded = _encoded(3)
    lower, upper = Bridge("last", SourceSizes(4, 2, 3), 4, 2)(encoded)
    assert encoded.layer_states.cell_ble is not None
    assert torch.equal(lower.hidden_nd, encoded.layer_states.hidden_ble[:, 1])
    assert torch.equal(upper.hidden_nd, encoded.layer_states.hidden_ble[:, 2])
    assert torch.equal(lower.cell_nd, encoded.layer_states.cell_ble[:, 1])
    assert torch.equal(upper.cell_nd, encoded.layer_states.cell_ble[:, 2])


def test_initial_state_last_rejects_other_widths_and_fewer_layers() -> None:
    with pytest.raises(ValueError, match="width 4 into a decoder of width 5; make the widths"):
        Bridge("last", SourceSizes(4, 2, 1), 5, 1)
    with pytest.raises(ValueError, match="got 1 and 2"):
        Bridge("last", SourceSizes(4, 2, 1), 4, 2)
