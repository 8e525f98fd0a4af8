"""What one recurrent layer is, whichever its gates."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import linear

from nmt.model.layers.initial import orthogonal_gates, xavier_gates
from nmt.model.layers.int8 import Int8Linear
from nmt.model.layers.packed import PackedLinear

Cell = Literal["lstm", "gru"]


class LayerState(NamedTuple):
    """What a layer remembers, n rows: its hidden state and, in an LSTM, its cell."""

    hidden_nd: Float[Tensor, "n d"]
    cell_nd: Float[Tensor, "n d"] | None = None


class RecurrentLayer(nn.Module, ABC):
    """One layer in one direction: a step at a time, or a whole sequence.

    The gates get W x_t + b, the projection, from the input alone, so a known input is projected for
    all steps at once; V h_{t-1} from the state; and C r_t from the feedback r_t, which is what
    comes back from elsewhere at each step: a context or an attentional state.

    Args:
        input_size: width of x_t
        hidden_size: width of h_t
        feedback_size: width of r_t; 0 for none

    Attributes:
        gates: how many there are
        has_cell: whether its state holds a cell
    """

    gates: ClassVar[int]
    has_cell: ClassVar[bool]

    def __init__(self, input_size: int, hidden_size: int, feedback_size: int = 0) -> None:
        super().__init__()
        self.hidden_size, self.feedback_size = hidden_size, feedback_size
        self.input_weight = nn.Parameter(xavier_gates(self.gates, hidden_size, input_size))
        recurrent = orthogonal_gates(self.gates, hidden_size)
        if feedback_size:
            feedback = xavier_gates(self.gates, hidden_size, feedback_size)
            recurrent = torch.cat([recurrent, feedback], dim=1)
        self.recurrent_weight = nn.Parameter(recurrent)
        self.bias = nn.Parameter(torch.zeros(self.gates * hidden_size))
        self.fixed_input: Int8Linear | PackedLinear | None = None
        self.fixed_recurrent: Int8Linear | PackedLinear | None = None

    def project(self, inputs: Float[Tensor, "*axes m"]) -> Float[Tensor, "*axes gates"]:
        """W x + b for any number of inputs at once; for one axis of them after `fix`."""
        if self.fixed_input is not None:
            return self.fixed_input(inputs)
        return linear(inputs, self.input_weight, self.bias)

    def recur(self, inputs_nx: Float[Tensor, "n x"], start: int = 0) -> Float[Tensor, "n gates"]:
        """[V C] times [h; r], or some of its columns, from `start` on, times one of the two."""
        if self.fixed_recurrent is not None:
            return self.fixed_recurrent(inputs_nx, start)
        weight: Tensor = self.recurrent_weight
        if inputs_nx.size(1) < weight.size(1):
            weight = weight[:, start : start + inputs_nx.size(1)]
        return linear(inputs_nx, weight)

    def fix(self, product: type[Int8Linear] | type[PackedLinear]) -> None:
        """Hold the weights as such products do from now on, for `step`; no `sequence` goes then.

        Packed weights are left as they are where their columns are used apart.
        """
        if product is PackedLinear and self.feedback_size and not self.has_cell:
            return
        self.fixed_input = product(self.input_weight, self.bias)
        self.fixed_recurrent = product(self.recurrent_weight)
        del self.input_weight, self.recurrent_weight, self.bias

    @property
    def is_fixed(self) -> bool:
        """Whether `fix` has been called, and heeded."""
        return self.fixed_recurrent is not None

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
