"""The sentences still searched, and how far their hypotheses have come."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nmt.model.interfaces import Prediction
from nmt.search.candidates import Candidates, best_candidates, forbid_repeats
from nmt.search.found import Found
from nmt.search.ledger import Limits
from nmt.search.live import Live, of_parents
from nmt.search.penalties import Scoring
from nmt.search.step import select_rows, to_device


class Frontier:
    """Lives on the model's device, and asks it for no number: a GPU is never waited for.

    Args:
        bos: the token to begin with
        limits: what was asked for
        scoring: how hypotheses compare
        mask_bs: real source positions of each sentence, on the CPU
        device: where the model is

    Attributes:
        sentences: which sentence each row is
    """

    def __init__(
        self,
        bos: int,
        limits: Limits,
        scoring: Scoring,
        mask_bs: Bool[Tensor, "b #s"],
        device: torch.device,
    ) -> None:
        self._limits, self._scoring, self._device = limits, scoring, device
        self._mask_bs = to_device(mask_bs, device)
        self.sentences = list(range(len(limits.max_lengths_b)))
        self._length = 0
        self._live = Live.begin(
            bos,
            len(self.sentences),
            limits.beam_size,
            prefixes=limits.block_ngram > 0,
            device=device,
        )

    @property
    def first_rows_n(self) -> Int[Tensor, "n"]:
        """Which row of the state each hypothesis begins with."""
        rows_b = torch.arange(len(self.sentences), device=self._device)
        return rows_b[:, None].expand(-1, self._limits.beam_size).flatten()

    @property
    def tokens_n(self) -> Int[Tensor, "n"]:
        """What the live hypotheses said last."""
        return self._live.tokens_bk.flatten()

    def advance(self, prediction: Prediction) -> Found:
        """Take a step.

        Raises:
            UserError: when the coverage penalty needs weights and the model gives none
        """
        self._scoring.check(prediction.weights_ns)
        weights_bks = None
        if prediction.weights_ns is not None:
            weights_bks = prediction.weights_ns.float().reshape(*self._live.tokens_bk.shape, -1)
            if self._scoring.coverage.needs_weights:
                self._live = self._live.look(weights_bks)
        before, candidates = self._live, self._candidates(prediction.log_probs_nv)
        self._length += 1
        scores_bc = self._scores(candidates)
        self._live = before.go_on(candidates, self._limits.eos)
        return Found(
            self.sentences,
            candidates,
            before.columns_bk,
            scores_bc,
            self._live.columns_bk,
            self._live.log_prob_bk,
            weights_bks,
        )

    def keep(
        self, goes_on: Callable[[int, int], bool]
    ) -> tuple[Int[Tensor, "b"] | None, Int[Tensor, "n"]]:
        """Drop the sentences that do not go on.

        Args:
            goes_on: whether a sentence's hypotheses of a length are to be continued

        Returns:
            which rows of the memory stay, None for all of them, and which rows of the state go on
        """
        kept = [row for row, one in enumerate(self.sentences) if goes_on(one, self._length)]
        kept_b = None
        rows_b = torch.arange(len(self.sentences), device=self._device)
        if len(kept) < len(self.sentences):
            rows_b = kept_b = to_device(torch.tensor(kept, dtype=torch.long), self._device)
            self.sentences = [self.sentences[row] for row in kept]
            self._live, self._mask_bs = select_rows((self._live, self._mask_bs), kept_b)
        rows_bk = rows_b[:, None] * self._limits.beam_size + self._live.parents_bk
        return kept_b, rows_bk.flatten()

    def _candidates(self, log_probs_nv: Float[Tensor, "n v"]) -> Candidates:
        if self._live.prefixes_bkt is not None:
            prefixes_nt = self._live.prefixes_bkt.flatten(0, 1)
            log_probs_nv = forbid_repeats(log_probs_nv, prefixes_nt, self._limits.block_ngram)
        return best_candidates(self._live.log_prob_bk, log_probs_nv, 2 * self._limits.beam_size)

    def _scores(self, candidates: Candidates) -> Float[Tensor, "b c"]:
        """What each candidate is worth if it goes no further."""
        coverage_bcs = of_parents(self._live.coverage_bks, candidates.parent_bc)
        mask_b1s = self._mask_bs[:, None]
        return self._scoring.scores(candidates.log_prob_bc, self._length, coverage_bcs, mask_b1s)
