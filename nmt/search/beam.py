"""Beam search over any step function. Knows nothing of models."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nmt.config.schema import Stop
from nmt.model.interfaces import Memory, Prediction, State
from nmt.search.candidates import Candidates, best_candidates, forbid_repeats
from nmt.search.endings import Ending, Endings
from nmt.search.history import History
from nmt.search.hypothesis import Hypothesis
from nmt.search.live import NEVER, Live, of_parents
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
    limits = _Limits(eos, beam_size, n_best, block_ngram, stop, list(max_lengths_b))
    beam = _Beam(bos, limits, scoring, real_positions(source_mask_bs, len(max_lengths_b)))
    device = device_of(memory, state)
    state = select_rows(state, torch.arange(len(max_lengths_b)).repeat_interleave(beam_size))
    while beam.sentences:
        searched = len(beam.sentences)
        prediction = step(beam.tokens_n.to(device), memory, state)
        kept_b, parents_n = beam.advance(prediction)
        state = select_rows(prediction.state, parents_n)
        memory = memory if len(kept_b) == searched else select_rows(memory, kept_b)
    return beam.results_b


class _Limits(NamedTuple):
    """What a user asked of the search."""

    eos: int
    beam_size: int
    n_best: int
    block_ngram: int
    stop: Stop
    max_lengths_b: list[int]


class _Beam:
    """The sentences still searched, their live hypotheses, and the best endings of all sentences.

    Lives on the CPU, where every decision is made; the model's device sees tokens and rows only.
    """

    def __init__(
        self, bos: int, limits: _Limits, scoring: Scoring, mask_bs: Bool[Tensor, "b #s"]
    ) -> None:
        assert min(limits.beam_size, limits.n_best) >= 1
        assert limits.block_ngram >= 0
        assert all(length >= 1 for length in limits.max_lengths_b)
        self._limits, self._scoring, self._mask_bs = limits, scoring, mask_bs
        self.sentences = list(range(len(limits.max_lengths_b)))
        self.results_b: list[list[Hypothesis]] = [[] for _ in self.sentences]
        self._endings_b = [Endings(limits.n_best) for _ in self.sentences]
        prefixes = limits.block_ngram > 0
        self._live = Live.begin(bos, len(self.sentences), limits.beam_size, prefixes)
        self._history = History(mask_bs)

    @property
    def tokens_n(self) -> Int[Tensor, "n"]:
        """What the live hypotheses said last."""
        return self._live.tokens_bk.flatten()

    def advance(self, prediction: Prediction) -> tuple[Int[Tensor, "b"], Int[Tensor, "n"]]:
        """Take a step: which rows of the memory stay, and which rows of the state go on."""
        candidates = self._look_ahead(prediction)
        scores_bc = self._scores(candidates)
        self._finish(candidates, scores_bc)
        live = self._live.go_on(candidates, self._limits.eos)
        kept = self._settle(live, scores_bc)
        kept_b = torch.tensor(kept, dtype=torch.long)
        self.sentences = [self.sentences[row] for row in kept]
        self._live = select_rows(live, kept_b)
        return kept_b, (kept_b[:, None] * self._limits.beam_size + self._live.parents_bk).flatten()

    def _look_ahead(self, prediction: Prediction) -> Candidates:
        """The best continuations, put on record with where the model looked to find them."""
        self._scoring.check(prediction.weights_ns)
        weights_bks, log_probs_nv = None, prediction.log_probs_nv
        if prediction.weights_ns is not None:
            weights_ns = prediction.weights_ns.float().cpu()
            weights_bks = weights_ns.reshape(*self._live.tokens_bk.shape, -1)
            self._live = self._live.look(weights_bks)
        if self._live.prefixes_bkt is not None:
            prefixes_nt = self._live.prefixes_bkt.flatten(0, 1)
            log_probs_nv = forbid_repeats(log_probs_nv, prefixes_nt, self._limits.block_ngram)
        count = 2 * self._limits.beam_size
        candidates = best_candidates(self._live.log_prob_bk, log_probs_nv, count)
        self._history.append(self.sentences, candidates, self._live.columns_bk, weights_bks)
        return candidates

    def _scores(self, candidates: Candidates) -> Float[Tensor, "b c"]:
        """What each candidate is worth if it goes no further."""
        coverage_bcs = of_parents(self._live.coverage_bks, candidates.parent_bc)
        mask_b1s = self._mask_bs[self.sentences][:, None]
        length = len(self._history)
        return self._scoring.scores(candidates.log_prob_bc, length, coverage_bcs, mask_b1s)

    def _finish(self, candidates: Candidates, scores_bc: Float[Tensor, "b c"]) -> None:
        """Put by the candidates among the first k that end."""
        ends_bc = candidates.token_bc.eq(self._limits.eos) & candidates.log_prob_bc.isfinite()
        for row, column in ends_bc[:, : self._limits.beam_size].nonzero().tolist():
            log_prob = float(candidates.log_prob_bc[row, column])
            ending = Ending(float(scores_bc[row, column]), log_prob, len(self._history), column)
            self._endings_b[self.sentences[row]].finish(ending)

    def _settle(self, live: Live, scores_bc: Float[Tensor, "b c"]) -> list[int]:
        """Hand out what needs no more searching. Gives the rows of the sentences that do."""
        length_b = torch.tensor([self._limits.max_lengths_b[s] for s in self.sentences])
        if self._limits.stop == "likely":
            length_b = length_b.clamp_max(len(self._history) + 1)
        best_b = live.log_prob_bk[:, 0]
        bounds = self._scoring.bound(best_b, length_b).tolist()
        searched = [best > NEVER for best in best_b.tolist()]
        for row, sentence in enumerate(self.sentences):
            endings = self._endings_b[sentence]
            if len(self._history) == self._limits.max_lengths_b[sentence]:
                endings.cut_off(self._cut_off(live, scores_bc, row))
                searched[row] = False
            if endings.beats(bounds[row]):
                searched[row] = False
            if not searched[row]:
                self.results_b[sentence] = self._hypotheses(sentence)
        return [row for row, goes_on in enumerate(searched) if goes_on]

    def _cut_off(self, live: Live, scores_bc: Float[Tensor, "b c"], row: int) -> list[Ending]:
        """A sentence's live hypotheses as endings without an end mark."""
        columns, log_probs = live.columns_bk[row].tolist(), live.log_prob_bk[row].tolist()
        return [
            Ending(float(scores_bc[row, column]), log_prob, len(self._history), column)
            for column, log_prob in zip(columns, log_probs, strict=True)
            if log_prob > NEVER
        ]

    def _hypotheses(self, sentence: int) -> list[Hypothesis]:
        """The best endings of a sentence, walked."""
        found = []
        for (score, log_prob, length, column), finished in self._endings_b[sentence].best():
            tokens, token_log_probs, weights_ts = self._history.walk(sentence, length, column)
            found.append(Hypothesis(tokens, score, log_prob, token_log_probs, weights_ts, finished))
        return found
