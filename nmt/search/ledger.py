"""The best endings of each sentence, and whether it is searched any further."""

from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from nmt.config.schema import Stop
from nmt.search.endings import Ending, Endings
from nmt.search.found import Found
from nmt.search.history import History
from nmt.search.hypothesis import Hypothesis
from nmt.search.live import NEVER
from nmt.search.penalties import Scoring
from nmt.search.step import check_numbers


class Limits(NamedTuple):
    """What a user asked of the search; see `beam_search`."""

    eos: int
    beam_size: int
    n_best: int
    block_ngram: int
    stop: Stop
    max_lengths_b: list[int]


class Ledger:
    """Decides on the CPU, step by step, from what was found.

    A sentence that is done stays as it is, whatever is found for it afterwards: the model's device
    may be some steps ahead.

    Args:
        limits: what was asked for
        scoring: how hypotheses compare
        mask_bs: real source positions of each sentence
    """

    def __init__(self, limits: Limits, scoring: Scoring, mask_bs: Bool[Tensor, "b #s"]) -> None:
        assert min(limits.beam_size, limits.n_best) >= 1
        assert limits.block_ngram >= 0
        assert all(length >= 1 for length in limits.max_lengths_b)
        self._limits, self._scoring = limits, scoring
        self._endings_b = [Endings(limits.n_best) for _ in limits.max_lengths_b]
        self._history = History(mask_bs)
        self._done: set[int] = set()
        self.results_b: list[list[Hypothesis]] = [[] for _ in limits.max_lengths_b]

    def goes_on(self, sentence: int, length: int) -> bool:
        """Whether hypotheses of this length are to be continued, as far as is known."""
        return sentence not in self._done and length < self._limits.max_lengths_b[sentence]

    def take(self, found: Found) -> None:
        """Put by what ends in the next step, and hand out what needs no more searching.

        Raises:
            UserError: when the model's probabilities are not numbers
        """
        check_numbers(found.candidates.log_prob_bc[:, 0])  # NaN stands before all numbers
        self._history.append(found)
        self._finish(found)
        self._settle(found)

    def _finish(self, found: Found) -> None:
        """Put by the candidates among the first k that end."""
        candidates = found.candidates
        ends_bc = candidates.token_bc.eq(self._limits.eos) & candidates.log_prob_bc.isfinite()
        for row, column in ends_bc[:, : self._limits.beam_size].nonzero().tolist():
            sentence = found.sentences[row]
            if sentence not in self._done:
                self._endings_b[sentence].finish(
                    self._ending(found, row, column, float(candidates.log_prob_bc[row, column]))
                )

    def _settle(self, found: Found) -> None:
        """Hand out the sentences that are done now."""
        length_b = torch.tensor([self._limits.max_lengths_b[s] for s in found.sentences])
        if self._limits.stop == "likely":
            length_b = length_b.clamp_max(len(self._history) + 1)
        best_b = found.next_log_prob_bk[:, 0]
        bounds = self._scoring.bound(best_b, length_b).tolist()
        alive = [best > NEVER for best in best_b.tolist()]
        for row, sentence in enumerate(found.sentences):
            if sentence in self._done:
                continue
            is_longest = len(self._history) == self._limits.max_lengths_b[sentence]
            if is_longest:
                self._endings_b[sentence].cut_off(self._cut_off(found, row))
            if is_longest or not alive[row] or self._endings_b[sentence].beats(bounds[row]):
                self._done.add(sentence)
                self.results_b[sentence] = self._hypotheses(sentence)

    def _cut_off(self, found: Found, row: int) -> list[Ending]:
        """A sentence's live hypotheses as endings without an end mark."""
        columns = found.next_columns_bk[row].tolist()
        log_probs = found.next_log_prob_bk[row].tolist()
        return [
            self._ending(found, row, column, log_prob)
            for column, log_prob in zip(columns, log_probs, strict=True)
            if log_prob > NEVER
        ]

    def _ending(self, found: Found, row: int, column: int, log_prob: float) -> Ending:
        return Ending(float(found.scores_bc[row, column]), log_prob, len(self._history), column)

    def _hypotheses(self, sentence: int) -> list[Hypothesis]:
        """The best endings of a sentence, walked."""
        best = []
        for (score, log_prob, length, column), finished in self._endings_b[sentence].best():
            tokens, token_log_probs, weights_ts = self._history.walk(sentence, length, column)
            best.append(Hypothesis(tokens, score, log_prob, token_log_probs, weights_ts, finished))
        return best
