"""Candidates of lexically constrained beam search, by dynamic beam allocation.

Hypotheses with equally many tokens of the required terms form a bank, and the banks share the beam.
Post and Vilar 2018; Hu et al. 2019 select from all banks of all sentences at once, as here.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nmt.search.candidates import NEG_INF, Candidates, select_candidates
from nmt.search.constraints.rules import ConstraintState


def select_from_banks(
    state: ConstraintState,
    log_prob_bk: Float[Tensor, "b k"],
    log_probs_nv: Float[Tensor, "n v"],
    length: int,
) -> Candidates:
    """Return 2k continuations of each sentence's k hypotheses, in the order of their selection.

    The candidates are the best continuations of all hypotheses, the two best of each hypothesis,
    and all that begin or continue a required term. The best one of each bank is selected first, the
    bank with the most tokens leading, then the second of each, and so on. Candidates that leave no
    room for the missing terms are not selected. A sentence without terms has one bank, and thus the
    candidates of plain beam search.

    Args:
        state: constraints of the hypotheses
        log_prob_bk: log-probability of each hypothesis
        log_probs_nv: distribution of the next token, masked by the constraints
        length: number of tokens of the extended hypotheses
    """
    beam_size = log_prob_bk.size(1)
    pool = _pool(state, log_prob_bk, log_probs_nv)
    extended = state.append(pool.parent_bc, pool.token_bc, length)
    total_b1 = (state.rules.required_bj * state.rules.lengths_bj).sum(-1, keepdim=True)
    ends_bc = pool.token_bc.eq(state.tables.eos)  # only possible with all terms
    bank_bc = _met_tokens(extended).where(~ends_bc, total_b1)
    fits_bc = total_b1 - bank_bc <= (state.rules.max_length_b - length)[:, None]
    impossible_bc = _repeats(pool, log_probs_nv.size(1)) | ~fits_bc
    # NaN is reported later and stays.
    log_prob_bc = pool.log_prob_bc.masked_fill(impossible_bc, NEG_INF)
    order_bc = _round_robin(log_prob_bc, bank_bc)[:, : 2 * beam_size]
    return Candidates(
        *(values_bc.gather(1, order_bc) for values_bc in pool._replace(log_prob_bc=log_prob_bc))
    )


def _pool(
    state: ConstraintState,
    log_prob_bk: Float[Tensor, "b k"],
    log_probs_nv: Float[Tensor, "n v"],
) -> Candidates:
    """Return all candidates, some of them more than once."""
    sentences, beam_size = log_prob_bk.shape
    best = select_candidates(log_prob_bk, log_probs_nv, 2 * beam_size)
    # Each hypothesis as a sentence of its own.
    own = select_candidates(log_prob_bk.flatten()[:, None], log_probs_nv, 2)
    slots_k = torch.arange(beam_size, device=log_prob_bk.device)
    own = own._replace(parent_bc=slots_k.repeat(sentences)[:, None].expand_as(own.token_bc))
    own = Candidates(*(values_nx.reshape(sentences, -1) for values_nx in own))
    advancing_bkx = _advancing_tokens(state)
    token_bc = advancing_bkx.flatten(1)
    parent_bc = slots_k[:, None].expand_as(advancing_bkx).flatten(1)
    row_bc = torch.arange(sentences, device=slots_k.device)[:, None] * beam_size + parent_bc
    token_log_prob_bc = log_probs_nv[row_bc, token_bc.clamp_min(0)]
    token_log_prob_bc = token_log_prob_bc.masked_fill(token_bc < 0, NEG_INF)
    advancing = Candidates(
        log_prob_bk.gather(1, parent_bc) + token_log_prob_bc,
        parent_bc,
        token_bc.clamp_min(0),
        token_log_prob_bc,
    )
    return Candidates(*(torch.cat(parts, 1) for parts in zip(best, own, advancing, strict=True)))


def _advancing_tokens(state: ConstraintState) -> Int[Tensor, "b k x"]:
    """Return the tokens that continue or begin a missing term; -1 for none."""
    missing_bkj = state.rules.required_bj[:, None] - state.counts_bkj - _is_pending(state).long()
    tokens_bkjy = state.tables.advance_ojx[state.rows_bk]
    return tokens_bkjy.masked_fill(missing_bkj[..., None] <= 0, -1).flatten(2)


def _is_pending(state: ConstraintState) -> Bool[Tensor, "b k j"]:
    """Return whether a term is complete unless its last word continues."""
    return state.tables.at_end_oj[state.rows_bk] > 0


def _met_tokens(state: ConstraintState) -> Int[Tensor, "b k"]:
    """Return the number of tokens of required terms in each hypothesis, which is its bank."""
    rules = state.rules
    missing_bkj = (rules.required_bj[:, None] - state.counts_bkj).clamp_min(0)
    met_bkj = (rules.required_bj[:, None] - missing_bkj) * rules.lengths_bj[:, None]
    pending_bkj = missing_bkj.clamp_max(1) * _is_pending(state) * rules.lengths_bj[:, None]
    partial_bkj = state.tables.progress_oj[state.rows_bk].masked_fill(missing_bkj.eq(0), 0)
    # All complete terms require that their last word ends here, and each of the partial ones that
    # it goes on in its own way.
    return met_bkj.sum(-1) + pending_bkj.sum(-1).maximum(partial_bkj.amax(-1))


def _repeats(pool: Candidates, vocabulary: int) -> Bool[Tensor, "b c"]:
    """Return whether an earlier candidate is the same continuation of the same hypothesis."""
    position_bc = pool.parent_bc * vocabulary + pool.token_bc
    sorted_bc, order_bc = position_bc.sort(dim=1, stable=True)
    repeats_bc = torch.zeros_like(sorted_bc, dtype=torch.bool)
    repeats_bc[:, 1:] = sorted_bc[:, 1:] == sorted_bc[:, :-1]
    return torch.zeros_like(repeats_bc).scatter(1, order_bc, repeats_bc)


def _round_robin(
    log_prob_bc: Float[Tensor, "b c"], bank_bc: Int[Tensor, "b c"]
) -> Int[Tensor, "b c"]:
    """Return the order of candidates: the best of each bank, the second of each, and so on."""
    best_bc = log_prob_bc.sort(dim=1, descending=True, stable=True).indices
    by_bank_bc = best_bc.gather(1, bank_bc.gather(1, best_bc).sort(dim=1, stable=True).indices)
    sorted_bc = bank_bc.gather(1, by_bank_bc)
    column_bc = torch.arange(bank_bc.size(1), device=bank_bc.device).expand_as(bank_bc)
    begins_bc = torch.ones_like(sorted_bc, dtype=torch.bool)
    begins_bc[:, 1:] = sorted_bc[:, 1:] != sorted_bc[:, :-1]
    rank_bc = column_bc - column_bc.where(begins_bc, 0).cummax(dim=1).values
    # Ranks and banks are below these numbers; the order does not depend on them.
    num_banks_b1 = bank_bc.amax(dim=1, keepdim=True) + 1
    key_bc = rank_bc * num_banks_b1 + (num_banks_b1 - 1 - sorted_bc)
    log_prob_bc = log_prob_bc.gather(1, by_bank_bc)
    key_bc = key_bc.masked_fill(log_prob_bc.eq(NEG_INF), torch.iinfo(key_bc.dtype).max)
    key_bc = key_bc.masked_fill(log_prob_bc.isnan(), -1)
    return by_bank_bc.gather(1, key_bc.sort(dim=1, stable=True).indices)
