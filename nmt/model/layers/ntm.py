"""The Neural Turing Machine: a recurrent controller with an external memory. Graves et al. 2014.

A head attends to all slots of the memory, by weights that sum to one. Read heads come first.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nmt.model.layers.arithmetic import TORCH_ARITHMETIC, Arithmetic
from nmt.model.layers.recurrent import LayerState, LSTMLayer

WRITTEN_MEMORY = "written_memory"
"""Name of the memory among the extras of a source.

`Encoded.extras` has a `WrittenMemory`; `SourceSizes.extras` has its `MemorySizes`.
"""

SHIFTS = 3  # a head shifts its weights by 1, 0 or -1 slots
EPSILON = 1e-16  # prevents a division by zero at a slot of zeros
INITIAL_CONTENT = 1e-6  # of every slot; Collier and Beel 2018, section 4.2: a constant trains best


class MemorySizes(NamedTuple):
    """Sizes of an external memory.

    Attributes:
        slots: number of slots
        width: width of a slot
        read_heads: number of heads that read
        write_heads: number of heads that write
    """

    slots: int
    width: int
    read_heads: int
    write_heads: int

    @property
    def heads(self) -> int:
        """Return the number of all heads."""
        return self.read_heads + self.write_heads


class MemoryState(NamedTuple):
    """State of the memory and the heads.

    Attributes:
        memory_nui: contents of the slots
        weights_nhi: weights of the heads
        read_nf: vectors that the read heads have read at the last step, concatenated
    """

    memory_nui: Float[Tensor, "n u i"]
    weights_nhi: Float[Tensor, "n h i"]
    read_nf: Float[Tensor, "n f"]


class WrittenMemory(NamedTuple):
    """Memory after the encoder has written a source to it.

    Attributes:
        state: state after the last source position
        written_bsi: weights of each source position, summed over write heads, zero in padding
    """

    state: MemoryState
    written_bsi: Float[Tensor, "b s i"]


class Addressing(NamedTuple):
    """Parameters of the addressing of each head, section 3.3.

    Attributes:
        key_nhu: k, compared with the contents of the slots
        strength_nh1: β > 0, sharpness of the comparison
        gate_nh1: g in (0, 1), share of the comparison; the rest are the weights before
        shift_nh3: s, distribution over shifts by 1, 0 and -1
        sharpness_nh1: γ > 1, against the blur of shifting
    """

    key_nhu: Float[Tensor, "n h u"]
    strength_nh1: Float[Tensor, "n h 1"]
    gate_nh1: Float[Tensor, "n h 1"]
    shift_nh3: Float[Tensor, "n h 3"]
    sharpness_nh1: Float[Tensor, "n h 1"]

    @staticmethod
    def size(width: int) -> int:
        """Return the number of parameters per head for slots of a width."""
        return width + 3 + SHIFTS

    @classmethod
    def of(
        cls, numbers_nhx: Float[Tensor, "n h x"], arithmetic: Arithmetic = TORCH_ARITHMETIC
    ) -> "Addressing":
        """Map arbitrary numbers into the ranges of the parameters."""
        width = numbers_nhx.size(-1) - cls.size(0)
        sizes = (width, 2, 1, SHIFTS)
        key_nhu, scales_nh2, gate_nh1, shift_nh3 = numbers_nhx.split_with_sizes(sizes, dim=-1)
        strength_nh1, sharpness_nh1 = arithmetic.softplus(scales_nh2).chunk(2, dim=-1)
        return cls(
            key_nhu,
            strength_nh1,
            arithmetic.sigmoid(gate_nh1),
            shift_nh3.softmax(dim=-1),
            1 + sharpness_nh1,
        )


class TuringMachine(nn.Module):
    """A controller that writes to a memory and reads from it. Graves et al. 2014, section 3.

    h_t = LSTM([x_t; r_{t-1}], h_{t-1}). A linear map of h_t parametrizes all heads, which address
    M_{t-1} by its contents. Reading follows writing, M_t = write(M_{t-1}) and
    r_t = Σ_i w_t(i) M_t(i), so a step reads its own writes.

    Args:
        input_size: width of x_t
        hidden_size: width of the controller
        sizes: sizes of the memory
    """

    arithmetic: Arithmetic = TORCH_ARITHMETIC

    def __init__(self, input_size: int, hidden_size: int, sizes: MemorySizes) -> None:
        super().__init__()
        self.sizes = sizes
        # The vectors read at the last step are the feedback of the controller.
        self.controller = LSTMLayer(input_size, hidden_size, sizes.read_heads * sizes.width)
        # Parameters of all heads, then erase and add vectors of the write heads.
        addressing_size = sizes.heads * Addressing.size(sizes.width)
        self.orders_sizes = (addressing_size, sizes.write_heads * 2 * sizes.width)
        self.orders = nn.Linear(hidden_size, sum(self.orders_sizes))

    def initial_state(self, like_nx: Float[Tensor, "n x"]) -> tuple[LayerState, MemoryState]:
        """Return the states of controller and memory before the first step.

        Args:
            like_nx: a tensor with as many rows
        """
        rows, sizes = like_nx.size(0), self.sizes
        hidden_nd = like_nx.new_zeros(rows, self.controller.hidden_size)
        memory_nui = like_nx.new_full((rows, sizes.width, sizes.slots), INITIAL_CONTENT)
        read_nf = like_nx.new_zeros(rows, self.controller.feedback_size)
        state = MemoryState(memory_nui, self._first_slot(memory_nui), read_nf)
        return self.controller.initial_state(hidden_nd), state

    def reset_heads(self, state: MemoryState) -> MemoryState:
        """Return the state with all heads on the first slot."""
        return state._replace(weights_nhi=self._first_slot(state.memory_nui))

    def _first_slot(self, memory_nui: Float[Tensor, "n u i"]) -> Float[Tensor, "n h i"]:
        weights_nhi = memory_nui.new_zeros(len(memory_nui), self.sizes.heads, self.sizes.slots)
        # Every head is on the first slot.
        weights_nhi[:, :, 0] = 1.0
        return weights_nhi

    def step(
        self,
        projected_ng: Float[Tensor, "n g"],
        controller: LayerState,
        state: MemoryState,
        mask_n: Bool[Tensor, " n"] | None = None,
    ) -> tuple[LayerState, MemoryState]:
        """Compute the states after one step.

        Args:
            projected_ng: input, projected by the controller
            controller: state of the controller
            state: state of the memory
            mask_n: rows that write (default: all)
        """
        controller = self.controller.step(projected_ng, controller, state.read_nf)
        # The memory accumulates over the whole sentence, so it keeps its precision under autocast.
        numbers_nx = self.orders(controller.hidden_nd).to(state.memory_nui.dtype)
        with torch.autocast(numbers_nx.device.type, enabled=False):
            return controller, self._access(numbers_nx, state, mask_n)

    def _access(
        self,
        numbers_nx: Float[Tensor, "n x"],
        state: MemoryState,
        mask_n: Bool[Tensor, " n"] | None,
    ) -> MemoryState:
        """Address the memory, write, then read."""
        heads, reading = self.sizes.heads, self.sizes.read_heads
        addressing_nx, written_nx = numbers_nx.split_with_sizes(self.orders_sizes, dim=1)
        numbers_nhx = addressing_nx.view(-1, heads, Addressing.size(self.sizes.width))
        addressing = Addressing.of(numbers_nhx, self.arithmetic)
        # All heads address M_{t-1}, before anything is written.
        weights_nhi = address(addressing, state.memory_nui, state.weights_nhi, self.arithmetic)
        read_nhi, write_nhi = weights_nhi.split_with_sizes((reading, heads - reading), dim=1)
        if mask_n is not None:
            write_nhi = write_nhi * mask_n[:, None, None]
        written_nxh = written_nx.view(-1, 2 * self.sizes.width, self.sizes.write_heads)
        memory_nui = write(state.memory_nui, write_nhi, written_nxh, self.arithmetic)
        # Reading sees the memory after writing, eq. 2.
        read_nhu = self.arithmetic.matmul(read_nhi, memory_nui.transpose(1, 2))
        return MemoryState(memory_nui, weights_nhi, read_nhu.flatten(1))


def write(
    memory_nui: Float[Tensor, "n u i"],
    weights_nhi: Float[Tensor, "n h i"],
    numbers_nxh: Float[Tensor, "n x h"],
    arithmetic: Arithmetic = TORCH_ARITHMETIC,
) -> Float[Tensor, "n u i"]:
    """Compute M(i) Π_h (1 - w_h(i) e_h) + Σ_h w_h(i) a_h, eqs. 3 and 4: all erase, then all add.

    A head whose weights are all zero leaves every bit of the memory unchanged.

    Args:
        memory_nui: M
        weights_nhi: w_h of the write heads
        numbers_nxh: first half: σ of them is e; second half: tanh of them is a
        arithmetic: row-independent in search
    """
    # e in (0, 1) and a in (-1, 1)
    erase_nuh, add_nuh = numbers_nxh.chunk(2, dim=1)
    erase_nuh, add_nuh = arithmetic.sigmoid(erase_nuh), add_nuh.tanh()
    # A loop over heads keeps the product over them in the order of eq. 3; they are few.
    for head in range(weights_nhi.size(1)):
        one = slice(head, head + 1)
        memory_nui = memory_nui - memory_nui * (erase_nuh[:, :, one] * weights_nhi[:, one])
    # Adding commutes, so all heads add in one product, eq. 4.
    return arithmetic.add_matmul(memory_nui, add_nuh, weights_nhi)


def address(
    addressing: Addressing,
    memory_nui: Float[Tensor, "n u i"],
    weights_nhi: Float[Tensor, "n h i"],
    arithmetic: Arithmetic = TORCH_ARITHMETIC,
) -> Float[Tensor, "n h i"]:
    """Compute the weights of every head from those before: figure 2."""
    key_nhu, strength_nh1 = addressing.key_nhu, addressing.strength_nh1
    content_nhi = content_weights(key_nhu, strength_nh1, memory_nui, arithmetic)
    # The order of figure 2: content, interpolation, shift, sharpening.
    gated_nhi = interpolate(weights_nhi, content_nhi, addressing.gate_nh1)
    return sharpen(shift(gated_nhi, addressing.shift_nh3), addressing.sharpness_nh1)


def content_weights(
    key_nhu: Float[Tensor, "n h u"],
    strength_nh1: Float[Tensor, "n h 1"],
    memory_nui: Float[Tensor, "n u i"],
    arithmetic: Arithmetic = TORCH_ARITHMETIC,
) -> Float[Tensor, "n h i"]:
    """Compute softmax(β K[k, M(i)]) with K[x, y] = x·y / √(|x|² |y|² + ε), eqs. 5 and 6."""
    key_squared_nh = arithmetic.square_sum(key_nhu, dim=2)
    memory_squared_ni = arithmetic.square_sum(memory_nui, dim=1)
    squared_nhi = key_squared_nh[:, :, None] * memory_squared_ni[:, None] + EPSILON
    # The memory stores slots as columns, so this is a plain product.
    cosine_nhi = arithmetic.matmul(key_nhu, memory_nui) * squared_nhi.rsqrt()
    return (strength_nh1 * cosine_nhi).softmax(dim=-1)


def interpolate(
    before_nhi: Float[Tensor, "n h i"],
    content_nhi: Float[Tensor, "n h i"],
    gate_nh1: Float[Tensor, "n h 1"],
) -> Float[Tensor, "n h i"]:
    """Compute g w^c + (1 - g) w_{t-1}, eq. 7."""
    return torch.lerp(before_nhi, content_nhi, gate_nh1)


def shift(
    weights_nhi: Float[Tensor, "n h i"], shift_nh3: Float[Tensor, "n h 3"]
) -> Float[Tensor, "n h i"]:
    """Compute w~(i) = Σ_j w(j) s(i - j), with indices modulo the number of slots, eq. 8."""
    # Three shifts as rolls are cheaper than a general circular convolution.
    forward_nh1, stay_nh1, back_nh1 = shift_nh3.split_with_sizes((1, 1, 1), dim=-1)
    shifted_nhi = weights_nhi.roll(1, -1) * forward_nh1 + weights_nhi * stay_nh1
    return shifted_nhi + weights_nhi.roll(-1, -1) * back_nh1


def sharpen(
    weights_nhi: Float[Tensor, "n h i"], sharpness_nh1: Float[Tensor, "n h 1"]
) -> Float[Tensor, "n h i"]:
    """Compute w(i)^γ / Σ_j w(j)^γ, eq. 9."""
    # As softmax(γ log w), because w^γ can underflow at all slots.
    smallest = torch.finfo(weights_nhi.dtype).tiny
    return (sharpness_nh1 * weights_nhi.clamp_min(smallest).log()).softmax(dim=-1)
