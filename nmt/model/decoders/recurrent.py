"""What decoders with a recurrent state share: what is done at once and what step by step."""

from abc import abstractmethod
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from nmt.model.attention.mechanism import AttentionMemory
from nmt.model.interfaces import Decoder, Encoded, Memory, State, Stepped
from nmt.model.layers.lstm import LSTMState
from nmt.model.recurrence.plain import run


class RecurrentState(NamedTuple):
    """What one hypothesis remembers.

    `layers` are the LSTMs' states, `attention` the mechanism's, `fed_nd` what is fed back (luong).
    """

    layers: tuple[LSTMState, ...]
    attention: Any
    fed: tuple[Tensor, ...]


class Moved(NamedTuple):
    """One step of the recurrence: what the readout needs of it, where it looked, the new state."""

    seen: tuple[Tensor, ...]
    weights_ns: Float[Tensor, "n s"]
    state: RecurrentState


class RecurrentDecoder(Decoder):
    """A decoder in three stages, of which only the middle one waits for the step before.

    `project` (input's part of the gates) and `read_out` work on any number of positions at once;
    `advance` moves one step. `step` chains the three; `forward` runs the first and the last over
    the whole target and loops over the middle one only.
    """

    @abstractmethod
    def project(self, embedded: Float[Tensor, "*axes m"]) -> Float[Tensor, "*axes gates"]:
        """What the bottom layer's gates get from the input."""

    @abstractmethod
    def advance(
        self, projected_ng: Float[Tensor, "n gates"], memory: AttentionMemory, state: RecurrentState
    ) -> Moved:
        """Look and move, in the decoder's order."""

    @abstractmethod
    def read_out(
        self, embedded: Float[Tensor, "*axes m"], *seen: Float[Tensor, "*axes _"]
    ) -> Float[Tensor, "*axes d"]:
        """What the output layer reads."""

    def step(self, embedded_nm: Float[Tensor, "n m"], memory: Memory, state: State) -> Stepped:
        seen, weights_ns, state = self.advance(self.project(embedded_nm), memory, state)
        return Stepped(self.read_out(embedded_nm, *seen), weights_ns, state)

    def forward(
        self, embedded_btm: Float[Tensor, "b t m"], source: Encoded
    ) -> Float[Tensor, "b t d"]:
        memory, state = self.start(source)
        embedded_tbm = embedded_btm.transpose(0, 1)
        seen = run(self.advance, self.project(embedded_tbm), memory, state)
        return self.read_out(embedded_tbm, *seen).transpose(0, 1)
