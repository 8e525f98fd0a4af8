"""Operations in which a row's bits do not depend on the rest of the batch, for a CPU.

A matrix library chooses the order of a sum by the sizes of the whole product. A row is then rounded
differently alone and among others, and with a longer sentence, whose padding lengthens the sums.
An elementwise function of torch may round the last elements of a tensor, or of the part of a
thread, differently from those before.
"""

from collections.abc import Callable
from functools import cache
from itertools import product
from math import lcm

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from nmt.inference.linear import PrepackedLinear
from nmt.model.attention.mechanism import AttentionMemory, ScoredMechanism
from nmt.model.attention.score import BilinearScore
from nmt.model.interfaces import Encoded
from nmt.model.layers.arithmetic import Arithmetic
from nmt.native import library

# From here on, MKL and oneDNN add the terms of a sum in order, so that zeros at its end change no
# bit: for values of at least this width, so many queries, and at most so many positions. On AMD
# Zen, MKL has another order for 2 or 3 queries, and it divides sums of 200 terms.
MIN_CONTEXT_WIDTH, MIN_QUERIES, MAX_POSITIONS = 128, 4, 128
VECTOR_SIZE = 32  # elements that torch's kernels compute at once, or a multiple of it


class RowIndependentArithmetic(Arithmetic):
    """Operations for float32 models.

    Arithmetic with weights are prepacked. Other products are summed in float64 and rounded to
    float32, which does not show their order; only contexts, most of the work, are float32 where the
    order is known.
    """

    def __init__(self) -> None:
        self._packed: dict[int, PrepackedLinear] = {}

    def linear(
        self,
        inputs: Float[Tensor, "*axes d"],
        weight_vd: Float[Tensor, "v d"],
        bias_v: Float[Tensor, " v"] | None = None,
        *,
        rows: int | None = None,
    ) -> Float[Tensor, "*axes x"]:
        # A slice of the outputs: with fewer rows of W, the kernel might be another.
        output = self._pack(weight_vd)(inputs)[..., :rows]
        return output if bias_v is None else output + bias_v

    def stacked_linear(
        self, inputs_bx: Float[Tensor, "b x"], weight_ldx: Float[Tensor, "l d x"]
    ) -> Float[Tensor, "l b d"]:
        # All layers in one product.
        output_bz = self._pack(weight_ldx)(inputs_bx)
        return output_bz.view(len(inputs_bx), *weight_ldx.shape[:2]).transpose(0, 1)

    def energies(
        self, query_bqa: Float[Tensor, "b q a"], keys_bsa: Float[Tensor, "b s a"]
    ) -> Float[Tensor, "b q s"]:
        if library.supports(query_bqa, keys_bsa):
            return library.dot_energies(query_bqa, keys_bsa)
        return self.matmul(query_bqa, keys_bsa.mT)

    def context(
        self, weights_bqs: Float[Tensor, "b q s"], values_bse: Float[Tensor, "b s e"]
    ) -> Float[Tensor, "b q e"]:
        if library.supports(weights_bqs, values_bse):
            return library.context(weights_bqs, values_bse)
        width, threads = values_bse.size(2), torch.get_num_threads()
        if width < MIN_CONTEXT_WIDTH or not adds_in_order(width, threads):
            return self.matmul(weights_bqs, values_bse)
        if len(values_bse) == 1:
            # Computed twice: threads would share the rows of a lone product.
            twice = weights_bqs.expand(2, -1, -1), values_bse.expand(2, -1, -1)
            return self.context(*twice)[:1]
        queries = weights_bqs.size(1)
        if queries < MIN_QUERIES:
            # Computed several times: a product of few rows takes another kernel.
            repeated_bqs = weights_bqs.repeat(1, -(-MIN_QUERIES // queries), 1)
            return self.context(repeated_bqs, values_bse)[:, :queries]
        if values_bse.size(1) <= MAX_POSITIONS:
            return weights_bqs @ values_bse
        # A part of padding alone adds zero.
        parts = zip(
            torch.split(weights_bqs, MAX_POSITIONS, dim=2),
            torch.split(values_bse, MAX_POSITIONS, dim=1),
            strict=True,
        )
        products = [weights @ values for weights, values in parts]
        return sum(products[1:], products[0])

    def matmul(
        self, left_nxy: Float[Tensor, "n x y"], right_nyz: Float[Tensor, "n y z"]
    ) -> Float[Tensor, "n x z"]:
        return (left_nxy.double() @ right_nyz.double()).to(left_nxy.dtype)

    def add_matmul(
        self,
        total_nxz: Float[Tensor, "n x z"],
        left_nxy: Float[Tensor, "n x y"],
        right_nyz: Float[Tensor, "n y z"],
    ) -> Float[Tensor, "n x z"]:
        return total_nxz + self.matmul(left_nxy, right_nyz)

    def square_sum(self, inputs_nxy: Float[Tensor, "n x y"], dim: int) -> Float[Tensor, "n z"]:
        return inputs_nxy.double().square().sum(dim=dim).to(inputs_nxy.dtype)

    def sum_positions(self, states_bse: Float[Tensor, "b s e"]) -> Float[Tensor, "b e"]:
        return states_bse.double().sum(dim=1).to(states_bse.dtype)

    def sigmoid(self, inputs: Float[Tensor, "*axes x"]) -> Float[Tensor, "*axes x"]:
        # torch computes whole vectors and the rest of a row, or of a thread's part, in two ways.
        if inputs.size(-1) % _part_size(torch.get_num_threads()) == 0:
            return torch.sigmoid(inputs)
        return inputs.neg().exp_().add_(1).reciprocal_()

    def softplus(self, inputs: Float[Tensor, "*axes x"]) -> Float[Tensor, "*axes x"]:
        return softplus(inputs.double()).to(inputs.dtype)

    def lstm_cell(
        self,
        gates_ng: Float[Tensor, "n g"],
        cell_nd: Float[Tensor, "n d"],
        added_nd: Float[Tensor, "n d"] | None = None,
        activation: Callable[[Tensor], Tensor] = torch.tanh,
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        is_plain = added_nd is None and activation is torch.tanh
        if is_plain and library.supports(gates_ng, cell_nd):
            return library.lstm_cell(gates_ng, cell_nd)
        return super().lstm_cell(gates_ng, cell_nd, added_nd, activation)

    def weight_bytes(self) -> int:
        """Return the memory of the weights that have been prepacked, in bytes."""
        return sum(layer.weight_bytes for layer in self._packed.values())

    def _pack(self, weight: Tensor) -> PrepackedLinear:
        # The model keeps its parameters alive, so an identity belongs to one of them.
        packed = self._packed.get(id(weight))
        if packed is None:
            packed = self._packed[id(weight)] = PrepackedLinear(weight.flatten(0, -2))
        return packed


@cache
def adds_in_order(width: int, threads: int) -> bool:
    """Return whether float32 products of contexts add the terms of a sum in order on this CPU.

    Zeros at the end of such a sum change no bit, whatever the number of sentences. Many threads may
    share the rows of one sentence, and compute some by other kernels.

    Args:
        width: width of the values
        threads: number of torch's threads
    """
    generator = torch.Generator().manual_seed(0)
    weights_bqs = torch.rand(5, MIN_QUERIES + 1, MAX_POSITIONS, generator=generator)
    values_bse = torch.randn(5, MAX_POSITIONS, width, generator=generator)
    lengths = (1, 7, 90, MAX_POSITIONS - 1)
    for queries, positions in product((MIN_QUERIES, MIN_QUERIES + 1), lengths):
        padded_bqs = weights_bqs[:, :queries].clone()
        padded_bqs[:, :, positions:] = 0
        padded_bqe = padded_bqs @ values_bse
        for sentences in (2, 3, 5):
            own_bqs = padded_bqs[:sentences, :, :positions]
            own_bqe = own_bqs @ values_bse[:sentences, :positions]
            if not torch.equal(own_bqe, padded_bqe[:sentences]):
                return False
    return True


@cache
def _part_size(threads: int) -> int:
    """Return a width of rows that up to so many threads divide at multiples of a vector."""
    return VECTOR_SIZE * lcm(*range(1, threads + 1))


def use_arithmetic(module: nn.Module, arithmetic: Arithmetic) -> None:
    """Set the arithmetic of all modules within a module, in place."""
    for part in module.modules():
        if isinstance(getattr(part, "arithmetic", None), Arithmetic):
            setattr(part, "arithmetic", arithmetic)  # noqa: B010
        # Converted once per sentence, and not at each step.
        if isinstance(part, ScoredMechanism) and _uses_energies(part):
            setattr(part, "prepare", _with_float64_keys(part.prepare))  # noqa: B010


def _uses_energies(mechanism: ScoredMechanism) -> bool:
    # A subclass with a formula of its own would mix float32 and float64.
    return type(mechanism.score).forward is BilinearScore.forward


def _with_float64_keys(
    prepare: Callable[[Encoded], AttentionMemory],
) -> Callable[[Encoded], AttentionMemory]:
    def prepare_keys(source: Encoded) -> AttentionMemory:
        memory = prepare(source)
        if library.supports(memory.keys_bsa):
            return memory
        return memory._replace(keys_bsa=memory.keys_bsa.double())

    return prepare_keys
