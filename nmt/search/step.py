"""The one thing search knows of a model: a function from a token to the next distribution."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils._pytree import tree_leaves

from nmt.errors import UserError
from nmt.model.interfaces import Memory, Prediction, State
from nmt.model.interfaces import select_rows as select_rows

Step = Callable[[Tensor, Memory, State], Prediction]
"""(tokens_n, memory, state) -> Prediction. Memory has b rows, tokens and state n = b*k."""


def device_of(*trees: object) -> torch.device:
    """Where the tensors of these pytrees live; the CPU when there are none."""
    tensors = (leaf for leaf in tree_leaves(trees) if isinstance(leaf, Tensor))
    first = next(tensors, None)
    return torch.device("cpu") if first is None else first.device


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A small tensor of the CPU there, without waiting for what a GPU still has to do."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def real_positions(
    source_mask_bs: Bool[Tensor, "b s"] | None, sentences: int
) -> Bool[Tensor, "b #s"]:
    """The mask on the CPU; of width 1, and True, when none is given: every position is real."""
    if source_mask_bs is None:
        return torch.ones(sentences, 1, dtype=torch.bool)
    return source_mask_bs.cpu()


def only_real(weights_ts: Float[Tensor, "t s"], mask_s: Bool[Tensor, "#s"]) -> Float[Tensor, "t r"]:
    """The columns of one sentence's real source positions: its neighbours' padding is cut off."""
    return weights_ts[:, mask_s.expand(weights_ts.size(1))]


def check_numbers(log_probs: Float[Tensor, "..."]) -> None:
    """Raises UserError when the model's log-probabilities are not numbers."""
    if log_probs.isnan().any():
        raise UserError(
            "the model's probabilities are not numbers (NaN); "
            "another checkpoint, or --precision fp32, would be right"
        )
