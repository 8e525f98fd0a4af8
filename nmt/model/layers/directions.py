"""Running a recurrent layer over padded sentences, forwards or backwards."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nmt.model.layers.cell import RecurrentLayer


class Padding(NamedTuple):
    """Where a batch, time first, is padding, and how to reverse each sentence in its own length."""

    mask_sb: Bool[Tensor, "s b"]
    last_1b: Int[Tensor, "1 b"]
    reversal_r: Int[Tensor, " r"]  # of the s*b rows; reversing twice gives the rows back

    @classmethod
    def of(cls, mask_bs: Bool[Tensor, "b s"]) -> "Padding":
        mask_sb = mask_bs.t()
        steps, sentences = mask_sb.shape
        position_s1 = torch.arange(steps, device=mask_bs.device)[:, None]
        last_1b = mask_sb.sum(0, keepdim=True) - 1
        reversed_sb = torch.where(mask_sb, last_1b - position_s1, position_s1)
        row_sb = reversed_sb * sentences + torch.arange(sentences, device=mask_bs.device)
        return cls(mask_sb, last_1b, row_sb.flatten())

    def clear(self, inputs_sbx: Float[Tensor, "s b x"]) -> Float[Tensor, "s b x"]:
        """Zero in the padding, whatever stood there."""
        return inputs_sbx.masked_fill(~self.mask_sb[:, :, None], 0.0)

    def reverse(self, inputs_sbx: Float[Tensor, "s b x"]) -> Float[Tensor, "s b x"]:
        """Every sentence back to front, the padding where it was."""
        return inputs_sbx.flatten(0, 1).index_select(0, self.reversal_r).view_as(inputs_sbx)

    def last(self, inputs_sbx: Float[Tensor, "s b x"]) -> Float[Tensor, "b x"]:
        """The row of each sentence's last real position."""
        index_1bx = self.last_1b[:, :, None].expand(1, -1, inputs_sbx.size(2))
        return inputs_sbx.gather(0, index_1bx)[0]


class Run(NamedTuple):
    """What one direction of one layer found: every state, the one after the last step, its cell.

    States in the padding mean nothing; the cell is there only where it was asked for.
    """

    states_sbh: Float[Tensor, "s b h"]
    last_bh: Float[Tensor, "b h"]
    cell_bh: Float[Tensor, "b h"] | None


def run_layer(
    layer: RecurrentLayer,
    inputs_sbm: Float[Tensor, "s b m"],
    padding: Padding,
    *,
    backward: bool,
    keeps_cell: bool,
) -> Run:
    """A layer over every sentence of a batch, forwards or backwards within its own length.

    Backwards is forwards over the reversed sentence, so padding comes last in both directions and
    no real state depends on it.
    """
    if backward:
        inputs_sbm = padding.reverse(inputs_sbm)
    hold_sb = ~padding.mask_sb if keeps_cell else None
    states_sbh, (_, cell_bh) = layer.sequence(inputs_sbm, hold_tn=hold_sb)
    last_bh = padding.last(states_sbh)
    states_sbh = padding.reverse(states_sbh) if backward else states_sbh
    return Run(states_sbh, last_bh, cell_bh if keeps_cell else None)
