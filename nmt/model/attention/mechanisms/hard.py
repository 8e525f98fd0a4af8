"""Hard attention."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nmt.component_spec import NonNegativeFloat, Probability
from nmt.model.attention.gated import GatedMechanism
from nmt.model.attention.mechanism import AttentionMemory, AttentionOutput
from nmt.model.attention.score import Score
from nmt.registry import MECHANISMS

DECAY = 0.9
POSITIONS = 256
"""Target positions with a baseline of their own; those after them share the last one."""

ExpectedState = tuple[Bool[Tensor, " n"], ...]
"""Whether the sentence reads expected contexts; nothing outside training."""


@MECHANISMS.register("hard")
class HardAttention(GatedMechanism):
    """Hard attention: one sampled source position per step. Xu et al. 2015, section 4.1.

    In training, s_t is sampled from α_t, a softmax over all positions, and the context is the
    annotation at s_t; for a share of the sentences it is Σ_s α_ts a_s throughout instead. In
    evaluation, it is the annotation at the most likely position. The gradient of log p(s | a), from
    which the sampling distribution learns, is added as in REINFORCE, eq. 12:

        ∂ log p(y | s, a) + λ_r Σ_t (r_t - b_t) ∂ log p(s_t | a) + λ_e ∂ H[s]

    `reward` selects the words whose probability is the reward r_t of a sample. sentence: all words,
    as in eq. 12, r_t = log p(y | s, a). rest: the words that s_t can still influence, r_t = Σ_u≥t
    log p(y_u | s, a), which has the same expectation and a lower variance. step: the word of the
    same step, r_t = log p(y_t | s, a), one of two variants in the authors' program; its variance is
    lower still, but the influence of s_t on later words is not learned.

    The baseline b is a moving average over batches, b ← 0.9 b + 0.1 r with the mean r of a batch:
    one number for sentence, one per target position t for rest and step. It starts with the first
    batch, and every later batch is compared with the b before it. As in the paper, nothing is
    divided by the length of the sentence. A sentence with expected contexts has no second term:
    with α_t in place of s_t it is zero.

    Args:
        gate: whether the context is multiplied by β = σ(w·q + b)
        expected: probability that a sentence of a batch uses expected contexts
        reward: words whose log-probability is the reward of a sample
        reward_weight: λ_r, weight of the reward
        entropy_weight: λ_e, weight of the entropy, which prevents early convergence (default: that
            of the authors' program)
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
        self.expected, self.reward = expected, reward
        self.reward_weight, self.entropy_weight = reward_weight, entropy_weight
        self.baseline_p: Tensor
        kept = 1 if reward == "sentence" else POSITIONS
        self.register_buffer("baseline_p", torch.full((kept,), float("nan")))  # nothing seen yet

    def start(self, memory: AttentionMemory) -> ExpectedState:
        if not self.training:
            return ()
        device = memory.mask_bs.device
        return (torch.rand(len(memory.mask_bs), device=device) < self.expected,)

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], memory: AttentionMemory, state: ExpectedState
    ) -> tuple[AttentionOutput, ExpectedState]:
        energies_bqs = self.score(query_bqd, memory.keys_bsa)
        energies_bqs = energies_bqs.masked_fill(~memory.mask_bs[:, None], float("-inf"))
        if self.training:
            weights_bqs, auxiliary = self._sample(energies_bqs.log_softmax(dim=-1), state)
        else:
            weights_bqs, auxiliary = _one_hot(energies_bqs.argmax(dim=-1), energies_bqs), ()
        weights_bqs = weights_bqs.to(memory.values_bse.dtype)
        return AttentionOutput(
            self.context(weights_bqs, query_bqd, memory), weights_bqs, auxiliary
        ), state

    def draw(self, log_probs_bqs: Float[Tensor, "b q s"]) -> Int[Tensor, "b q"]:
        """A position for each query: the greatest of log p_s - log E_s, each E_s ~ Exp(1).

        Never one with p_s = 0, and unlike `torch.multinomial` without waiting for the device.
        """
        with torch.no_grad():
            noise_bqs = torch.empty_like(log_probs_bqs).exponential_().log()
            return (log_probs_bqs - noise_bqs).argmax(dim=-1)

    def _sample(
        self, log_probs_bqs: Float[Tensor, "b q s"], state: ExpectedState
    ) -> tuple[Float[Tensor, "b q s"], tuple[Tensor, ...]]:
        """Weights, and for each reading log p(s_t | a), zero where none is drawn, and H[s_t]."""
        # One row a sentence serves all target positions at once.
        expected_bk = state[0].view(len(log_probs_bqs), -1)
        position_bq = self.draw(log_probs_bqs)
        weights_bqs = torch.where(
            expected_bk[:, :, None], log_probs_bqs.exp(), _one_hot(position_bq, log_probs_bqs)
        )
        log_prob_bq = log_probs_bqs.gather(-1, position_bq[:, :, None])[:, :, 0]
        finite_bqs = log_probs_bqs.masked_fill(log_probs_bqs.isneginf(), 0.0)
        entropy_bq = -(log_probs_bqs.exp() * finite_bqs).sum(dim=-1)
        return weights_bqs, (log_prob_bq.masked_fill(expected_bk, 0.0), entropy_bq)

    def auxiliary_loss(
        self,
        auxiliary: tuple[Tensor, ...],
        nll_bt: Float[Tensor, "b t"],
        mask_bt: Bool[Tensor, "b t"],
    ) -> Float[Tensor, ""]:
        """A sum whose gradient is that of eq. 12, but for its first term; its value means nothing.

        Takes the batch into the baseline, which the batch itself does not see.
        """
        log_prob_bt, entropy_bt = (part.masked_fill(~mask_bt, 0.0) for part in auxiliary)
        reward_br, real_br = self._rewards(-nll_bt, mask_bt)
        advantage_br = reward_br - self._next_baseline(reward_br, real_br)
        reinforced = (advantage_br.masked_fill(~real_br, 0.0) * log_prob_bt).sum()
        return -self.reward_weight * reinforced - self.entropy_weight * entropy_bt.sum()

    def _rewards(
        self, log_prob_bt: Float[Tensor, "b t"], mask_bt: Bool[Tensor, "b t"]
    ) -> tuple[Float[Tensor, "b r"], Bool[Tensor, "b r"]]:
        """What draws are judged by, and which of it is real: r is t, or 1 for all of a sentence."""
        if self.reward == "step":
            return log_prob_bt, mask_bt
        if self.reward == "rest":
            # Not by cumsum, which a GPU refuses where only repeatable kernels are wanted.
            from_tt = log_prob_bt.new_ones(log_prob_bt.size(1), log_prob_bt.size(1)).tril()
            return (log_prob_bt[:, :, None] * from_tt).sum(dim=1), mask_bt
        return log_prob_bt.sum(dim=1, keepdim=True), mask_bt[:, :1]

    def _next_baseline(
        self, reward_br: Float[Tensor, "b r"], real_br: Bool[Tensor, "b r"]
    ) -> Float[Tensor, " r"]:
        """The baselines before this batch, or of it where it is the first with such a position."""
        place_r = torch.arange(reward_br.size(1), device=reward_br.device)
        place_r = place_r.clamp(max=len(self.baseline_p) - 1)
        none_p = torch.zeros_like(self.baseline_p)
        sum_r = reward_br.masked_fill(~real_br, 0.0).sum(dim=0).to(none_p.dtype)
        sum_p = none_p.index_add(0, place_r, sum_r)
        count_p = none_p.index_add(0, place_r, real_br.sum(dim=0).to(none_p.dtype))
        mean_p = sum_p / count_p
        before_p = torch.where(self.baseline_p.isnan(), mean_p, self.baseline_p)
        after_p = torch.lerp(mean_p, before_p, DECAY)
        self.baseline_p.copy_(torch.where(count_p > 0, after_p, self.baseline_p))
        return before_p[place_r]


def _one_hot(
    position_bq: Int[Tensor, "b q"], like_bqs: Float[Tensor, "b q s"]
) -> Float[Tensor, "b q s"]:
    positions = torch.arange(like_bqs.size(-1), device=like_bqs.device)
    return (position_bq[:, :, None] == positions).to(like_bqs.dtype)
