"""The decoder of Graves et al. 2014: a Neural Turing Machine that reads the encoder's memory."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.component_spec import Probability, Size
from nmt.model.decoders.recurrent import RecurrentDecoder, RecurrentStep
from nmt.model.interfaces import Decoder, DecoderOutput, Encoded, SourceSizes, StepOutput
from nmt.model.layers.bridge import Bridge
from nmt.model.layers.dropout import dropout as apply_dropout
from nmt.model.layers.ntm import WRITTEN_MEMORY, MemorySizes, MemoryState, TuringMachine
from nmt.model.layers.recurrent import LayerState
from nmt.registry import DECODERS

EPSILON = 1e-6  # added to the mass of every position, so that unread sentences have weights too


class Alignment(NamedTuple):
    """Where the encoder has written each source position; only alignments depend on it."""

    written_bsi: Float[Tensor, "b s i"]
    mask_bs: Bool[Tensor, "b s"]


class NTMState(NamedTuple):
    """State of the controller and of the memory."""

    controller: LayerState
    memory: MemoryState


@DECODERS.register("ntm")
class TuringDecoder(RecurrentDecoder[Alignment, NTMState]):
    """Neural Turing Machine that continues with the memory of encoder `ntm`. Graves et al. 2014.

    h_t = LSTM([y_{t-1}; r_{t-1}], h_{t-1}), section 3, with a controller of its own and as many
    heads as the encoder. The output layer reads [h_t; r_t]. For alignments, a step attends to the
    source positions whose slots it reads: w(t, s) ∝ Σ_i read_t(i) written_s(i). Requires encoder
    `ntm`.

    Args:
        hidden_size: width of the controller
        initial_state: initial state of the controller from the encoder: a projection of its final
            state, its last state, or zero; with zero, all information passes through the memory
        heads: initial weights of the heads: on the first slot, as in the encoder, or those at the
            end of the source
        dropout: dropout rate before the output layer
    """

    def __init__(
        self,
        embedding_size: int,
        source: SourceSizes,
        *,
        hidden_size: Size = 100,
        initial_state: Literal["bridge", "last", "zero"] = "zero",
        heads: Literal["first", "last"] = "first",
        dropout: Probability = 0.0,
    ) -> None:
        super().__init__()
        sizes: MemorySizes | None = source.extras.get(WRITTEN_MEMORY)
        if sizes is None:
            raise ValueError("requires encoder 'ntm', whose memory it reads; use encoder: ntm")
        self.bridge = Bridge(initial_state, source, hidden_size, 1)
        self.needs_cells = self.bridge.needs_cells
        self.machine = TuringMachine(embedding_size, hidden_size, sizes)
        self.resets_heads = heads == "first"
        # [h_t; r_t]
        self.output_size = hidden_size + self.machine.controller.feedback_size
        self.dropout = dropout

    def start(self, source: Encoded) -> tuple[Alignment, NTMState]:
        state, written_bsi = source.extras[WRITTEN_MEMORY]
        (controller,) = self.bridge(source)
        # The memory itself continues; only the weights of the heads may be reset.
        state = self.machine.reset_heads(state) if self.resets_heads else state
        return Alignment(written_bsi, source.mask_bs), NTMState(controller, state)

    def project(self, embedded: Float[Tensor, "*axes m"]) -> Float[Tensor, "*axes g"]:
        return self.machine.controller.project(embedded)

    def advance(
        self, projected_ng: Float[Tensor, "n g"], memory: Alignment, state: NTMState
    ) -> RecurrentStep[NTMState]:
        state = NTMState(*self.machine.step(projected_ng, *state))
        return RecurrentStep((state.controller.hidden_nd, state.memory.read_nf), None, state)

    def read_out(
        self, embedded: Float[Tensor, "*axes m"], *readout_inputs: Float[Tensor, "*axes _"]
    ) -> Float[Tensor, "*axes d"]:
        return apply_dropout(torch.cat(readout_inputs, dim=-1), self.dropout, self.training)

    def step(
        self, embedded_nm: Float[Tensor, "n m"], memory: Alignment, state: NTMState
    ) -> StepOutput[NTMState]:
        step = super().step(embedded_nm, memory, state)
        # `advance` has no weights, because teacher forcing does not need alignments.
        weights_ns = self._alignment_weights(step.state.memory, memory)
        return StepOutput(step.output_nd, weights_ns, step.state)

    def forward(
        self, embedded_btm: Float[Tensor, "b t m"], source: Encoded, *, need_weights: bool = False
    ) -> DecoderOutput:
        if need_weights:
            # Only `step` computes them.
            return Decoder.forward(self, embedded_btm, source, need_weights=True)
        return super().forward(embedded_btm, source)

    def _alignment_weights(self, state: MemoryState, memory: Alignment) -> Float[Tensor, "n s"]:
        """Compute weights of source positions, summed over read heads."""
        # Read heads come first.
        read_ni = state.weights_nhi[:, : self.machine.sizes.read_heads].sum(dim=1)
        sentences = memory.mask_bs.size(0)
        # The hypotheses of a sentence share its alignment with the slots.
        read_bki = read_ni.unflatten(0, (sentences, -1))  # type: ignore[no-untyped-call]
        written_bis = memory.written_bsi.transpose(1, 2)
        mass_bks = self.machine.arithmetic.matmul(read_bki, written_bis) + EPSILON
        # Summed in float64: rounded to float32, it does not depend on the width of the padding.
        mass_bks = mass_bks.masked_fill(~memory.mask_bs[:, None], 0.0).double()
        # Normalized, because weights of an alignment are a distribution.
        weights_bks = mass_bks / mass_bks.sum(dim=-1, keepdim=True)
        return weights_bks.flatten(0, 1).to(read_ni.dtype)
