"""Neural Turing Machine encoder of Graves et al. 2014."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.component_spec import Positive
from nmt.model.interfaces import Encoded, Encoder, LayerStates, MachineSizes, SourceSizes
from nmt.model.layers.directions import Padding
from nmt.model.layers.turing import MachineState, TuringMachine
from nmt.registry import ENCODERS


class Machine(NamedTuple):
    """A machine that has read its source: its state, and where it wrote each source position.

    `written_bsi` are the weights of the writing heads, summed over them, zero in the padding.
    """

    state: MachineState
    written_bsi: Float[Tensor, "b s i"]


@ENCODERS.register("ntm")
class TuringEncoder(Encoder):
    """Neural Turing Machine that reads from left to right. Graves et al. 2014, section 3.

    An LSTM controller whose heads read from a memory and write to it at every position; decoder
    `ntm` continues with this memory. The annotations are the hidden states of the LSTM. The padding
    writes nothing.

    Args:
        hidden_size: units of the controller
        slots: slots of the memory, which limit the length of a copied source
        width: width of a slot
        read_heads: number of read heads
        write_heads: number of write heads
    """

    layers = 1

    def __init__(
        self,
        embedding_size: int,
        *,
        hidden_size: Positive = 100,
        slots: Positive = 128,
        width: Positive = 20,
        read_heads: Positive = 1,
        write_heads: Positive = 1,
    ) -> None:
        super().__init__()
        self.output_size = self.final_state_size = hidden_size
        memory = MachineSizes(slots, width, read_heads, write_heads)
        self.machine = TuringMachine(embedding_size, hidden_size, memory)

    @property
    def sizes(self) -> SourceSizes:
        return super().sizes._replace(machine=self.machine.sizes)

    def forward(
        self, embedded_bsm: Float[Tensor, "b s m"], mask_bs: Bool[Tensor, "b s"]
    ) -> Encoded:
        padding = Padding.of(mask_bs)
        embedded_sbm = padding.clear(embedded_bsm.transpose(0, 1))
        projected_sbg = self.machine.controller.project(embedded_sbm)
        controller, state = self.machine.begin(embedded_sbm[0])
        steps = []
        for projected_bg, real_b in zip(projected_sbg, padding.mask_sb, strict=True):
            controller, state = self.machine.step(projected_bg, controller, state, real_b)
            steps.append((*controller, state.weights_nhi.flatten(1), state.read_nf))
        hidden_sbd, cell_sbd, weights_sbx, read_sbf = map(torch.stack, zip(*steps, strict=True))
        last_bd = padding.last(hidden_sbd)
        cell_bld = padding.last(cell_sbd)[:, None] if self.keeps_cells else None
        ended = MachineState(
            state.memory_nci,
            padding.last(weights_sbx).view_as(state.weights_nhi),
            padding.last(read_sbf),
        )
        heads = state.weights_nhi.shape[1:]
        weights_sbhi = padding.clear(weights_sbx).view(*weights_sbx.shape[:2], *heads)
        written_sbi = weights_sbhi[:, :, self.machine.sizes.read_heads :].sum(dim=2)
        return Encoded(
            padding.clear(hidden_sbd).transpose(0, 1),
            mask_bs,
            last_bd,
            LayerStates(last_bd[:, None], cell_bld),
            machine=Machine(ended, written_sbi.transpose(0, 1)),
        )
