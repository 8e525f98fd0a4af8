"""What one recurrent layer is, whichever its gates."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nmt.model.interfaces import FusedSupport
from nmt.model.layers.initial import orthogonal_gates, xavier_gates
from nmt.model.layers.linear import ConcatLinear

Cell = Literal["lstm", "gru"]


class LayerState(NamedTuple):
    """What a layer remembers, n rows: its hidden state and, in an LSTM, its cell."""

    hidden_nd: Float[Tensor, "n d"]
    cell_nd: Float[Tensor, "n d"] | None = None


class RecurrentLayer(FusedSupport, nn.Module, ABC):
    """One layer in one direction: a step at a time, or a whole sequence.

    The gates get W x_t + b, the projection, from the input alone, so a known input is projected for
    all steps at once; V h_{t-1} from the state; and C r_t from the feedback r_t, which is what
    comes back from elsewhere at each step: a context or an attentional state.

    Args:
        input_size: width of x_t, or of each of the inputs that it is joined of
        hidden_size: width of h_t
        feedback_size: width of r_t; 0 for none

    Attributes:
        gates: how many there are
        has_cell: whether its state holds a cell
        input: W and b
        recurrent: [V C]
    """

    fused_methods = ("project", "feed", "step")
    gates: ClassVar[int]
    has_cell: ClassVar[bool]

    def __init__(
        self, input_size: int | tuple[int, ...], hidden_size: int, feedback_size: int = 0
    ) -> None:
        super().__init__()
        self.hidden_size, self.feedback_size = hidden_size, feedback_size
        sizes = input_size if isinstance(input_size, tuple) else (input_size,)
        weight_gm = xavier_gates(self.gates, hidden_size, sum(sizes))
        self.input = ConcatLinear(sizes, weight_gm, torch.zeros(self.gates * hidden_size))
        recurrent = orthogonal_gates(self.gates, hidden_size)
        if feedback_size:
            feedback = xavier_gates(self.gates, hidden_size, feedback_size)
            recurrent = torch.cat([recurrent, feedback], dim=1)
        self.recurrent = ConcatLinear((hidden_size, feedback_size), recurrent)

    def project(self, *inputs: Float[Tensor, "*axes _"] | None) -> Float[Tensor, "*axes gates"]:
        """W x + b for any number of inputs at once; see `ConcatLinear`."""
        projected: Tensor = self.input(*inputs)
        return projected

    def feed(self, feedback: Float[Tensor, "*axes f"]) -> Float[Tensor, "*axes gates"]:
        """C r for any number of feedbacks at once: what can be added to the projected inputs."""
        return self.recurrent.term(1, feedback)

    @property
    def bias(self) -> Float[Tensor, " gates"]:
        """b."""
        assert self.input.bias is not None
        return self.input.bias

    def begin(self, hidden_nd: Float[Tensor, "n d"]) -> LayerState:
        """The state with this hidden part, the cell zero where there is one."""
        return LayerState(hidden_nd, torch.zeros_like(hidden_nd) if self.has_cell else None)

    @abstractmethod
    def step(
        self,
        projected_ng: Float[Tensor, "n gates"],
        state: LayerState,
        feedback_nf: Float[Tensor, "n f"] | None = None,
    ) -> LayerState:
        """One step from projected inputs."""

    @abstractmethod
    def sequence(
        self,
        inputs_tnm: Float[Tensor, "t n m"],
        state: LayerState | None = None,
        hold_tn: Bool[Tensor, "t n"] | None = None,
    ) -> tuple[Float[Tensor, "t n d"], LayerState]:
        """All steps over inputs with the time axis first, by torch's own layer (oneDNN, cuDNN).

        Where `hold_tn` is True the last state stays what it was.
        """


def compute_dtype(inputs: Tensor) -> torch.dtype:
    """The type that products are computed in: autocast's where it is on."""
    device = inputs.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return inputs.dtype
