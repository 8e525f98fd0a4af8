"""Constraints of a batch on the model's device: the tokens that each hypothesis may append.

`ConstraintTables` are shared by the batch. `SentenceRules` have a row per sentence and
`ConstraintState` a row per hypothesis, which search selects and reorders with those of the beam.
No method reads a value from the device.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nmt.search.candidates import NEG_INF


class SentenceRules(NamedTuple):
    """The constraints of each sentence; j counts its phrases, x the events of its automaton.

    Attributes:
        first_state_b: first row of the automaton in the tables
        required_bj: number of occurrences of each phrase that a translation needs; 0 if forbidden
        limit_bj: the number of occurrences that it may have
        lengths_bj: number of tokens that spell each phrase; 0 if it is forbidden
        events_bxj: occurrences per event
        max_length_b: maximum length of a hypothesis, `eos` included
        forced_bt: first tokens of a translation; -1 after them
        first_open_b: first row of the last word of the prefix in the tables
        open_length_b: number of characters of this word; 0 without one
    """

    first_state_b: Int[Tensor, " b"]
    required_bj: Int[Tensor, "b j"]
    limit_bj: Int[Tensor, "b j"]
    lengths_bj: Int[Tensor, "b j"]
    events_bxj: Int[Tensor, "b x j"]
    max_length_b: Int[Tensor, " b"]
    forced_bt: Int[Tensor, "b t"]
    first_open_b: Int[Tensor, " b"]
    open_length_b: Int[Tensor, " b"]


@dataclass(frozen=True)
class ConstraintTables:
    """Tables of the automata of a batch; o counts the states of all of them.

    Attributes:
        eos: end-of-sentence token
        has_terms: whether a sentence requires a phrase
        max_lengths: the different maximum lengths of the sentences
        next_ov: next state of the same automaton, by token
        event_ov: event of a token
        at_end_oj: occurrences that the end of the text completes
        progress_oj: number of tokens of a required phrase that the text ends with
        advance_ojx: tokens that continue or begin a required phrase; -1 for none
        allowed_xv: tokens that may follow a part of the last word of a prefix
        text_length_v: number of characters of each token
    """

    eos: int
    has_terms: bool
    max_lengths: frozenset[int]
    next_ov: Int[Tensor, "o v"]
    event_ov: Int[Tensor, "o v"]
    at_end_oj: Int[Tensor, "o j"]
    progress_oj: Int[Tensor, "o j"]
    advance_ojx: Int[Tensor, "o j 3"]
    allowed_xv: Bool[Tensor, "x v"]
    text_length_v: Int[Tensor, " v"]


class ConstraintState(NamedTuple):
    """The part of each hypothesis that its constraints depend on.

    Attributes:
        tables: tables of the batch, which search neither selects nor reorders
        rules: constraints of the sentences
        state_bk: state of the sentence's automaton
        counts_bkj: number of occurrences of each phrase
        spelled_bk: number of characters of the last word of the prefix that are spelled
    """

    tables: ConstraintTables
    rules: SentenceRules
    state_bk: Int[Tensor, "b k"]
    counts_bkj: Int[Tensor, "b k j"]
    spelled_bk: Int[Tensor, "b k"]

    @classmethod
    def start(cls, tables: ConstraintTables, rules: SentenceRules) -> "ConstraintState":
        """Return the state of one empty hypothesis per sentence."""
        zeros_b1 = torch.zeros_like(rules.first_state_b)[:, None]
        counts_b1j = torch.zeros_like(rules.required_bj)[:, None]
        return cls(tables, rules, zeros_b1, counts_b1j, zeros_b1)

    def expand(self, beam_size: int) -> "ConstraintState":
        """Return the state of k equal hypotheses per sentence."""
        return self._replace(
            state_bk=self.state_bk.repeat_interleave(beam_size, 1),
            counts_bkj=self.counts_bkj.repeat_interleave(beam_size, 1),
            spelled_bk=self.spelled_bk.repeat_interleave(beam_size, 1),
        )

    @property
    def rows_bk(self) -> Int[Tensor, "b k"]:
        """Return the row of each hypothesis in the tables of states."""
        return self.rules.first_state_b[:, None] + self.state_bk

    def mask(self, log_probs_nv: Float[Tensor, "n v"], length: int) -> Float[Tensor, "n v"]:
        """Set to -inf the log-probability of every token that would violate a constraint.

        Args:
            log_probs_nv: distribution of the next token
            length: number of tokens of the extended hypotheses
        """
        rules, beam_size = self.rules, self.state_bk.size(1)
        totals_bkxj = self.counts_bkj[:, :, None] + rules.events_bxj[:, None]
        fits_bkx = (totals_bkxj <= rules.limit_bj[:, None, None]).all(-1)
        event_nv = self.tables.event_ov[self.rows_bk.flatten()]
        allowed_nv = _of_rows(fits_bkx.flatten(0, 1), event_nv)
        allowed_nv[:, self.tables.eos] = self._is_complete().flatten()
        if length in self.tables.max_lengths:
            ends_b = rules.max_length_b.eq(length)
            ends_n = ends_b.repeat_interleave(beam_size)
            allowed_nv &= self._may_be_last(event_nv) | ~ends_n[:, None]
        if self.tables.allowed_xv.size(0):
            allowed_nv &= self._continues_prefix(length - 1)
        if length <= rules.forced_bt.size(1):
            forced_n = rules.forced_bt[:, length - 1].repeat_interleave(beam_size)
            tokens_v = torch.arange(log_probs_nv.size(1), device=log_probs_nv.device)
            allowed_nv &= forced_n[:, None].eq(tokens_v) | forced_n[:, None].lt(0)
        return log_probs_nv.masked_fill(~allowed_nv, NEG_INF)

    def _is_complete(self) -> Tensor:
        """Return whether the texts of hypotheses may end."""
        rules = self.rules
        counts_bkj = self.counts_bkj + self.tables.at_end_oj[self.rows_bk]
        enough_bk = (counts_bkj >= rules.required_bj[:, None]).all(-1)
        return enough_bk & (counts_bkj <= rules.limit_bj[:, None]).all(-1)

    def _may_be_last(self, event_nv: Int[Tensor, "n v"]) -> Bool[Tensor, "n v"]:
        """Return whether the text may end after each token."""
        rules, beam_size = self.rules, self.state_bk.size(1)
        first_n = rules.first_state_b.repeat_interleave(beam_size)
        next_nv = self.tables.next_ov[self.rows_bk.flatten()].int() + first_n.int()[:, None]
        allowed_nv = torch.ones_like(next_nv, dtype=torch.bool)
        # Phrase by phrase, because numbers of all phrases would fill the memory.
        for j in range(self.tables.at_end_oj.size(1)):
            gained_bkx = self.counts_bkj[:, :, None, j] + rules.events_bxj[:, None, :, j]
            total_nv = _of_rows(gained_bkx.flatten(0, 1), event_nv)
            total_nv = total_nv + self.tables.at_end_oj[:, j][next_nv.flatten()].view_as(total_nv)
            allowed_nv &= total_nv >= rules.required_bj[:, j].repeat_interleave(beam_size)[:, None]
            allowed_nv &= total_nv <= rules.limit_bj[:, j].repeat_interleave(beam_size)[:, None]
        allowed_nv[:, self.tables.eos] = True  # has been decided already
        return allowed_nv

    def _continues_prefix(self, position: int) -> Bool[Tensor, "n v"]:
        """Return whether each token agrees with the last word of the prefix."""
        rules = self.rules
        is_open_bk = self._is_open(position)[:, None] & (
            self.spelled_bk < rules.open_length_b[:, None]
        )
        rows_bk = (rules.first_open_b[:, None] + self.spelled_bk).where(is_open_bk, 0)
        return self.tables.allowed_xv[rows_bk.flatten()] | ~is_open_bk.flatten()[:, None]

    def _is_open(self, position: int) -> Bool[Tensor, " b"]:
        """Return whether the given tokens of the prefixes are before this position."""
        if position >= self.rules.forced_bt.size(1):
            return torch.ones_like(self.rules.first_open_b, dtype=torch.bool)
        return self.rules.forced_bt[:, position] < 0

    def append(
        self,
        parent_bc: Int[Tensor, "b c"],
        token_bc: Int[Tensor, "b c"],
        length: int,
    ) -> "ConstraintState":
        """Return the states of hypotheses that are extended by a token.

        Args:
            parent_bc: slots of the hypotheses
            token_bc: their tokens
            length: number of tokens of the extended hypotheses
        """
        row_bc = self.rows_bk.gather(1, parent_bc)
        event_bc = self.tables.event_ov[row_bc, token_bc].long()
        sentence_b1 = torch.arange(len(row_bc), device=row_bc.device)[:, None]
        spelled_bc = self.spelled_bk.gather(1, parent_bc)
        is_open_b1 = self._is_open(length - 1)[:, None]
        events_bcj = self.rules.events_bxj[sentence_b1, event_bc]
        return self._replace(
            state_bk=self.tables.next_ov[row_bc, token_bc].long(),
            counts_bkj=self.counts_bkj[sentence_b1, parent_bc] + events_bcj,
            spelled_bk=spelled_bc + self.tables.text_length_v[token_bc] * is_open_b1,
        )


def _of_rows(values_nx: Tensor, index_nv: Int[Tensor, "n v"]) -> Tensor:
    """Return `values_nx[n, index_nv[n, v]]`."""
    # 32 bits, because the index has an entry per hypothesis and token.
    first_n = torch.arange(len(values_nx), device=values_nx.device, dtype=torch.int32)
    flat_nv = index_nv.int() + (first_n * values_nx.size(1))[:, None]
    return values_nx.flatten().index_select(0, flat_nv.flatten()).view(index_nv.shape)
