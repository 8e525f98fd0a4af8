"""Hard attention."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nmt.component_spec import NonNegativeFloat, Probability
from nmt.model.attention.mechanism import (
    AttentionMemory,
    AttentionOutput,
    AttentionState,
    GatedMechanism,
    mask_energies,
)
from nmt.model.attention.score import Score
from nmt.registry import MECHANISMS

DECAY = 0.9  # of the moving average of rewards
BASELINES = 256  # target positions with a baseline of their own; later ones share the last one


@MECHANISMS.register("hard")
class HardAttention(GatedMechanism):
    """Hard attention: one sampled source position per step. Xu et al. 2015, section 4.1.

    In training, position s_t is drawn from α_t, a softmax over all positions, and the context is
    its annotation; a share of the sentences uses the expected context Σ_s α_ts h_s throughout
    instead. Otherwise the most likely position is used. The sampling learns by the gradient of
    log p(s | h), which is added as in REINFORCE, eq. 12:

        ∂ log p(y | s, h) + λ_r Σ_t (r_t - b_t) ∂ log p(s_t | h) + λ_e ∂ H[s]

    `reward` selects r_t, the log-probability of words that a draw is responsible for:

        sentence: all of them, r_t = log p(y | s, h), as in eq. 12
        rest: those that the draw can still change, r_t = Σ_{u≥t} log p(y_u | s, h), which has the
            same expectation and a smaller variance
        step: its own, r_t = log p(y_t | s, h), one of two variants in the authors' program, with a
            still smaller variance, but blind to the effect of a draw on later words

    The baseline is a moving average over batches, b ← 0.9 b + 0.1 r with the mean r of a batch: one
    number for sentence, one per target position t for rest and step. The first batch initializes
    it; any other batch is compared with the b before it. As in the paper, nothing is divided by the
    length of a sentence. A sentence with expected contexts has no second term.

    Args:
        gate: whether contexts are multiplied by β = σ(w·q + b)
        expected: probability that a sentence uses expected contexts
        reward: words whose log-probability is the reward of a draw
        reward_weight: λ_r, weight of the gradient of the sampling
        entropy_weight: λ_e, weight of the entropy, against early convergence; the default is that
            of the authors' program
    """

    def __init__(
        self,
        score: Score,
        query_size: int,
        *,
        gate: bool = True,
        expected: Probability = 0.5,
        reward: Literal["sentence", "rest", "step"] = "sentence",
        reward_weight: NonNegativeFloat = 1.0,
        entropy_weight: NonNegativeFloat = 0.002,
    ) -> None:
        super().__init__(score, query_size, gate)
        if self.heads > 1:
            raise ValueError("draws one position per query; remove heads from the score")
        self.expected, self.reward = expected, reward
        self.reward_weight, self.entropy_weight = reward_weight, entropy_weight
        self.baseline_p: Tensor
        count = 1 if reward == "sentence" else BASELINES
        # Training state, not a weight; NaN: no batch yet.
        self.register_buffer("baseline_p", torch.full((count,), float("nan")), persistent=False)

    def start(self, memory: AttentionMemory) -> AttentionState:
        """Choose the sentences that use expected contexts."""
        if not self.training:
            return ()
        device = memory.mask_bs.device
        return (torch.rand(len(memory.mask_bs), device=device) < self.expected,)

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], memory: AttentionMemory, state: AttentionState
    ) -> tuple[AttentionOutput, AttentionState]:
        energies_bqs = self.score(query_bqd, memory.keys_bsa)
        energies_bqs = mask_energies(energies_bqs, memory.mask_bs)
        auxiliary: tuple[Tensor, ...] = ()
        if self.training:
            weights_bqs, auxiliary = self._sample(energies_bqs.log_softmax(dim=-1), *state)
        else:
            weights_bqs = _one_hot(energies_bqs.argmax(dim=-1), energies_bqs)
        weights_bqs = weights_bqs.to(memory.values_bse.dtype)
        context_bqe = self.context(weights_bqs, query_bqd, memory)
        return AttentionOutput(context_bqe, weights_bqs, auxiliary), state

    def draw(self, log_probs_bqs: Float[Tensor, "b q s"]) -> Int[Tensor, "b q"]:
        """Draw a position for each query: the argmax of log p_s - log E_s with E_s ~ Exp(1)."""
        # Never draws a position with p_s = 0 and, unlike `torch.multinomial`, does not synchronize
        # with a GPU.
        with torch.no_grad():
            noise_bqs = torch.empty_like(log_probs_bqs).exponential_().log()
            return (log_probs_bqs - noise_bqs).argmax(dim=-1)

    def _sample(
        self, log_probs_bqs: Float[Tensor, "b q s"], is_expected_n: Bool[Tensor, " n"]
    ) -> tuple[Float[Tensor, "b q s"], tuple[Tensor, ...]]:
        """Return weights and, per query, log p(s_t | h), zero if nothing is drawn, and H[s_t]."""
        # In training all target positions of a sentence share its row.
        is_expected_bk = is_expected_n.view(len(log_probs_bqs), -1)
        position_bq = self.draw(log_probs_bqs)
        # Expected contexts use α_t itself.
        weights_bqs = torch.where(
            is_expected_bk[:, :, None], log_probs_bqs.exp(), _one_hot(position_bq, log_probs_bqs)
        )
        # Gradients flow through log p(s_t) and the entropy, not through the draw.
        log_prob_bq = log_probs_bqs.gather(-1, position_bq[:, :, None])[:, :, 0]
        # 0 log 0 = 0 for padding.
        finite_bqs = log_probs_bqs.masked_fill(log_probs_bqs.isneginf(), 0.0)
        entropy_bq = -(log_probs_bqs.exp() * finite_bqs).sum(dim=-1)
        return weights_bqs, (log_prob_bq.masked_fill(is_expected_bk, 0.0), entropy_bq)

    def auxiliary_loss(
        self,
        auxiliary: tuple[Tensor, ...],
        nll_bt: Float[Tensor, "b t"],
        mask_bt: Bool[Tensor, "b t"],
    ) -> Float[Tensor, ""]:
        """Return a sum whose gradient is that of eq. 12 without its first term.

        Its value has no meaning. Updates the baseline, after the batch was compared with it.
        """
        log_prob_bt, entropy_bt = (tensor.masked_fill(~mask_bt, 0.0) for tensor in auxiliary)
        reward_bx, mask_bx = self._rewards(-nll_bt, mask_bt)
        advantage_bx = reward_bx - self._update_baseline(reward_bx, mask_bx)
        # The advantage has no gradient: `nll_bt` is detached and the baseline is a buffer.
        reinforced = (advantage_bx.masked_fill(~mask_bx, 0.0) * log_prob_bt).sum()
        return -self.reward_weight * reinforced - self.entropy_weight * entropy_bt.sum()

    def _rewards(
        self, log_prob_bt: Float[Tensor, "b t"], mask_bt: Bool[Tensor, "b t"]
    ) -> tuple[Float[Tensor, "b x"], Bool[Tensor, "b x"]]:
        """Return rewards and their mask; axis x is t, or of size 1 for the whole sentence."""
        if self.reward == "step":
            return log_prob_bt, mask_bt
        if self.reward == "rest":
            # Not by `cumsum`, which has no deterministic kernel on a GPU.
            # Entry (u, t) is 1 for u ≥ t.
            from_tt = log_prob_bt.new_ones(log_prob_bt.size(1), log_prob_bt.size(1)).tril()
            return (log_prob_bt[:, :, None] * from_tt).sum(dim=1), mask_bt
        return log_prob_bt.sum(dim=1, keepdim=True), mask_bt[:, :1]

    def _update_baseline(
        self, reward_bx: Float[Tensor, "b x"], mask_bx: Bool[Tensor, "b x"]
    ) -> Float[Tensor, " x"]:
        """Return the baselines before this batch, or its own at positions without one yet."""
        row_x = torch.arange(reward_bx.size(1), device=reward_bx.device)
        # Late positions share the last baseline.
        row_x = row_x.clamp(max=len(self.baseline_p) - 1)
        zero_p = torch.zeros_like(self.baseline_p)
        sum_x = reward_bx.masked_fill(~mask_bx, 0.0).sum(dim=0).to(zero_p.dtype)
        sum_p = zero_p.index_add(0, row_x, sum_x)
        count_p = zero_p.index_add(0, row_x, mask_bx.sum(dim=0).to(zero_p.dtype))
        # NaN at positions that no sentence of the batch has; they keep their baseline.
        mean_p = sum_p / count_p
        before_p = torch.where(self.baseline_p.isnan(), mean_p, self.baseline_p)
        after_p = torch.lerp(mean_p, before_p, DECAY)
        self.baseline_p.copy_(torch.where(count_p > 0, after_p, self.baseline_p))
        return before_p[row_x]


def _one_hot(
    position_bq: Int[Tensor, "b q"], like_bqs: Float[Tensor, "b q s"]
) -> Float[Tensor, "b q s"]:
    positions_s = torch.arange(like_bqs.size(-1), device=like_bqs.device)
    return (position_bq[:, :, None] == positions_s).to(like_bqs.dtype)
