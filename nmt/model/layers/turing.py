"""The Neural Turing Machine: a recurrent controller with a memory beside it.

Tensors carry the letters i, a slot of the memory, and c, a cell of a slot; h is a head, the reading
ones first.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nmt.model.interfaces import MachineSizes
from nmt.model.layers.addressing import Orders, address
from nmt.model.layers.cell import LayerState
from nmt.model.layers.lstm import LSTMLayer

BLANK = 1e-6
"""First value of every cell. Collier and Beel 2018, section 4.2, on which constant trains best."""


class MachineState(NamedTuple):
    """What a machine remembers beside its controller's state, n rows.

    Attributes:
        memory_nci: what stands in the slots
        weights_nhi: where the heads stand
        read_nf: what the reading heads read last, one after the other
    """

    memory_nci: Float[Tensor, "n c i"]
    weights_nhi: Float[Tensor, "n h i"]
    read_nf: Float[Tensor, "n f"]


class TuringMachine(nn.Module):
    """A controller that writes to a memory and reads from it. Graves et al. 2014, section 3.

    h_t = LSTM([x_t; r_{t-1}], h_{t-1}); the heads' orders are a linear map of h_t, and all heads
    address M_{t-1} by content. What is written at t can be read at t: M_t = write(M_{t-1}),
    r_t = Σ_i w_t(i) M_t(i).

    Args:
        input_size: width of x_t
        hidden_size: units of the controller
        sizes: of the memory, and its heads
    """

    def __init__(self, input_size: int, hidden_size: int, sizes: MachineSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.controller = LSTMLayer(input_size, hidden_size, sizes.read_heads * sizes.width)
        addressing_size = sizes.heads * Orders.size(sizes.width)
        self.orders_sizes = (addressing_size, sizes.write_heads * 2 * sizes.width)
        self.orders = nn.Linear(hidden_size, sum(self.orders_sizes))

    def begin(self, inputs_nm: Float[Tensor, "n m"]) -> tuple[LayerState, MachineState]:
        """The controller's state zero, the memory blank, nothing read, all heads on slot 0."""
        rows, sizes = inputs_nm.size(0), self.sizes
        hidden_nd = inputs_nm.new_zeros(rows, self.controller.hidden_size)
        memory_nci = inputs_nm.new_full((rows, sizes.width, sizes.slots), BLANK)
        read_nf = inputs_nm.new_zeros(rows, self.controller.feedback_size)
        state = MachineState(memory_nci, self._first_slot(memory_nci), read_nf)
        return self.controller.begin(hidden_nd), state

    def rewind(self, state: MachineState) -> MachineState:
        """The same with all heads on slot 0."""
        return state._replace(weights_nhi=self._first_slot(state.memory_nci))

    def _first_slot(self, memory_nci: Float[Tensor, "n c i"]) -> Float[Tensor, "n h i"]:
        weights_nhi = memory_nci.new_zeros(len(memory_nci), self.sizes.heads, self.sizes.slots)
        weights_nhi[:, :, 0] = 1.0
        return weights_nhi

    def step(
        self,
        projected_ng: Float[Tensor, "n gates"],
        controller: LayerState,
        state: MachineState,
        real_n: Bool[Tensor, " n"] | None = None,
    ) -> tuple[LayerState, MachineState]:
        """One step from the controller's projected input; only real rows write, if they are told.

        The memory keeps its type under autocast, as a cell does: it adds up over the sentence.
        """
        controller = self.controller.step(projected_ng, controller, state.read_nf)
        numbers_nx = self.orders(controller.hidden_nd).to(state.memory_nci.dtype)
        with torch.autocast(numbers_nx.device.type, enabled=False):
            return controller, self._turn(numbers_nx, state, real_n)

    def _turn(
        self,
        numbers_nx: Float[Tensor, "n x"],
        state: MachineState,
        real_n: Bool[Tensor, " n"] | None,
    ) -> MachineState:
        """Move the heads, write, read."""
        heads, reading = self.sizes.heads, self.sizes.read_heads
        addressing_nx, written_nx = numbers_nx.split_with_sizes(self.orders_sizes, dim=1)
        orders = Orders.of(addressing_nx.view(-1, heads, Orders.size(self.sizes.width)))
        weights_nhi = address(orders, state.memory_nci, state.weights_nhi)
        reading_nhi, writing_nhi = weights_nhi.split_with_sizes((reading, heads - reading), dim=1)
        if real_n is not None:
            writing_nhi = writing_nhi * real_n[:, None, None]
        written_nch = written_nx.view(-1, 2 * self.sizes.width, self.sizes.write_heads)
        memory_nci = write(state.memory_nci, writing_nhi, written_nch)
        read_nhc = reading_nhi @ memory_nci.transpose(1, 2)
        return MachineState(memory_nci, weights_nhi, read_nhc.flatten(1))


def write(
    memory_nci: Float[Tensor, "n c i"],
    weights_nhi: Float[Tensor, "n h i"],
    numbers_nch: Float[Tensor, "n two_c h"],
) -> Float[Tensor, "n c i"]:
    """M(i) Π_h (1 - w_h(i) e_h) + Σ_h w_h(i) a_h, eqs. 3 and 4: all erase, then all add.

    e = σ(·) and a = tanh(·) of the numbers' first and second half. A head of weight zero everywhere
    leaves every bit of the memory as it was.
    """
    erase_nch, add_nch = numbers_nch.chunk(2, dim=1)
    erase_nch, add_nch = erase_nch.sigmoid(), add_nch.tanh()
    for head in range(weights_nhi.size(1)):
        one = slice(head, head + 1)
        memory_nci = memory_nci - memory_nci * (erase_nch[:, :, one] * weights_nhi[:, one])
    return torch.baddbmm(memory_nci, add_nch, weights_nhi)
