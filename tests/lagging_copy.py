"""A host copy that lags on a CPU as it does on a GPU."""

from typing import Any

import torch

from nmt.device import AsyncHostCopy


def lagging_copy(lag: int) -> type[AsyncHostCopy[Any]]:
    """Return a class of copies that hold back the newest `lag` items, whatever they are given."""
    always = lag

    class LaggingCopy(AsyncHostCopy[Any]):
        def __init__(self, device: torch.device, lag: int = 1) -> None:
            super().__init__(device, lag)
            self._lag = always

    return LaggingCopy
