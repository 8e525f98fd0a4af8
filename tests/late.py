"""A post as late on a CPU as a GPU's."""

from typing import Any

import torch

from nmt.model.post import Post


def late_post(letters: int) -> type[Post[Any]]:
    """One that has so many letters under way, whatever it is asked for."""

    class LatePost(Post[Any]):
        def __init__(self, device: torch.device, behind: int = 1) -> None:
            super().__init__(device, behind)
            self._behind = letters

    return LatePost
