"""Neural Turing Machine decoder of Graves et al. 2014."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.component_spec import Positive, Probability
from nmt.model.decoders.recurrent import RecurrentDecoder, RecurrentState, RecurrentStep
from nmt.model.interfaces import Encoded, SourceSizes, StepOutput
from nmt.model.layers.bridge import Bridge
from nmt.model.layers.dropout import dropout as drop
from nmt.model.layers.turing import MachineState, TuringMachine
from nmt.registry import DECODERS

EPSILON = 1e-6  # of the mass of a slot, for every source position: where nothing was written


class Writings(NamedTuple):
    """Which slots hold which source positions, for alignments: the decoder does not read it."""

    written_bsi: Float[Tensor, "b s i"]
    mask_bs: Bool[Tensor, "b s"]


@DECODERS.register("ntm")
class TuringDecoder(RecurrentDecoder):
    """Neural Turing Machine that continues with the memory of encoder `ntm`. Graves et al. 2014.

    h_t = LSTM([y_{t-1}; r_{t-1}], h_{t-1}), section 3, with a controller and heads of its own, as
    many as those of the encoder. The output layer reads [h_t; r_t]. The alignment weights are the
    overlap of the slots read at step t with those written at source position s: w(t, s) ∝ Σ_i
    read_t(i) written_s(i).

    Args:
        hidden_size: units of the controller
        initial_state: initial state of the controller: computed from the encoder's final state
            (bridge), copied from it (last), or zero, with which the memory alone represents the
            source
        heads: initial focus of the heads: the first slot, as in the encoder (first), or the final
            focus of the encoder's heads (last)
        dropout: dropout rate before the output layer
    """

    def __init__(
        self,
        embedding_size: int,
        source: SourceSizes,
        *,
        hidden_size: Positive = 100,
        initial_state: Literal["bridge", "last", "zero"] = "zero",
        heads: Literal["first", "last"] = "first",
        dropout: Probability = 0.0,
    ) -> None:
        super().__init__()
        if source.machine is None:
            raise ValueError(
                "goes on with the memory that encoder 'ntm' has written; use encoder: ntm"
            )
        self.bridge = Bridge(initial_state, source, hidden_size, 1)
        self.needs_cells = self.bridge.needs_cells
        self.machine = TuringMachine(embedding_size, hidden_size, source.machine)
        self.rewinds = heads == "first"
        self.output_size = hidden_size + self.machine.controller.feedback_size
        self.dropout = dropout

    def start(self, source: Encoded) -> tuple[Writings, RecurrentState]:
        state, written_bsi = source.machine
        state = self.machine.rewind(state) if self.rewinds else state
        return Writings(written_bsi, source.mask_bs), RecurrentState(self.bridge(source), state, ())

    def project(self, embedded: Float[Tensor, "*axes m"]) -> Float[Tensor, "*axes gates"]:
        return self.machine.controller.project(embedded)

    def advance(
        self, projected_ng: Float[Tensor, "n gates"], memory: Writings, state: RecurrentState
    ) -> RecurrentStep:
        controller, turned = self.machine.step(projected_ng, state.layers[0], state.attention)
        seen = (controller.hidden_nd, turned.read_nf)
        return RecurrentStep(seen, None, RecurrentState((controller,), turned, ()))

    def read_out(
        self, embedded: Float[Tensor, "*axes m"], *seen: Float[Tensor, "*axes _"]
    ) -> Float[Tensor, "*axes d"]:
        return drop(torch.cat(seen, dim=-1), self.dropout, self.training)

    def step(
        self, embedded_nm: Float[Tensor, "n m"], memory: Writings, state: RecurrentState
    ) -> StepOutput:
        stepped = super().step(embedded_nm, memory, state)
        return stepped._replace(weights_ns=self._looked(stepped.state.attention, memory))

    def _looked(self, state: MachineState, memory: Writings) -> Float[Tensor, "n s"]:
        """Weights of source positions, summed over reading heads, one where nothing was read."""
        reading_ni = state.weights_nhi[:, : self.machine.sizes.read_heads].sum(dim=1)
        sentences = memory.mask_bs.size(0)
        reading_bki = reading_ni.unflatten(0, (sentences, -1))  # type: ignore[no-untyped-call]
        mass_bks = reading_bki @ memory.written_bsi.transpose(1, 2) + EPSILON
        # The sum runs in float64: rounded back, it does not show how wide the padding is.
        mass_bks = mass_bks.masked_fill(~memory.mask_bs[:, None], 0.0).double()
        weights_bks = mass_bks / mass_bks.sum(dim=-1, keepdim=True)
        return weights_bks.flatten(0, 1).to(reading_ni.dtype)
