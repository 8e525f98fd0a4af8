"""Guided alignment: attention learns word alignments that are given with the training text."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from nmt.data.batch import PieceAlignment

MIN_WEIGHT = 1e-6
"""Lower bound of an attention weight: a link that a mechanism cannot reach, such as one outside the
window of local attention, costs 13.8 nats and has no gradient, instead of infinity."""


class GuidedAlignment(NamedTuple):
    """Weight of the alignment loss during training.

    Attributes:
        weight: factor of `alignment_loss`
        until: last update with this loss; None for all
    """

    weight: float
    until: int | None = None

    def weight_at(self, step: int) -> float:
        """Return the factor of the alignment loss in an update, numbered from 1."""
        return self.weight if self.until is None or step <= self.until else 0.0


def alignment_loss(
    weights_bts: Float[Tensor, "b t s"], alignment: PieceAlignment
) -> Float[Tensor, ""]:
    """Compute the cross entropy of attention weights with given alignments, summed in nats.

        loss = - Σ_t Σ_s A_ts log α_ts                    Chen et al. 2016, section 3.2

    Row t of A is uniform over the source tokens that target token t is linked to. A target token
    without a link has no loss, as in Garg et al. 2019, section 4.2.

    Args:
        weights_bts: attention weights α
        alignment: the links and their shares A_ts
    """
    chosen_x = weights_bts.flatten().index_select(0, alignment.indices_x)
    return -(alignment.shares_x * _log(chosen_x)).sum()


def empty_word_loss(
    weights_bts: Float[Tensor, "b t s"],
    alignment: PieceAlignment,
    source_mask_bs: Bool[Tensor, "b s"],
    target_mask_bt: Bool[Tensor, "b t"],
) -> Float[Tensor, ""]:
    """Compute the cross entropy of target tokens without a link, which `</s>` of the source gets.

        loss = - Σ_{t without link} log α_{t,</s>}        the empty word of Och and Ney 2003, 2.1.1

    `</s>` of the target, and sentences without any link, have no such loss.

    Args:
        weights_bts: attention weights α
        alignment: the links
        source_mask_bs, target_mask_bt: real tokens, with `</s>` as the last one of each sentence
    """
    rows_x = alignment.indices_x // weights_bts.size(2)
    linked_x = torch.zeros_like(target_mask_bt).flatten().index_fill(0, rows_x, True)
    linked_bt = linked_x.view_as(target_mask_bt)
    # Position t is that of a token before </s> if the next one is real, too.
    is_word_bt = pad(target_mask_bt[:, 1:], (0, 1))
    unlinked_bt = is_word_bt & ~linked_bt & linked_bt.any(dim=1, keepdim=True)
    end_b = source_mask_bs.sum(dim=1) - 1
    end_bt1 = end_b[:, None, None].expand(-1, weights_bts.size(1), 1)
    return -_log(weights_bts.gather(2, end_bt1)[:, :, 0]).masked_fill(~unlinked_bt, 0.0).sum()


def _log(weights: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    # The log of half-precision weights needs float32.
    weights = weights.to(torch.promote_types(weights.dtype, torch.float32))
    return weights.clamp_min(MIN_WEIGHT).log()
