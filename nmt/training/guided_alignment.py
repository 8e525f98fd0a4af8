"""Guided alignment: attention learns word alignments that are given with the training text."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

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
    # The log of half-precision weights needs float32.
    chosen_x = chosen_x.to(torch.promote_types(chosen_x.dtype, torch.float32))
    return -(alignment.shares_x * chosen_x.clamp_min(MIN_WEIGHT).log()).sum()
