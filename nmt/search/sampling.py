"""Sampling: each token drawn from the model's distribution."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.errors import UserError
from nmt.model.interfaces import Memory, State
from nmt.search.follow import follow
from nmt.search.hypothesis import Hypothesis
from nmt.search.penalties import UNPENALISED
from nmt.search.step import Step


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
    seeds_b: Sequence[int],
    source_mask_bs: Bool[Tensor, "b s"] | None = None,
) -> list[Hypothesis]:
    """One drawn hypothesis a sentence; its log_prob, and score, is the model's own.

    Each sentence draws one number a token from its own generator, so neighbours change nothing.

    Args:
        step: what the model says after one more token
        memory: b rows, from the model's `start`
        state: b rows, from the model's `start`
        bos: the token to begin with
        eos: the end mark
        max_lengths_b: longest hypothesis of each sentence in tokens, the end mark counted
        temperature: log-probabilities are divided by it; below 1 is bolder
        top_k: draw among this many likeliest tokens; 0 is all
        top_p: draw among the fewest likeliest tokens that hold this probability, counted after
            temperature and top_k; 1 is all
        seeds_b: seed of each sentence's generator
        source_mask_bs: real source positions; all of them when None

    Raises:
        UserError: when an option is out of its range, or the model's probabilities are not numbers
    """
    _check(temperature, top_k, top_p)
    generators = [np.random.default_rng(seed) for seed in seeds_b]

    def choose(log_probs_bv: Tensor, sentences: list[int], position: int) -> Tensor:
        probabilities_bv = truncate(log_probs_bv, temperature, top_k, top_p)
        uniform = [generators[sentence].random() for sentence in sentences]
        return draw(probabilities_bv, torch.tensor(uniform, dtype=torch.float64))

    return follow(
        step,
        memory,
        state,
        choose,
        bos=bos,
        eos=eos,
        max_lengths_b=max_lengths_b,
        scoring=UNPENALISED,
        source_mask_bs=source_mask_bs,
    )


def truncate(
    log_probs_bv: Float[Tensor, "b v"], temperature: float, top_k: int, top_p: float
) -> Float[Tensor, "b v"]:
    """The distribution to draw from, in float64; rows sum to what is left of 1.

    Equal probabilities are ranked in the order of the vocabulary. Nucleus sampling is Holtzman et
    al. 2020, equations 2 and 3.
    """
    probabilities_bv = (log_probs_bv.double() / temperature).softmax(-1)
    if top_k == 0 and top_p == 1:
        return probabilities_bv
    ranked_bv, order_bv = probabilities_bv.sort(descending=True, stable=True)
    if top_k:
        ranked_bv[:, top_k:] = 0.0
    before_bv = ranked_bv.cumsum(-1) - ranked_bv
    ranked_bv = ranked_bv.where(before_bv < top_p * ranked_bv.sum(-1, keepdim=True), 0.0)
    return torch.zeros_like(probabilities_bv).scatter(1, order_bv, ranked_bv)


def draw(probabilities_bv: Float[Tensor, "b v"], uniform_b: Float[Tensor, "b"]) -> Tensor:
    """The token in whose share of the line each number of [0, 1) falls: the inverse of the CDF."""
    cumulative_bv = probabilities_bv.cumsum(-1)
    point_b1 = uniform_b.to(cumulative_bv)[:, None] * cumulative_bv[:, -1:]
    return torch.searchsorted(cumulative_bv, point_b1, right=True)[:, 0]


def _check(temperature: float, top_k: int, top_p: float) -> None:
    if temperature <= 0:
        raise UserError(f"temperature is {temperature}; it must be above 0")
    if top_k < 0:
        raise UserError(f"top_k is {top_k}; it must be 0 for all tokens, or more")
    if not 0 < top_p <= 1:
        raise UserError(f"top_p is {top_p}; it must be above 0 and at most 1")
