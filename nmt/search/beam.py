"""Beam search over any step function. Knows nothing of models."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from nmt.config.schema import Stop
from nmt.device import AsyncHostCopy
from nmt.model.interfaces import Memory, State
from nmt.search.found import Found
from nmt.search.frontier import Frontier
from nmt.search.hypothesis import Hypothesis
from nmt.search.ledger import Ledger, Limits
from nmt.search.penalties import CoveragePenalty, LengthPenalty, Scoring
from nmt.search.step import Step, device_of, real_positions, select_rows


@torch.inference_mode()
def beam_search(
    step: Step,
    memory: Memory,
    state: State,
    *,
    bos: int,
    eos: int,
    beam_size: int,
    max_lengths_b: Sequence[int],
    n_best: int = 1,
    length_penalty: LengthPenalty,
    coverage_penalty: CoveragePenalty,
    block_ngram: int = 0,
    stop: Stop = "bound",
    source_mask_bs: Bool[Tensor, "b s"] | None = None,
) -> list[list[Hypothesis]]:
    """The `n_best` best hypotheses of each sentence, best first.

    Of the 2k best continuations a step, by log-probability, those that end among the first k are
    finished, and the first k of the others go on. A sentence leaves the batch when its `n_best`-th
    finished score cannot be beaten by a live hypothesis, or at its longest length. Those that did
    not end by then are used only where finished ones are lacking, after them. There are fewer than
    `n_best` when the beam, or the model's probabilities of zero, leave no more.

    Args:
        step: what the model says after one more token
        memory: b rows, from the model's `start`
        state: b rows, from the model's `start`
        bos: the token to begin with, never part of a hypothesis
        eos: the end mark
        beam_size: k; 1 is greedy
        max_lengths_b: longest hypothesis of each sentence in tokens, the end mark counted
        n_best: how many hypotheses to hand out
        length_penalty: how finished hypotheses of unequal length compare
        coverage_penalty: what they pay for source positions not looked at
        block_ngram: no n-gram of this many tokens comes twice in a hypothesis; 0 allows all
        stop: bound, what is said above; likely, a sentence is done already when a live hypothesis
            could not beat its `n_best`-th finished score by ending at the next token
        source_mask_bs: real source positions; all of them when None

    Raises:
        UserError: when the coverage penalty needs weights and the model does not attend, or the
            model's probabilities are not numbers
    """
    scoring = Scoring(length_penalty, coverage_penalty)
    limits = Limits(eos, beam_size, n_best, block_ngram, stop, list(max_lengths_b))
    mask_bs = real_positions(source_mask_bs, len(max_lengths_b))
    device = device_of(memory, state)
    frontier = Frontier(bos, limits, scoring, mask_bs, device)
    ledger = Ledger(limits, scoring, mask_bs)
    post: AsyncHostCopy[Found] = AsyncHostCopy(device)
    state = select_rows(state, frontier.first_rows_n)
    while frontier.sentences:
        prediction = step(frontier.tokens_n, memory, state)
        post.enqueue(frontier.advance(prediction))
        for found in post.ready():
            ledger.take(found)
        kept_b, rows_n = frontier.keep(ledger.goes_on)
        state = select_rows(prediction.state, rows_n)
        memory = memory if kept_b is None else select_rows(memory, kept_b)
    for found in post.flush():
        ledger.take(found)
    return ledger.results_b
