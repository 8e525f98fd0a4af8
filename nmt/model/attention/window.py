"""Looking at a stretch of the source only."""

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from nmt.model.attention.mechanism import Softmax


def distances(
    centre_bq: Shaped[Tensor, "b q"], mask_bs: Bool[Tensor, "b s"]
) -> Shaped[Tensor, "b q s"]:
    """Return s - p for every source position s, counted from 0, and every centre p."""
    return torch.arange(mask_bs.size(1), device=mask_bs.device) - centre_bq[:, :, None]


def window_softmax(
    energies_bqs: Float[Tensor, "b q s"],
    distance_bqs: Shaped[Tensor, "b q s"],
    window: int,
    mask_bs: Bool[Tensor, "b s"],
    softmax: Softmax,
) -> Float[Tensor, "b q s"]:
    """Weights that sum to one over the real positions with |s - p| <= window, zero elsewhere.

    Each window must hold a real position. One that a score of limited length does not reach at all
    is read evenly.
    """
    energies_bqs = energies_bqs.clamp_min(torch.finfo(energies_bqs.dtype).min)
    outside_bqs = distance_bqs.abs() > window
    return softmax(energies_bqs.masked_fill(outside_bqs, float("-inf")), mask_bs)
