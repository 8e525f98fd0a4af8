"""Operations whose rounding depends on the size of the batch: products and some functions.

Modules call them through an attribute `arithmetic`; linear layers are replaced as a whole. Training
uses torch's operations. A compiled copy of a model (`nmt.inference`) sets others, in which a row's
bits do not depend on the other rows.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear, softplus


class Arithmetic:
    """Operations by torch."""

    def linear(
        self,
        inputs: Float[Tensor, "*axes d"],
        weight_vd: Float[Tensor, "v d"],
        bias_v: Float[Tensor, " v"] | None = None,
        *,
        rows: int | None = None,
    ) -> Float[Tensor, "*axes x"]:
        """Compute W x + b for a weight of the module itself.

        Args:
            inputs: x
            weight_vd: W, a parameter and not a part of one
            bias_v: b
            rows: how many of the first rows of W to use (default: all); not together with b
        """
        return linear(inputs, weight_vd if rows is None else weight_vd[:rows], bias_v)

    def stacked_linear(
        self, inputs_bx: Float[Tensor, "b x"], weight_ldx: Float[Tensor, "l d x"]
    ) -> Float[Tensor, "l b d"]:
        """Compute W_l x for every layer l."""
        return torch.einsum("ldx,bx->lbd", weight_ldx, inputs_bx)

    def energies(
        self, query_bqa: Float[Tensor, "b q a"], keys_bsa: Float[Tensor, "b s a"]
    ) -> Float[Tensor, "b q s"]:
        """Compute the products q·k of all queries and keys of a sentence."""
        return query_bqa @ keys_bsa.mT

    def context(
        self, weights_bqs: Float[Tensor, "b q s"], values_bse: Float[Tensor, "b s e"]
    ) -> Float[Tensor, "b q e"]:
        """Compute sums of values, Σ_s α_s h_s."""
        return weights_bqs @ values_bse

    def matmul(
        self, left_nxy: Float[Tensor, "n x y"], right_nyz: Float[Tensor, "n y z"]
    ) -> Float[Tensor, "n x z"]:
        """Compute the products of small matrices, one per row of a batch."""
        return left_nxy @ right_nyz

    def add_matmul(
        self,
        total_nxz: Float[Tensor, "n x z"],
        left_nxy: Float[Tensor, "n x y"],
        right_nyz: Float[Tensor, "n y z"],
    ) -> Float[Tensor, "n x z"]:
        """Add such products to a batch of matrices."""
        return torch.baddbmm(total_nxz, left_nxy, right_nyz)

    def square_sum(self, inputs_nxy: Float[Tensor, "n x y"], dim: int) -> Float[Tensor, "n z"]:
        """Compute the sum of squares along an axis."""
        return torch.linalg.vecdot(inputs_nxy, inputs_nxy, dim=dim)

    def sum_positions(self, states_bse: Float[Tensor, "b s e"]) -> Float[Tensor, "b e"]:
        """Compute the sum over positions; padding is zero."""
        return states_bse.sum(dim=1)

    def sigmoid(self, inputs: Float[Tensor, "*axes x"]) -> Float[Tensor, "*axes x"]:
        """Compute σ(x) = 1 / (1 + exp(-x))."""
        return torch.sigmoid(inputs)

    def softplus(self, inputs: Float[Tensor, "*axes x"]) -> Float[Tensor, "*axes x"]:
        """Compute log(1 + exp(x))."""
        return softplus(inputs)

    def lstm_cell(
        self,
        gates_ng: Float[Tensor, "n g"],
        cell_nd: Float[Tensor, "n d"],
        added_nd: Float[Tensor, "n d"] | None = None,
        activation: Callable[[Tensor], Tensor] = torch.tanh,
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        """Return h = o∘tanh(c) and c = f∘c_{t-1} + i∘g from the sums of the gates i, f, g, o.

        Args:
            gates_ng: sums that enter the gates
            cell_nd: c_{t-1}
            added_nd: an addend of c
            activation: function of c that the output gate multiplies
        """
        input_nd, forget_nd, new_nd, output_nd = gates_ng.chunk(4, dim=-1)
        kept_nd = self.sigmoid(forget_nd) * cell_nd
        new_cell_nd = kept_nd + self.sigmoid(input_nd) * torch.tanh(new_nd)
        if added_nd is not None:
            new_cell_nd = new_cell_nd + added_nd
        return self.sigmoid(output_nd) * activation(new_cell_nd), new_cell_nd


TORCH_ARITHMETIC = Arithmetic()
