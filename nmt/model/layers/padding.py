"""Padded batches: recurrent layers over them in both directions, and removal of the padding.

The gradients of gathered rows are gathered as well. Autograd would scatter them by additions, which
a GPU computes by atomic operations, or by sorting if it has to be deterministic.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from nmt.device import run_branches
from nmt.model.interfaces import LayerStates
from nmt.model.layers.recurrent import RecurrentLayer


class Padding(NamedTuple):
    """Padding of a batch with the time axis first.

    Attributes:
        mask_sb: real positions
        last_1b: last real position of each sentence
        is_last_sb: True at these positions
        reversal_n: for each of the s * b rows, the row that takes its place if each sentence is
            reversed within its own length; two reversals restore the order
    """

    mask_sb: Bool[Tensor, "s b"]
    last_1b: Int[Tensor, "1 b"]
    is_last_sb: Bool[Tensor, "s b"]
    reversal_n: Int[Tensor, " n"]

    @classmethod
    def of(cls, mask_bs: Bool[Tensor, "b s"]) -> "Padding":
        """Compute the padding of a batch from its mask."""
        mask_sb = mask_bs.t()
        steps, sentences = mask_sb.shape
        position_s1 = torch.arange(steps, device=mask_bs.device)[:, None]
        last_1b = mask_sb.sum(0, keepdim=True) - 1
        # Position s of a sentence of length S goes to S - 1 - s; padding stays.
        reversed_sb = torch.where(mask_sb, last_1b - position_s1, position_s1)
        row_sb = reversed_sb * sentences + torch.arange(sentences, device=mask_bs.device)
        return cls(mask_sb, last_1b, position_s1 == last_1b, row_sb.flatten())

    def clear(self, inputs_sbx: Float[Tensor, "s b x"]) -> Float[Tensor, "s b x"]:
        """Set padding to zero, NaN included."""
        return inputs_sbx.masked_fill(~self.mask_sb[:, :, None], 0.0)

    def reverse(self, inputs_sbx: Float[Tensor, "s b x"]) -> Float[Tensor, "s b x"]:
        """Reverse each sentence within its own length; padding stays at its end."""
        # One gather of rows, which is faster than gathering single elements.
        rows_nx: Tensor = _SwapRows.apply(  # type: ignore[no-untyped-call]
            inputs_sbx.flatten(0, 1), self.reversal_n
        )
        return rows_nx.view_as(inputs_sbx)

    def last(self, inputs_sbx: Float[Tensor, "s b x"]) -> Float[Tensor, "b x"]:
        """Select the last real position of each sentence."""
        last_bx: Tensor = _SelectLast.apply(  # type: ignore[no-untyped-call]
            inputs_sbx, self.last_1b, self.is_last_sb
        )
        return last_bx


class LayerOutput(NamedTuple):
    """Output of one direction of one layer.

    Attributes:
        states_sbd: hidden states, meaningless in padding
        last_bd: hidden state after the last step of each sentence
        cell_bd: cell after that step, if it was requested
    """

    states_sbd: Float[Tensor, "s b d"]
    last_bd: Float[Tensor, "b d"]
    cell_bd: Float[Tensor, "b d"] | None


def run_layer(
    layer: RecurrentLayer,
    inputs_sbm: Float[Tensor, "s b m"],
    padding: Padding,
    *,
    backward: bool,
    needs_cell: bool,
) -> LayerOutput:
    """Run a layer over every sentence of a batch, forward or backward within its own length.

    The backward direction reads the reversed sentence, so padding comes last in both directions and
    no real state depends on it.

    Args:
        layer: the layer
        inputs_sbm: its inputs
        padding: padding of the inputs
        backward: whether the layer reads from right to left
        needs_cell: whether the last cells are needed
    """
    if backward:
        inputs_sbm = padding.reverse(inputs_sbm)
    # A hidden state can be read at any step, but torch returns only the last cell.
    hold_sb = ~padding.mask_sb if needs_cell else None
    states_sbd, (_, cell_bd) = layer.sequence(inputs_sbm, hold_tn=hold_sb)
    last_bd = padding.last(states_sbd)
    # Back to the order of the tokens.
    states_sbd = padding.reverse(states_sbd) if backward else states_sbd
    return LayerOutput(states_sbd, last_bd, cell_bd if needs_cell else None)


def run_both_directions(
    layers: Iterable[RecurrentLayer],
    inputs_sbm: Float[Tensor, "s b m"],
    padding: Padding,
    *,
    needs_cell: bool,
) -> tuple[LayerOutput, LayerOutput]:
    """Run a forward and a backward layer over the same inputs; see `run_layer`."""
    forward, backward = (
        partial(run_layer, layer, inputs_sbm, padding, backward=back, needs_cell=needs_cell)
        for layer, back in zip(layers, (False, True), strict=True)
    )
    return run_branches(forward, backward, (inputs_sbm, padding))


def layer_states(outputs: Sequence[LayerOutput]) -> LayerStates:
    """Return the last states of all layers from one output per layer."""
    cells = [output.cell_bd for output in outputs if output.cell_bd is not None]
    cell_ble = torch.stack(cells, dim=1) if cells else None
    return LayerStates(torch.stack([output.last_bd for output in outputs], dim=1), cell_ble)


def remove_padding(
    inputs_btx: Float[Tensor, "b t x"], mask_bt: Bool[Tensor, "b t"], indices_r: Int[Tensor, " r"]
) -> Float[Tensor, "r x"]:
    """Select the real tokens of a padded batch, sentence after sentence; padding gets no gradient.

    Args:
        inputs_btx: one vector per token
        mask_bt: real tokens
        indices_r: their indices in the flattened mask, as in `Batch.target_indices_r`
    """
    rows_rx: Tensor = _RemovePadding.apply(  # type: ignore[no-untyped-call]
        inputs_btx.flatten(0, 1), mask_bt.flatten(), indices_r
    )
    return rows_rx


class _SwapRows(Function):
    """A permutation of rows that is its own inverse."""

    @staticmethod
    def forward(ctx: Any, rows_nx: Tensor, index_n: Tensor) -> Tensor:
        ctx.save_for_backward(index_n)
        return rows_nx.index_select(0, index_n)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_rows_nx: Tensor) -> tuple[Tensor, None]:
        (index_n,) = ctx.saved_tensors
        return d_rows_nx.index_select(0, index_n), None


class _SelectLast(Function):
    """Selection of one position per sentence."""

    @staticmethod
    def forward(ctx: Any, inputs_sbx: Tensor, last_1b: Tensor, is_last_sb: Tensor) -> Tensor:
        ctx.save_for_backward(is_last_sb)
        # `gather` needs an index of the shape of its result.
        index_1bx = last_1b[:, :, None].expand(1, -1, inputs_sbx.size(2))
        return inputs_sbx.gather(0, index_1bx)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_last_bx: Tensor) -> tuple[Tensor, None, None]:
        (is_last_sb,) = ctx.saved_tensors
        return d_last_bx[None].where(is_last_sb[:, :, None], 0.0), None, None


class _RemovePadding(Function):
    """Selection of the rows where a mask is True."""

    @staticmethod
    def forward(ctx: Any, rows_nx: Tensor, mask_n: Tensor, indices_r: Tensor) -> Tensor:
        ctx.save_for_backward(mask_n)
        return rows_nx.index_select(0, indices_r)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_rows_rx: Tensor) -> tuple[Tensor, None, None]:
        (mask_n,) = ctx.saved_tensors
        if not len(d_rows_rx):
            return d_rows_rx.new_zeros(len(mask_n), d_rows_rx.size(1)), None, None
        # The number of real tokens before each token; for padding, the row does not matter.
        index_n = (mask_n.cumsum(0) - 1).clamp_(min=0)
        d_inputs_nx = d_rows_rx.index_select(0, index_n)
        return d_inputs_nx.masked_fill_(~mask_n[:, None], 0.0), None, None
