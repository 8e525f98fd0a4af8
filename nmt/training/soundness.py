"""Whether updates were sound: nothing but numbers, in the loss and in the gradient."""

from math import isfinite
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.data.batching import Array
from nmt.errors import UserError
from nmt.model.post import Post
from nmt.training.ranks import Ranks


class Evidence(NamedTuple):
    """What the device has to say of an update.

    Attributes:
        number: of the update
        lines: training lines of each of this rank's batches
        losses_x: of each of these batches
        loss: sum over the batches of all ranks
        norm: of all gradients together
        asked: ranks that somebody asked to stop
    """

    number: int
    lines: list[Array]
    losses_x: Float[Tensor, " x"]
    loss: Float[Tensor, ""]
    norm: Float[Tensor, ""]
    asked: Float[Tensor, ""]

    @property
    def is_wrong(self) -> Bool[Tensor, ""]:
        """Whether its step is not to be taken, as the device itself can tell."""
        return ~(self.loss.isfinite() & self.norm.isfinite())


class Soundness:
    """Reads the evidence of one update after another.

    All ranks find the same, and at the same update: what is no number on one of them leaves no sum
    over them either.

    Args:
        ranks: that train together
        device: where the evidence comes from
        late: whether a GPU's may be read while it works on the next update
        scaled: whether a norm that is no number is left to the scale of the loss
    """

    def __init__(self, ranks: Ranks, device: torch.device, *, late: bool, scaled: bool) -> None:
        self._ranks, self._scaled = ranks, scaled
        self._post: Post[Evidence] = Post(device, behind=1 if late else 0)
        self.asked = False

    def take(self, evidence: Evidence) -> None:
        """Read what there is to be read by now.

        Raises:
            UserError: when an update was not sound
        """
        self._post.send(evidence)
        for one in self._post.arrived():
            self._judge(one)

    def settle(self) -> None:
        """Read all of it, as `take` does."""
        for one in self._post.rest():
            self._judge(one)

    def _judge(self, evidence: Evidence) -> None:
        self.asked = self.asked or bool(evidence.asked > 0)
        if not evidence.loss.isfinite():
            pairs = zip(evidence.losses_x.tolist(), evidence.lines, strict=True)
            wrong = [(loss, lines.tolist()) for loss, lines in pairs if not isfinite(loss)]
            raise self._error(evidence.number, "loss", wrong[:1], whole=False)
        if not evidence.norm.isfinite() and not self._scaled:
            lines = np.concatenate(evidence.lines).tolist()
            found = [(float(evidence.norm), lines)]
            raise self._error(evidence.number, "gradient's norm", found, whole=True)

    def _error(
        self, number: int, what: str, found: list[tuple[float, list[int]]], *, whole: bool
    ) -> UserError:
        """The error of all ranks, from the values and lines that each has found.

        Args:
            whole: whether to name all ranks' lines, or those of the first one with such a value
        """
        everywhere = [one for part in self._ranks.gather(found) for one in part]
        value, lines = everywhere[0] if everywhere else (float("nan"), [])
        if whole:
            lines = [line for _, some in everywhere for line in some]
        named = ", ".join(map(str, lines[:5])) + (", …" if len(lines) > 5 else "")
        return UserError(
            self._ranks.same(
                f"update {number}: the {what} is {value} on the batch of training lines "
                f"{named}; the last checkpoint is kept; "
                "try a lower learning_rate, a smaller clip_norm or a warmup"
            )
        )
