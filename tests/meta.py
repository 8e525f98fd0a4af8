"""A device whose tensors have a shape and no numbers: to read one, or to copy it away, is an error.

What goes through on it asks a GPU for nothing that it would have to wait for.
"""

from contextlib import nullcontext

import pytest
import torch
from torch.nn.utils import clip_grad

META = torch.device("meta")


def make_ready(patch: pytest.MonkeyPatch) -> None:
    """Torch's autocast and its lists of operations do not know the device."""
    patch.setattr(torch, "is_autocast_enabled", lambda device: False)
    patch.setattr(torch, "autocast", lambda device, **_: nullcontext())
    patch.setattr(clip_grad, "_device_has_foreach_support", lambda device: True)
