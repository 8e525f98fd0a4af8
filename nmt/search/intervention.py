"""Interventions in a search: fixed first tokens, and given attention weights."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nmt.errors import UserError
from nmt.model.interfaces import Memory, Prediction, State
from nmt.search.candidates import NEG_INF
from nmt.search.step import Step

Override = Callable[[Memory, Tensor, Tensor], Memory]
"""(memory, weights_bs, given_b) -> memory; see `nmt.inference.override.override_attention`."""


NO_WEIGHTS: Mapping[int, Sequence[float]] = {}


class Intervention(NamedTuple):
    """Parts of one sentence's translation that are not left to the model.

    Attributes:
        pieces: its first pieces
        attention: attention weights of some steps, counted from 0: one weight per source piece, and
            one for `</s>` if the model attends to it. They are divided by their sum.
    """

    pieces: tuple[str, ...] = ()
    attention: Mapping[int, Sequence[float]] = NO_WEIGHTS


class InterventionTables(NamedTuple):
    """The interventions of a batch, one row per sentence.

    Attributes:
        tokens_bt: first tokens; -1 where the model decides
        weights_bts: attention weights that sum to one
        given_bt: whether a step has them
    """

    tokens_bt: Int[Tensor, "b t"]
    weights_bts: Float[Tensor, "b t s"]
    given_bt: Bool[Tensor, "b t"]

    def to(self, device: torch.device) -> "InterventionTables":
        """Return the tables on a device."""
        return InterventionTables(*(tensor.to(device) for tensor in self))


class IntervenedMemory(NamedTuple):
    """Memory of the model, and the interventions."""

    memory: Memory
    tables: InterventionTables

    def without_tokens(self) -> "IntervenedMemory":
        """Return the memory with the same attention, but without first tokens."""
        tokens_bt = torch.full_like(self.tables.tokens_bt, -1)
        return self._replace(tables=self.tables._replace(tokens_bt=tokens_bt))


def collate_interventions(
    interventions: Sequence[Intervention | None],
    token_of: Mapping[str, int],
    mask_bs: Bool[Tensor, "b s"],
    max_lengths_b: Sequence[int],
    locations: Sequence[str],
) -> InterventionTables:
    """Return the tables of a batch.

    Args:
        interventions: one per sentence; None to leave it to the model
        token_of: tokens by their pieces
        mask_bs: real source positions
        max_lengths_b: maximum number of target tokens
        locations: `FILE:LINE` of each sentence for error messages; empty if unknown

    Raises:
        UserError: if a piece is unknown, or weights do not fit the source
    """
    lengths_b = mask_bs.sum(1).tolist()
    steps = 0
    for one, limit, location in zip(interventions, max_lengths_b, locations, strict=True):
        if one is not None:
            last = max([len(one.pieces), *one.attention])
            if last >= limit or min(one.attention, default=0) < 0:
                message = "interventions must be at steps between 0 and the maximum length"
                raise UserError(f"{message} ({limit})", location)
            steps = max(steps, last + 1)
    tokens_bt = torch.full((len(lengths_b), steps), -1)
    weights_bts = torch.zeros(len(lengths_b), steps, mask_bs.size(1), dtype=torch.float64)
    for row, (one, location) in enumerate(zip(interventions, locations, strict=True)):
        if one is None:
            continue
        for step, piece in enumerate(one.pieces):
            if piece not in token_of:
                message = f"piece '{piece}' is not in the target vocabulary; choose another"
                raise UserError(message, location)
            tokens_bt[row, step] = token_of[piece]
        for step, weights in one.attention.items():
            weights_s = _normalized(weights, lengths_b[row], location)
            weights_bts[row, step, : lengths_b[row]] = weights_s
    return InterventionTables(tokens_bt, weights_bts, weights_bts.sum(-1) > 0)


def _normalized(weights: Sequence[float], positions: int, location: str) -> Tensor:
    weights_s = torch.tensor(weights, dtype=torch.float64)
    if len(weights) != positions:
        message = f"{len(weights)} attention weights for {positions} source positions"
        raise UserError(f"{message}; give one per position, that of </s> last", location)
    total = weights_s.sum()
    if not (weights_s >= 0).all() or not total.isfinite() or total == 0:
        message = "attention weights must be at least 0 and finite, and one of them above 0"
        raise UserError(message, location)
    return weights_s / total


def intervening(step: Step, override: Override) -> Step:
    """Return a step function that intervenes at the steps of `InterventionTables`.

    Its memory is an `IntervenedMemory`, and its state the number of the step of each hypothesis and
    the state of the model. Before step t the context of a sentence is computed from the weights set
    for it, Lee et al. 2017; a fixed token keeps its log-probability, and the others get -inf.

    Args:
        step: step function of the model
        override: replaces the attention of a memory
    """

    def intervened(tokens_n: Tensor, memory: Memory, state: State) -> Prediction:
        assert isinstance(memory, IntervenedMemory) and isinstance(state, tuple)
        (position_n, inner_state), (inner, tables) = state, memory
        # Search extends all hypotheses at the same time.
        position = int(position_n[0])
        if position >= tables.tokens_bt.size(1):
            prediction = step(tokens_n, inner, inner_state)
            return prediction._replace(state=(position_n + 1, prediction.state))
        given_b, weights_bs = tables.given_bt[:, position], tables.weights_bts[:, position]
        if given_b.any():
            inner = override(inner, weights_bs, given_b)
        prediction = step(tokens_n, inner, inner_state)
        log_probs_nv, weights_ns, inner_state, outputs, _ = prediction
        hypotheses = len(tokens_n) // len(given_b)
        if weights_ns is not None:
            own_ns = weights_bs.to(weights_ns).repeat_interleave(hypotheses, 0)
            given_n1 = given_b.repeat_interleave(hypotheses)[:, None]
            weights_ns = torch.where(given_n1, own_ns, weights_ns)
        fixed_n1 = tables.tokens_bt[:, position].repeat_interleave(hypotheses)[:, None]
        if outputs is None:
            outputs_nv = torch.arange(log_probs_nv.size(1), device=fixed_n1.device)[None]
        else:
            outputs_nv = outputs.tokens_bv.repeat_interleave(hypotheses, 0)
        is_other_nv = (fixed_n1 >= 0) & (outputs_nv != fixed_n1)
        return prediction._replace(
            log_probs_nv=log_probs_nv.masked_fill(is_other_nv, NEG_INF),
            weights_ns=weights_ns,
            state=(position_n + 1, inner_state),
        )

    return intervened
