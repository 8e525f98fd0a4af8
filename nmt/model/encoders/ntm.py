"""The encoder of Graves et al. 2014: a Neural Turing Machine that writes the source to memory."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.component_spec import Count, Size
from nmt.model.interfaces import Encoded, Encoder, LayerStates, SourceSizes
from nmt.model.layers.ntm import (
    WRITTEN_MEMORY,
    MemorySizes,
    MemoryState,
    TuringMachine,
    WrittenMemory,
)
from nmt.model.layers.padding import Padding
from nmt.registry import ENCODERS


@ENCODERS.register("ntm")
class TuringEncoder(Encoder):
    """Neural Turing Machine that reads from left to right. Graves et al. 2014, section 3.

    The heads of an LSTM write to a memory and read from it at every position; decoder `ntm`
    continues with that memory. The annotations are the hidden states of the LSTM. Nothing is
    written in padding.

    Args:
        hidden_size: width of the controller
        slots: number of memory slots, an upper limit on the length of a target that is copied
        width: width of a slot
        read_heads: number of heads that read
        write_heads: number of heads that write
    """

    layers = 1

    def __init__(
        self,
        embedding_size: int,
        *,
        hidden_size: Size = 100,
        slots: Size = 128,
        width: Size = 20,
        read_heads: Count = 1,
        write_heads: Count = 1,
    ) -> None:
        super().__init__()
        self.output_size = self.final_state_size = hidden_size
        sizes = MemorySizes(slots, width, read_heads, write_heads)
        self.machine = TuringMachine(embedding_size, hidden_size, sizes)

    @property
    def sizes(self) -> SourceSizes:
        return super().sizes._replace(extras={WRITTEN_MEMORY: self.machine.sizes})

    def forward(
        self, embedded_bsm: Float[Tensor, "b s m"], mask_bs: Bool[Tensor, "b s"]
    ) -> Encoded:
        padding = Padding.of(mask_bs)
        embedded_sbm = padding.clear(embedded_bsm.transpose(0, 1))
        # The inputs of all steps in one product.
        projected_sbg = self.machine.controller.project(embedded_sbm)
        controller, state = self.machine.initial_state(embedded_sbm[0])
        steps = []
        for projected_bg, mask_b in zip(projected_sbg, padding.mask_sb, strict=True):
            # Rows in padding do not write. Their controller runs on; its states are discarded.
            controller, state = self.machine.step(projected_bg, controller, state, mask_b)
            steps.append((*controller, state.weights_nhi.flatten(1), state.read_nf))
        hidden_sbd, cell_sbd, weights_sbx, read_sbf = map(torch.stack, zip(*steps, strict=True))
        last_bd = padding.last(hidden_sbd)
        cell_bld = padding.last(cell_sbd)[:, None] if self.keeps_cells else None
        # Padding writes nothing, so the memory after the last step is that after the last position.
        final = MemoryState(
            state.memory_nui,
            padding.last(weights_sbx).view_as(state.weights_nhi),
            padding.last(read_sbf),
        )
        heads = state.weights_nhi.shape[1:]
        weights_sbhi = padding.clear(weights_sbx).view(*weights_sbx.shape[:2], *heads)
        # Write heads follow the read heads.
        written_sbi = weights_sbhi[:, :, self.machine.sizes.read_heads :].sum(dim=2)
        return Encoded(
            padding.clear(hidden_sbd).transpose(0, 1),
            mask_bs,
            last_bd,
            LayerStates(last_bd[:, None], cell_bld),
            {WRITTEN_MEMORY: WrittenMemory(final, written_sbi.transpose(0, 1))},
        )
