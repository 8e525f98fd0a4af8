"""The step function, which is all that search knows of a model, and helpers for its tensors."""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils._pytree import tree_leaves

from nmt.errors import UserError
from nmt.model.interfaces import Memory, Prediction, State

Step = Callable[[Tensor, Memory, State], Prediction]
"""(tokens_n, memory, state) -> Prediction: the distribution of the next token.

The memory has one row per sentence (b); tokens and state have one row per hypothesis (n = b*k), the
k hypotheses of a sentence in adjacent rows.
"""


def device_of(*trees: object) -> torch.device:
    """Return the device of the first tensor in the pytrees; the CPU if they hold no tensor."""
    # Memory and state may contain None and numbers besides tensors.
    tensors = (leaf for leaf in tree_leaves(trees) if isinstance(leaf, Tensor))
    first = next(tensors, None)
    return torch.device("cpu") if first is None else first.device


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a small CPU tensor to a device without waiting for work that is queued there."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # only copies from pinned memory are asynchronous
    return tensor.to(device, non_blocking=True)


def source_mask_on_cpu(
    source_mask_bs: Bool[Tensor, "b s"] | None, sentences: int
) -> Bool[Tensor, "b #s"]:
    """Return the mask on the CPU; without a mask, one of width 1 that excludes no position."""
    if source_mask_bs is None:
        return torch.ones(sentences, 1, dtype=torch.bool)
    return source_mask_bs.cpu()


def stack_steps(
    weights: Iterable[Float[Tensor, " s"] | None], mask_s: Bool[Tensor, "#s"]
) -> Float[Tensor, "t r"] | None:
    """Return the weights of all steps of one sentence without the columns of padding.

    Args:
        weights: weights of each step; None at every step of a model without them
        mask_s: False for padding
    """
    rows = [weights_s for weights_s in weights if weights_s is not None]
    return torch.stack(rows)[:, mask_s.expand(len(rows[0]))] if rows else None


def check_no_nan(log_probs: Float[Tensor, "..."]) -> None:
    """Raise UserError if a log-probability is NaN."""
    if log_probs.isnan().any():
        raise UserError(
            "the model's probabilities are NaN; use another checkpoint or --precision fp32"
        )
