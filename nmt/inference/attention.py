"""Attention arithmetic in which a row's bits do not depend on the rest of the batch.

A library chooses the order of a sum by its length and by the number of sums, so a sentence would be
rounded differently alone and beside a longer one, whose padding widens it. Sums in float64 that are
rounded to float32 do not show their order. Training does without them: they take time, and nothing
there depends on the last bit.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nmt.model.attention.mechanism import ScoredMechanism, mask_energies
from nmt.model.attention.score import Score, TanhScore
from nmt.model.layers.multi_head import CrossAttention, Heads, SelfAttention, explicit_attention

MAX_EXP_ARG = 20.0  # exp(2x) exp(2y) is finite and nonzero in float32 for |x|, |y| < 20


def use_row_independent_attention(module: nn.Module, device: torch.device) -> None:
    """Replace the attention arithmetic of all modules within a module, in place."""
    for part in list(module.modules()):
        if isinstance(part, ScoredMechanism):
            part.softmax = float64_softmax
            if isinstance(part.score, TanhScore):
                part.score = RowIndependentTanhScore(part.score, factored=device.type == "cpu")
        # On a GPU the fused kernels of torch serve every number of rows alike.
        if isinstance(part, SelfAttention | CrossAttention) and device.type == "cpu":
            part.attention = float64_attention


def float64_softmax(
    energies_bqs: Float[Tensor, "b q s"], mask_bs: Bool[Tensor, "b s"]
) -> Float[Tensor, "b q s"]:
    """Compute `masked_softmax` with sums in float64."""
    weights_bqs = mask_energies(energies_bqs, mask_bs).double().softmax(dim=-1)
    return weights_bqs.to(energies_bqs.dtype)


def float64_attention(
    query_bhqw: Float[Tensor, "b h q w"],
    memory: Heads,
    mask_bs: Bool[Tensor, "b s"] | None = None,
    *,
    causal: bool = False,
    dropout: float = 0.0,
    need_weights: bool = True,
) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b h q s"]]:
    """Compute `multi_head_attention` with all products and sums in float64, without dropout."""
    # Dropout does not apply to a model that only decodes.
    exact = Heads(memory.keys_bhsw.double(), memory.values_bhsw.double())
    context_bqd, weights_bhqs = explicit_attention(query_bhqw.double(), exact, mask_bs, causal)
    return context_bqd.to(query_bhqw.dtype), weights_bhqs.to(query_bhqw.dtype)


class RowIndependentTanhScore(Score):
    """A `TanhScore`, v·tanh(q + k), summed row by row and, on a CPU, with fewer exponentials.

    tanh(q + k) = 1 - 2 / (1 + exp(2q) exp(2k)) needs an exponential per unit of each query and of
    each key, in place of a tanh per pair. Far from zero these exponentials leave the range of
    float32; such a row is computed directly. Each query of each sentence decides for itself, so
    that its bits do not depend on its batch.

    Args:
        score: the score of the trained model
        factored: whether to use the exponentials
    """

    def __init__(self, score: TanhScore, *, factored: bool) -> None:
        super().__init__(score.query_size, score.key_size)
        self.keys_size = score.keys_size
        self.score, self.factored = score, factored

    def prepare(self, states_bse: Float[Tensor, "b s e"]) -> Float[Tensor, "b s a"]:
        return self.score.prepare(states_bse)

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], keys_bsa: Float[Tensor, "b s a"]
    ) -> Float[Tensor, "b q s"]:
        query_bqa, v_a = self.score.project(query_bqd), self.score.v_a
        # One query per sentence, as in greedy search, has no pairs that share an exponential.
        is_half = query_bqa.dtype.itemsize < 4 or keys_bsa.dtype.itemsize < 4
        if not self.factored or query_bqa.size(1) == 1 or is_half:
            return tanh_energies(query_bqa, keys_bsa, v_a)
        # Rows out of range give 0 or NaN here, and are replaced below.
        energies_bqs = factored_tanh_energies(query_bqa, keys_bsa, v_a)
        is_small_b1 = _is_small(keys_bsa.flatten(1))[:, None]
        is_small_bq = _is_small(query_bqa) & is_small_b1
        # Nearly always: keys of trained models are far below the limit.
        if is_small_bq.all():
            return energies_bqs
        direct_bqs = tanh_energies(query_bqa, keys_bsa, v_a)
        return torch.where(is_small_bq[:, :, None], energies_bqs, direct_bqs)


def _is_small(rows: Float[Tensor, "*rows a"]) -> Bool[Tensor, "*rows"]:
    return rows.abs().amax(dim=-1) < MAX_EXP_ARG


def tanh_energies(
    query_bqa: Float[Tensor, "b q a"], keys_bsa: Float[Tensor, "b s a"], v_a: Float[Tensor, " a"]
) -> Float[Tensor, "b q s"]:
    """Compute v·tanh(q + k) for all pairs, summed row by row."""
    pairs_bqsa = torch.tanh(query_bqa[:, :, None] + keys_bsa[:, None])
    # Not `@ v_a`: a matrix-vector product rounds differently with the number of its rows.
    return pairs_bqsa.mul_(v_a).sum(dim=-1)


def factored_tanh_energies(
    query_bqa: Float[Tensor, "b q a"], keys_bsa: Float[Tensor, "b s a"], v_a: Float[Tensor, " a"]
) -> Float[Tensor, "b q s"]:
    """Compute v·tanh(q + k) for all pairs, with the products exp(2q) exp(2k) of exponentials."""
    exp_query_bqa, exp_keys_bsa = (2 * query_bqa).exp_(), (2 * keys_bsa).exp_()
    # 1 + exp(2q) exp(2k) in one pass over all pairs.
    one = exp_keys_bsa.new_ones(())
    pairs_bqsa = torch.addcmul(one, exp_query_bqa[:, :, None], exp_keys_bsa[:, None])
    # In place: the pairs are the largest tensor of a step.
    torch.div(v_a, pairs_bqsa, out=pairs_bqsa)
    # v·(1 - 2 / (1 + x)) = Σ v - 2 Σ v / (1 + x)
    return v_a.sum() - 2 * pairs_bqsa.sum(dim=-1)
