"""The encoder of Bahdanau et al. 2014: a stack of LSTMs that reads in both directions."""

from collections.abc import Iterable
from typing import Literal, NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nmt.model.interfaces import Encoded, Encoder, LayerStates
from nmt.model.layers.dropout import SequenceDropout
from nmt.model.layers.lstm import LSTMLayer
from nmt.parts import Positive, Probability
from nmt.registry import ENCODERS


@ENCODERS.register("bilstm")
class BiLSTMEncoder(Encoder):
    """Annotations h_j = [→h_j; ←h_j] of bidirectional LSTMs. Bahdanau et al. 2014, section 3.2.

    Sentences stay padded: the backward direction runs forwards over every sentence reversed within
    its own length, so padding comes last in both directions and no result depends on it.

    Args:
        hidden_size: units of one direction
        layers: LSTM layers on top of each other
        dropout: share of units dropped between layers
        variational: one dropout mask for all positions of a sentence
        bidirectional: read backwards too
        merge: how the directions become one annotation; concat when not given
        residual: add a layer's input to its output, from the second layer on
    """

    def __init__(
        self,
        embedding_size: int,
        *,
        hidden_size: Positive = 256,
        layers: Positive = 1,
        dropout: Probability = 0.0,
        variational: bool = False,
        bidirectional: bool = True,
        merge: Literal["concat", "sum", "mean"] | None = None,
        residual: bool = False,
    ) -> None:
        super().__init__()
        _refuse_unused(layers, dropout, variational, bidirectional, merge, residual)
        self.merge = merge or "concat"
        self.residual = residual
        self.layers, self.summary_size = layers, hidden_size
        directions = 2 if bidirectional else 1
        self.output_size = hidden_size * (directions if self.merge == "concat" else 1)
        sizes = [embedding_size] + [self.output_size] * (layers - 1)
        self.stack = nn.ModuleList(
            nn.ModuleList(LSTMLayer(size, hidden_size) for _ in range(directions)) for size in sizes
        )
        self.dropout = SequenceDropout(dropout, variational=variational)

    @property
    def _lstms(self) -> Iterable[Iterable[LSTMLayer]]:
        # torch types the elements of a ModuleList as Module, whatever they are.
        return cast(Iterable[Iterable[LSTMLayer]], self.stack)

    def forward(
        self, embedded_bsm: Float[Tensor, "b s m"], mask_bs: Bool[Tensor, "b s"]
    ) -> Encoded:
        padded = Padding.of(mask_bs)
        states_sbe = padded.clear(embedded_bsm.transpose(0, 1))
        hidden_lbe, cell_lbe = [], []
        for number, layer in enumerate(self._lstms):
            below_sbe = states_sbe if number == 0 else self.dropout(states_sbe)
            ran = [self._run(lstm, below_sbe, padded, bool(i)) for i, lstm in enumerate(layer)]
            states_sbe = padded.clear(self._merge([r.states_sbh for r in ran]))
            if self.residual and number > 0:
                states_sbe = states_sbe + below_sbe
            hidden_lbe.append(self._merge([r.last_bh for r in ran]))
            cell_lbe.append(self._merge([r.cell_bh for r in ran]))
        cells_ble = torch.stack(cell_lbe, dim=1) if self.keeps_cells else None
        final = LayerStates(torch.stack(hidden_lbe, dim=1), cells_ble)
        return Encoded(states_sbe.transpose(0, 1), mask_bs, ran[-1].last_bh, final)

    def _run(
        self, lstm: LSTMLayer, inputs_sbm: Float[Tensor, "s b m"], padded: "Padding", backward: bool
    ) -> "Run":
        if backward:
            inputs_sbm = padded.reverse(inputs_sbm)
        hold_sb = ~padded.mask_sb if self.keeps_cells else None
        states_sbh, (_, cell_bh) = lstm.sequence(inputs_sbm, hold_tn=hold_sb)
        last_bh = padded.last(states_sbh)
        return Run(padded.reverse(states_sbh) if backward else states_sbh, last_bh, cell_bh)

    def _merge(self, directions: list[Tensor]) -> Tensor:
        if len(directions) == 1:
            return directions[0]
        if self.merge == "concat":
            return torch.cat(directions, dim=-1)
        return torch.stack(directions).sum(0) / (2 if self.merge == "mean" else 1)


class Run(NamedTuple):
    """What one direction of one layer found: every state, the one after the last step, its cell."""

    states_sbh: Float[Tensor, "s b h"]
    last_bh: Float[Tensor, "b h"]
    cell_bh: Float[Tensor, "b h"]


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


def _refuse_unused(
    layers: int,
    dropout: float,
    variational: bool,
    bidirectional: bool,
    merge: str | None,
    residual: bool,
) -> None:
    """Raise ValueError for an option that another one leaves without effect."""
    if layers == 1 and dropout:
        raise ValueError("dropout stands between layers, and there is one; remove it or add layers")
    if variational and not dropout:
        raise ValueError("variational says how to drop out, and dropout is 0; set dropout")
    if merge and not bidirectional:
        raise ValueError("merge joins two directions, and bidirectional is false; remove merge")
    if residual and layers == 1:
        raise ValueError("residual links start at the second layer, and there is one")
