"""Annotations as input of attention tests."""

import torch

from nmt.model.interfaces import Encoded, LayerStates

WIDTH = 5


def source(*lengths: int) -> Encoded:
    """Draw annotations of sentences of these lengths, zero in padding."""
    torch.manual_seed(4)
    longest = max(lengths)
    mask_bs = torch.arange(longest) < torch.tensor(lengths)[:, None]
    states_bse = torch.randn(len(lengths), longest, WIDTH, dtype=torch.float64)
    states_bse = states_bse * mask_bs[:, :, None]
    final_state_bx = torch.randn(len(lengths), 3, dtype=torch.float64)
    return Encoded(states_bse, mask_bs, final_state_bx, LayerStates(states_bse[:, :1], None))
