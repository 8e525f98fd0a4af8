"""Recurrent layers over padded sentences, forward or backward."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nmt.model.layers.recurrent import RecurrentLayer


class Padding(NamedTuple):
    """Padding of a batch with the time axis first.

    Attributes:
        mask_sb: real positions
        last_1b: last real position of each sentence
        reversal_n: for each of the s * b rows, the row that takes its place if each sentence is
            reversed within its own length; two reversals restore the order
    """

    mask_sb: Bool[Tensor, "s b"]
    last_1b: Int[Tensor, "1 b"]
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
        return cls(mask_sb, last_1b, row_sb.flatten())

    def clear(self, inputs_sbx: Float[Tensor, "s b x"]) -> Float[Tensor, "s b x"]:
        """Set padding to zero, NaN included."""
        return inputs_sbx.masked_fill(~self.mask_sb[:, :, None], 0.0)

    def reverse(self, inputs_sbx: Float[Tensor, "s b x"]) -> Float[Tensor, "s b x"]:
        """Reverse each sentence within its own length; padding stays at its end."""
        # One gather of rows, which is faster than gathering single elements.
        return inputs_sbx.flatten(0, 1).index_select(0, self.reversal_n).view_as(inputs_sbx)

    def last(self, inputs_sbx: Float[Tensor, "s b x"]) -> Float[Tensor, "b x"]:
        """Select the last real position of each sentence."""
        # `gather` needs an index of the shape of its result.
        index_1bx = self.last_1b[:, :, None].expand(1, -1, inputs_sbx.size(2))
        return inputs_sbx.gather(0, index_1bx)[0]


class LayerOutput(NamedTuple):
    """Output of one direction of one layer.

    Attributes:
        states_sbd: hidden states, meaningless in padding
        last_bd: hidden state after the last step of each sentence
        cell_bd: cell after that step, if it was asked for
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
