"""Beam search over a step function, without knowledge of the model behind it.

The work is split between the model's device and the host. The device holds the active hypotheses
(`BeamState`) and extends them by one token per step without waiting for the host. The host
(`FinishedHypotheses`) receives the candidates of every step, collects complete hypotheses and
decides which sentences are done. On a GPU it receives them one step late, so that the next step is
already queued while the host works.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nmt.device import AsyncHostCopy
from nmt.model.interfaces import Memory, Prediction, State, select_rows
from nmt.search.candidates import (
    NEG_INF,
    Candidates,
    block_repeated_ngrams,
    select_candidates,
)
from nmt.search.constraints.allocation import select_from_banks
from nmt.search.constraints.rules import ConstraintState
from nmt.search.finished import (
    BeamStep,
    Detokenize,
    EarlyStopping,
    FinishedHypotheses,
)
from nmt.search.hypothesis import Hypothesis
from nmt.search.scoring import CoveragePenalty, LengthPenalty, Scoring
from nmt.search.step import Step, device_of, source_mask_on_cpu, to_device

if TYPE_CHECKING:
    from nmt.search.graphed_steps import GraphedSteps


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
    early_stopping: EarlyStopping = "exact",
    source_mask_bs: Bool[Tensor, "b s"] | None = None,
    detokenize: Detokenize | None = None,
    graphs: "GraphedSteps | None" = None,
    constraints: ConstraintState | None = None,
    records_tree: bool = False,
) -> list[list[Hypothesis]]:
    """Search the `n_best` best hypotheses of each sentence; return them best first.

    Each step selects the 2k best continuations of a sentence's k active hypotheses by
    log-probability. Those among the first k that end in `eos` are finished; the first k of the
    others stay active. A hypothesis that reaches the maximum length without `eos` is returned only
    after all finished ones. Fewer than `n_best` are returned if the beam holds no more.

    With k = 1 the search is greedy: it selects the argmax at every step and ends at the first
    `eos`, with any length penalty, and returns one hypothesis.

    Args:
        step: function from the last tokens, memory and state to the next distribution
        memory: constant per sentence, b rows; from the model's `start`
        state: one row per hypothesis, at first b rows; from the model's `start`
        bos: token before the first one, never part of a hypothesis
        eos: end-of-sentence token
        beam_size: number k of active hypotheses per sentence; 1 is greedy search
        max_lengths_b: maximum length of each sentence's hypotheses, `eos` included
        n_best: number of hypotheses to return per sentence
        length_penalty: normalization of log-probabilities by length
        coverage_penalty: penalty for source positions with little attention
        block_ngram: n-grams of this many tokens may not repeat in a hypothesis; 0 for no limit
        early_stopping: when a sentence with `n_best` finished hypotheses is done: `exact`, if no
            active hypothesis can still beat the worst of them; `heuristic`, if none would by ending
            at the next token
        source_mask_bs: False for padding; None if no position is padding
        detokenize: function from tokens to their text; of hypotheses with equal texts only the best
            one is kept, and the search goes on to find others. None to distinguish tokens
        graphs: steps with the same step function and `eos` as CUDA graphs; n-grams cannot be
            blocked then, and no sentence has constraints. None to launch every kernel of its own
        constraints: prefixes, required and forbidden phrases of the sentences, with one empty
            hypothesis per sentence; terms require a beam of 2 or more
        records_tree: whether hypotheses have a `leaf` in the tree of the whole beam, which the host
            builds from values that it receives anyway, so the results are the same

    Raises:
        UserError: if the coverage penalty is used with a model without attention, or if the model's
            probabilities are NaN
    """
    assert min(beam_size, n_best) >= 1 and block_ngram >= 0
    assert graphs is None or (block_ngram == 0 and constraints is None)
    assert constraints is None or not constraints.tables.has_terms or beam_size > 1
    assert all(length >= 1 for length in max_lengths_b)
    device = device_of(memory, state)
    scoring = Scoring(length_penalty, coverage_penalty)
    source_mask_bs = source_mask_on_cpu(source_mask_bs, len(max_lengths_b))
    finished = FinishedHypotheses(
        eos=eos,
        beam_size=beam_size,
        n_best=n_best,
        max_lengths_b=list(max_lengths_b),
        scoring=scoring,
        early_stopping=early_stopping,
        source_mask_bs=source_mask_bs,
        detokenize=detokenize,
        records_tree=records_tree,
    )
    host_copy: AsyncHostCopy[BeamStep] = AsyncHostCopy(device)
    beam = start_beam(
        to_device(source_mask_bs, device), beam_size, bos=bos, keep_prefixes=block_ngram > 0
    )
    if constraints is not None:
        beam = beam._replace(constraints=constraints.expand(beam_size))
    all_rows_b = torch.arange(len(max_lengths_b), device=device)
    own_slots_k = torch.arange(beam_size, device=device)
    keeps_coverage = coverage_penalty.needs_weights
    # The state has a row per slot from now on: row = batch row * k + slot. Memory keeps a row per
    # sentence, which the k slots share.
    state = select_rows(state, all_rows_b.repeat_interleave(beam_size))
    sentences = list(range(len(max_lengths_b)))  # the sentence of each row of the batch
    length = 0
    while sentences:
        length += 1
        if graphs is None or graphs.has_failed:
            prediction = step(beam.tokens_bk.flatten(), memory, state)
            extension = extend_beam(
                beam,
                prediction,
                eos=eos,
                keeps_coverage=keeps_coverage,
                block_ngram=block_ngram,
                length=length,
            )
        else:
            extension = graphs.extend(
                beam, state, memory, length=length, keeps_coverage=keeps_coverage
            )
        host_copy.enqueue(extension.beam_step(sentences, scoring, length))
        # On a GPU this is the result of the step before. A sentence that it completes has been
        # extended once more than necessary, which `finished` ignores.
        for arrived in host_copy.ready():
            finished.update(arrived)
        # Remove the sentences that are done, as far as the host knows, from the batch, and give
        # every hypothesis the state of the hypothesis that it extends.
        beam, parent_bk, state = extension.beam, extension.parent_bk, extension.state
        rows_b = all_rows_b[: len(sentences)]
        kept = [row for row, one in enumerate(sentences) if finished.is_active(one, length)]
        if graphs is not None:
            kept = graphs.rows_to_keep(kept, len(sentences))
        if len(kept) < len(sentences):
            sentences = [sentences[row] for row in kept]
            rows_b = to_device(torch.tensor(kept, dtype=torch.long), device)
            beam, parent_bk, memory = select_rows((beam, parent_bk, memory), rows_b)
            if parent_bk is None:
                parent_bk = own_slots_k
        if parent_bk is not None:
            state = select_rows(state, (rows_b[:, None] * beam_size + parent_bk).flatten())
    for arrived in host_copy.flush():
        finished.update(arrived)
    return finished.results_b


class BeamState(NamedTuple):
    """The k active hypotheses of each sentence, best first, on the model's device.

    A slot without a hypothesis has a log-probability of -inf.

    Attributes:
        tokens_bk: last token of each hypothesis
        log_prob_bk: log-probability of each hypothesis
        coverage_bks: sum of its attention weights per source position; of width 1 before the first
            step and if no penalty needs it
        prefixes_bkt: all its tokens; None unless n-grams are blocked
        source_mask_bs: False for padding
        constraints: state of the constraints; None without any
    """

    tokens_bk: Int[Tensor, "b k"]
    log_prob_bk: Float[Tensor, "b k"]
    coverage_bks: Float[Tensor, "b k #s"]
    prefixes_bkt: Int[Tensor, "b k t"] | None
    source_mask_bs: Bool[Tensor, "b #s"]
    constraints: ConstraintState | None = None


class Extension(NamedTuple):
    """The result of one step.

    Attributes:
        beam: the next beam
        state: the new state of the hypotheses before their extension
        parent_bk: the slot in the old beam that each hypothesis of the next one extends; None if
            the rows of the state are in this order already
        candidates: the best continuations of each sentence, best first
        coverage_bcs: sum of each candidate's attention weights; see `BeamState`
        survivor_bk: column of the candidate in each slot of the next beam
        weights_bks: attention weights of the hypotheses that were extended
        alignment_bks: weights that align their last tokens
    """

    beam: BeamState
    state: State
    parent_bk: Int[Tensor, "b k"] | None
    candidates: Candidates
    coverage_bcs: Float[Tensor, "b c #s"]
    survivor_bk: Int[Tensor, "b k"]
    weights_bks: Float[Tensor, "b k s"] | None
    alignment_bks: Float[Tensor, "b k s"] | None

    def beam_step(self, sentences: list[int], scoring: Scoring, length: int) -> BeamStep:
        """Return the candidates for the host, with their scores.

        Args:
            sentences: the sentence of each row
            scoring: length and coverage penalty
            length: number of tokens of the extended hypotheses

        Raises:
            UserError: if the coverage penalty is used with a model without attention
        """
        scoring.check(self.weights_bks)
        mask_b1s = self.beam.source_mask_bs[:, None]
        score_bc = scoring.scores(self.candidates.log_prob_bc, length, self.coverage_bcs, mask_b1s)
        return BeamStep(
            sentences,
            self.candidates,
            score_bc,
            self.survivor_bk,
            self.beam.log_prob_bk,
            self.weights_bks,
            self.alignment_bks,
        )


def start_beam(
    source_mask_bs: Bool[Tensor, "b #s"], beam_size: int, *, bos: int, keep_prefixes: bool
) -> BeamState:
    """Return the beam before the first step: one empty hypothesis per sentence."""
    shape, device = (source_mask_bs.size(0), beam_size), source_mask_bs.device
    # k equal hypotheses would fill the beam with k copies of the same continuations.
    log_prob_bk = torch.full(shape, NEG_INF, device=device)
    log_prob_bk[:, 0] = 0.0
    return BeamState(
        torch.full(shape, bos, device=device),
        log_prob_bk,
        torch.zeros(*shape, 1, device=device),
        torch.zeros(*shape, 0, dtype=torch.long, device=device) if keep_prefixes else None,
        source_mask_bs,
    )


def extend_beam(
    beam: BeamState,
    prediction: Prediction,
    *,
    eos: int,
    keeps_coverage: bool,
    block_ngram: int,
    length: int = 0,
) -> Extension:
    """Append a token to the hypotheses; never reads a value from the device.

    Args:
        beam: the active hypotheses
        prediction: output of the step function for them
        eos, block_ngram: see `beam_search`
        keeps_coverage: whether to sum the attention weights, for a coverage penalty
        length: number of tokens of the extended hypotheses, for constraints
    """
    beam_size = beam.tokens_bk.size(1)
    # The weights of this step belong to the hypotheses before their extension: all continuations of
    # a hypothesis share them.
    weights_bks, alignment_bks = (
        None if weights_ns is None else weights_ns.float().reshape(*beam.tokens_bk.shape, -1)
        for weights_ns in (prediction.weights_ns, prediction.alignment_ns)
    )
    coverage_bks = beam.coverage_bks
    if weights_bks is not None and keeps_coverage:
        # A sum over all steps, so it is not in half precision.
        coverage_bks = coverage_bks + weights_bks
    constraints = beam.constraints
    if beam.prefixes_bkt is not None or constraints is not None:
        prediction = prediction.over_vocabulary()
    log_probs_nv = prediction.log_probs_nv
    if beam.prefixes_bkt is not None:  # only if n-grams are blocked
        prefixes_nt = beam.prefixes_bkt.flatten(0, 1)
        log_probs_nv = block_repeated_ngrams(log_probs_nv, prefixes_nt, block_ngram)
    if constraints is not None:
        log_probs_nv = constraints.mask(log_probs_nv, length)

    # Each hypothesis has one continuation by `eos`, so at least k of 2k candidates continue.
    if constraints is not None and constraints.tables.has_terms:
        candidates = select_from_banks(constraints, beam.log_prob_bk, log_probs_nv, length)
    else:
        candidates = select_candidates(beam.log_prob_bk, log_probs_nv, 2 * beam_size)
    if prediction.outputs is not None:
        # Ties remain in the order of the vocabulary, since the outputs ascend.
        tokens_bc = prediction.outputs.tokens_bv.gather(1, candidates.token_bc)
        candidates = candidates._replace(token_bc=tokens_bc)

    # The first k candidates that continue, in order: a stable sort puts them before the others.
    continues_bc = candidates.token_bc.ne(eos) & candidates.log_prob_bc.isfinite()
    order_bc = continues_bc.byte().argsort(dim=1, descending=True, stable=True)
    survivor_bk = order_bc[:, :beam_size]
    log_prob_bk = candidates.log_prob_bc.masked_fill(~continues_bc, NEG_INF).gather(1, survivor_bk)
    parent_bk = candidates.parent_bc.gather(1, survivor_bk)
    tokens_bk = candidates.token_bc.gather(1, survivor_bk)
    prefixes_bkt = beam.prefixes_bkt
    if prefixes_bkt is not None:
        prefixes_bkt = _of_parents(prefixes_bkt, parent_bk)
        prefixes_bkt = torch.cat([prefixes_bkt, tokens_bk[:, :, None]], dim=2)
    if constraints is not None:
        constraints = constraints.append(parent_bk, tokens_bk, length)
    next_beam = BeamState(
        tokens_bk,
        log_prob_bk,
        _of_parents(coverage_bks, parent_bk) if keeps_coverage else coverage_bks,
        prefixes_bkt,
        beam.source_mask_bs,
        constraints,
    )
    if keeps_coverage:
        coverage_bcs = _of_parents(coverage_bks, candidates.parent_bc)
    else:  # zeros of width 1
        coverage_bcs = coverage_bks[:, :1].expand(-1, candidates.token_bc.size(1), -1)
    return Extension(
        next_beam,
        prediction.state,
        parent_bk,
        candidates,
        coverage_bcs,
        survivor_bk,
        weights_bks,
        alignment_bks,
    )


def state_rows(parent_bk: Int[Tensor, "b k"]) -> Int[Tensor, " n"]:
    """Return the row of the state that each hypothesis extends."""
    rows_b1 = torch.arange(len(parent_bk), device=parent_bk.device)[:, None]
    return (rows_b1 * parent_bk.size(1) + parent_bk).flatten()


def _of_parents(values_bkx: Tensor, parent_bc: Int[Tensor, "b c"]) -> Tensor:
    """Return for each candidate the values of the hypothesis that it extends."""
    rows_b1 = torch.arange(len(parent_bc), device=parent_bc.device)[:, None]
    return values_bkx[rows_b1, parent_bc]
