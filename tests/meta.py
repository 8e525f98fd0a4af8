"""The meta device, whose tensors have shapes and no values; reading or copying one is an error.

Code that runs on it does not synchronize with a GPU either.
"""

from contextlib import nullcontext

import pytest
import torch
from torch.nn.utils import clip_grad

META = torch.device("meta")


def make_ready(patch: pytest.MonkeyPatch) -> None:
    """Replace functions of torch that do not support the meta device."""
    patch.setattr(torch, "is_autocast_enabled", lambda device: False)
    patch.setattr(torch, "autocast", lambda device, **_: nullcontext())
    patch.setattr(clip_grad, "_device_has_foreach_support", lambda device: True)
