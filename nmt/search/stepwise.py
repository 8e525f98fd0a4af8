"""Decoding of one hypothesis per sentence: sampling, and forced decoding of given targets.

All run the same loop over the step function as beam search does with k = 1. They differ only in
how the next token is selected.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.errors import UserError
from nmt.model.interfaces import Memory, State, align_read_tokens, select_rows
from nmt.search.candidates import NEG_INF, select_candidates
from nmt.search.constraints.rules import ConstraintState
from nmt.search.hypothesis import Alternative, Hypothesis
from nmt.search.scoring import UNPENALIZED, Scoring
from nmt.search.step import (
    Step,
    check_no_nan,
    device_of,
    source_mask_on_cpu,
    stack_steps,
)

MIN_PARAMETER = 1e-100  # of sampling: float32 log-probabilities divided by it fit in float64

MIN_LOG_PROB = -1000.0  # exp of it is 0 in float64

SelectTokens = Callable[[Tensor, list[int], int], Tensor]
"""(log_probs_bv, sentence of each row, target position) -> tokens_b"""


def sample(
    step: Step,
    memory: Memory,
    state: State,
    *,
    bos: int,
    eos: int,
    max_lengths_b: Sequence[int],
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seeds_b: Sequence[int | np.random.SeedSequence],
    source_mask_bs: Bool[Tensor, "b s"] | None = None,
    constraints: ConstraintState | None = None,
) -> list[Hypothesis]:
    """Sample one hypothesis per sentence; its score is its log-probability under the model.

    Every sentence draws one random number per token from its own generator, so a sample does not
    depend on the other sentences of the batch.

    Args:
        step: function from the last tokens, memory and state to the next distribution
        memory: constant per sentence, b rows; from the model's `start`
        state: one row per hypothesis, b rows; from the model's `start`
        bos: token before the first one, never part of a hypothesis
        eos: end-of-sentence token
        max_lengths_b: maximum length of each sentence's hypothesis, `eos` included
        temperature: divisor of the log-probabilities; below 1 favors likely tokens
        top_k: number of most likely tokens to sample from; 0 for all
        top_p: sample from the smallest set of most likely tokens that holds this share of the
            probability, after temperature and top_k; 1 for all. Holtzman et al. 2020
        seeds_b: seed of each sentence's generator
        source_mask_bs: False for padding; None if no position is padding
        constraints: prefixes and forbidden phrases of the sentences, but no required ones

    Raises:
        UserError: if the model's probabilities are NaN, or a sample cannot satisfy its constraints
    """
    assert constraints is None or not constraints.tables.has_terms
    assert temperature > 0 and top_k >= 0 and 0 < top_p <= 1
    generators = [np.random.default_rng(seed) for seed in seeds_b]

    def select(log_probs_bv: Tensor, sentences: list[int], position: int) -> Tensor:
        probabilities_bv = truncate_distribution(log_probs_bv, temperature, top_k, top_p)
        uniform = [generators[sentence].random() for sentence in sentences]
        return invert_cdf(probabilities_bv, torch.tensor(uniform, dtype=torch.float64))

    return decode_stepwise(
        step,
        memory,
        state,
        select,
        bos=bos,
        eos=eos,
        max_lengths_b=max_lengths_b,
        source_mask_bs=source_mask_bs,
        constraints=constraints,
    )


def force_decode(
    step: Step,
    memory: Memory,
    state: State,
    targets: list[list[int]],
    *,
    bos: int,
    eos: int,
    scoring: Scoring = UNPENALIZED,
    source_mask_bs: Bool[Tensor, "b s"] | None = None,
) -> list[Hypothesis]:
    """Score one given target per sentence, and return its attention weights.

    Uses the step function as search does, so a hypothesis that search found gets the same score.

    Args:
        step: function from the last tokens, memory and state to the next distribution
        memory: constant per sentence, b rows; from the model's `start`
        state: one row per hypothesis, b rows; from the model's `start`
        targets: token ids without special tokens; `eos` is appended
        bos: token before the first one
        eos: end-of-sentence token
        scoring: length and coverage penalty; by default the score is the log-probability
        source_mask_bs: False for padding; None if no position is padding

    Raises:
        UserError: if the coverage penalty is used with a model without attention, or if the model's
            probabilities are NaN
    """
    complete = [[*target, eos] for target in targets]

    def select(log_probs_bv: Tensor, sentences: list[int], position: int) -> Tensor:
        return torch.tensor([complete[sentence][position] for sentence in sentences])

    return decode_stepwise(
        step,
        memory,
        state,
        select,
        bos=bos,
        eos=eos,
        max_lengths_b=[len(target) for target in complete],
        scoring=scoring,
        source_mask_bs=source_mask_bs,
    )


def find_alternatives(
    step: Step,
    memory: Memory,
    state: State,
    sequences: list[list[int]],
    count: int,
    *,
    bos: int,
    eos: int,
) -> list[list[list[Alternative]]]:
    """Return the most likely other tokens at every position of one given sequence per sentence.

    Args:
        step: function from the last tokens, memory and state to the next distribution
        memory: constant per sentence, b rows; from the model's `start`
        state: one row per hypothesis, b rows; from the model's `start`
        sequences: token ids, none of them empty; a finished hypothesis ends with `eos`
        count: number of other tokens per position; fewer if the others have probability 0
        bos: token before the first one
        eos: end-of-sentence token

    Returns:
        the alternatives, best first, per sentence and position
    """
    found: list[list[list[Alternative]]] = [[] for _ in sequences]

    def select(log_probs_bv: Tensor, sentences: list[int], position: int) -> Tensor:
        # One more, because the token of the sequence is usually among them.
        best = select_candidates(log_probs_bv.new_zeros(len(sentences), 1), log_probs_bv, count + 1)
        given = [sequences[sentence][position] for sentence in sentences]
        rows = zip(best.token_bc.tolist(), best.log_prob_bc.tolist(), strict=True)
        for sentence, token, row in zip(sentences, given, rows, strict=True):
            others = [Alternative(*pair) for pair in zip(*row, strict=True) if pair[0] != token]
            found[sentence].append([one for one in others if one.log_prob > NEG_INF][:count])
        return torch.tensor(given)

    lengths_b = list(map(len, sequences))
    decode_stepwise(step, memory, state, select, bos=bos, eos=eos, max_lengths_b=lengths_b)
    return found


def step_entropies(
    step: Step,
    memory: Memory,
    state: State,
    sequences: list[list[int]],
    *,
    bos: int,
    eos: int,
) -> list[list[float]]:
    """Return the entropy of the model's distribution, in nats, at every position of sequences.

    Args:
        step, memory, state, sequences, bos, eos: as in `find_alternatives`
    """
    found: list[list[float]] = [[] for _ in sequences]

    def select(log_probs_bv: Tensor, sentences: list[int], position: int) -> Tensor:
        # A token of probability 0 adds nothing, although its log-probability is -inf.
        log_probs_bv = log_probs_bv.double().clamp(min=MIN_LOG_PROB)
        entropies = -(log_probs_bv.exp() * log_probs_bv).sum(dim=-1)
        for sentence, entropy in zip(sentences, entropies.tolist(), strict=True):
            found[sentence].append(entropy)
        return torch.tensor([sequences[sentence][position] for sentence in sentences])

    lengths_b = list(map(len, sequences))
    decode_stepwise(step, memory, state, select, bos=bos, eos=eos, max_lengths_b=lengths_b)
    return found


@torch.inference_mode()
def decode_stepwise(
    step: Step,
    memory: Memory,
    state: State,
    select: SelectTokens,
    *,
    bos: int,
    eos: int,
    max_lengths_b: Sequence[int],
    scoring: Scoring = UNPENALIZED,
    source_mask_bs: Bool[Tensor, "b s"] | None = None,
    constraints: ConstraintState | None = None,
) -> list[Hypothesis]:
    """Decode one hypothesis per sentence, its tokens selected by a function.

    A hypothesis ends at `eos` or at its maximum length; its sentence then leaves the batch.
    """
    assert all(length >= 1 for length in max_lengths_b)
    source_mask_bs = source_mask_on_cpu(source_mask_bs, len(max_lengths_b))
    partial = [_PartialHypothesis(eos, length) for length in max_lengths_b]
    sentences = list(range(len(partial)))  # the sentence of each row of the batch
    tokens_b = torch.full((len(partial),), bos, device=device_of(memory, state))
    position = 0
    while sentences:
        # One hypothesis per sentence, so that b is n and no row needs to be reordered.
        prediction = step(tokens_b, memory, state).over_vocabulary()
        log_probs_bv, weights_bs, state, _, alignment_bs = prediction
        scoring.check(weights_bs)
        # A NaN would not stop the selection of a token, only make it arbitrary.
        check_no_nan(log_probs_bv)
        if constraints is not None:
            log_probs_bv = constraints.mask(log_probs_bv, position + 1)
            if not log_probs_bv.isfinite().any(-1).all():
                raise UserError("no translation satisfies the constraints; change them")
        tokens_b = select(log_probs_bv, sentences, position).to(log_probs_bv.device)
        if constraints is not None:
            parent_b1 = torch.zeros_like(tokens_b[:, None])
            constraints = constraints.append(parent_b1, tokens_b[:, None], position + 1)
        log_prob_b = log_probs_bv.gather(1, tokens_b[:, None])[:, 0]
        weights, alignment = (
            [None] * len(sentences) if one_bs is None else one_bs.float().cpu()
            for one_bs in (weights_bs, alignment_bs)
        )
        rows = zip(tokens_b.tolist(), log_prob_b.tolist(), weights, alignment, strict=True)
        for sentence, (token, log_prob, weights_s, alignment_s) in zip(
            sentences, rows, strict=True
        ):
            partial[sentence].append(token, log_prob, weights_s, alignment_s)
        # Sentences that have ended leave the batch, because a step takes time for every row.
        kept = [row for row, sentence in enumerate(sentences) if partial[sentence].is_active]
        if len(kept) < len(sentences):
            sentences = [sentences[row] for row in kept]
            rows_b = torch.tensor(kept, dtype=torch.long)
            tokens_b, memory, state, constraints = select_rows(
                (tokens_b, memory, state, constraints), rows_b
            )
        position += 1
    return [
        one.complete(scoring, mask_s) for one, mask_s in zip(partial, source_mask_bs, strict=True)
    ]


class _PartialHypothesis:
    """A hypothesis that is extended by one token per step.

    Args:
        eos: end-of-sentence token
        max_length: maximum number of tokens, `eos` included
    """

    def __init__(self, eos: int, max_length: int) -> None:
        self._eos, self._max_length = eos, max_length
        self._tokens: list[int] = []
        self._log_probs: list[float] = []
        self._weights: list[Tensor] = []
        self._alignment: list[Tensor] = []

    @property
    def is_active(self) -> bool:
        return self._tokens[-1] != self._eos and len(self._tokens) < self._max_length

    def append(
        self,
        token: int,
        log_prob: float,
        weights_s: Float[Tensor, "s"] | None,
        alignment_s: Float[Tensor, "s"] | None,
    ) -> None:
        self._tokens.append(token)
        self._log_probs.append(log_prob)
        if weights_s is not None:
            self._weights.append(weights_s)
        if alignment_s is not None:
            self._alignment.append(alignment_s)

    def complete(self, scoring: Scoring, mask_s: Bool[Tensor, "#s"]) -> Hypothesis:
        """Return the hypothesis with its score."""
        coverage_s = torch.stack(self._weights).sum(0) if self._weights else torch.zeros(1)
        alignment_ts = stack_steps(self._alignment, mask_s)
        # float64, as in beam search's scores: the sum of a long target keeps its digits.
        log_prob = torch.tensor(self._log_probs, dtype=torch.float64).sum()
        score = scoring.scores(log_prob, len(self._tokens), coverage_s, mask_s)
        return Hypothesis(
            self._tokens,
            float(score),
            float(log_prob),
            self._log_probs,
            stack_steps(self._weights, mask_s),
            self._tokens[-1] == self._eos,
            alignment_ts=None if alignment_ts is None else align_read_tokens(alignment_ts),
        )


def truncate_distribution(
    log_probs_bv: Float[Tensor, "b v"], temperature: float, top_k: int, top_p: float
) -> Float[Tensor, "b v"]:
    """Return the distribution to sample from, in float64; rows sum to the probability kept.

    Equal probabilities are ranked in the order of the vocabulary. Nucleus sampling follows Holtzman
    et al. 2020, equations 2 and 3.
    """
    # Smaller numbers choose no other token, but may be flushed to zero or overflow the quotient.
    temperature, top_p = max(temperature, MIN_PARAMETER), max(top_p, MIN_PARAMETER)
    # float64, so that rounding moves no token across the boundary of the nucleus.
    probabilities_bv = (log_probs_bv.double() / temperature).softmax(-1)
    if top_k == 0 and top_p == 1:
        return probabilities_bv
    ranked_bv, order_bv = probabilities_bv.sort(descending=True, stable=True)
    if top_k:
        ranked_bv[:, top_k:] = 0.0
    # A token belongs to the nucleus if the tokens ranked before it hold less than top_p.
    before_bv = ranked_bv.cumsum(-1) - ranked_bv
    ranked_bv = ranked_bv.where(before_bv < top_p * ranked_bv.sum(-1, keepdim=True), 0.0)
    return torch.zeros_like(probabilities_bv).scatter(1, order_bv, ranked_bv)


def invert_cdf(probabilities_bv: Float[Tensor, "b v"], uniform_b: Float[Tensor, "b"]) -> Tensor:
    """Map uniform numbers of [0, 1) to tokens: the inverse of the cumulative distribution."""
    cumulative_bv = probabilities_bv.cumsum(-1)
    # Rows need not sum to 1, so the number is scaled to the sum instead.
    point_b1 = uniform_b.to(cumulative_bv)[:, None] * cumulative_bv[:, -1:]
    return torch.searchsorted(cumulative_bv, point_b1, right=True)[:, 0]
