"""Weights of torch's own recurrent layers in the layout of cuDNN."""

import logging
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from nmt.device import TORCH_VERSION

log = logging.getLogger("nmt")


def cast_weights(weights: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Cast the weights of torch's own recurrent layer."""
    if weights[0].is_cuda:
        return cudnn_weights(weights, dtype)
    return [weight.to(dtype) for weight in weights]


def cudnn_weights(weights: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Cast the weights of one layer and direction into one buffer; return views of it.

    In this order and without gaps they have cuDNN's own layout. Weights in several buffers would be
    copied into one at every call, with a warning.

    Args:
        weights: W, V and both biases
        dtype: type of the buffer
    """
    if dtype == torch.bfloat16 and TORCH_VERSION < (2, 10):
        _warn_of_bfloat16()
    # A concatenation and a cast for all weights, and in the backward pass the same.
    buffer_x = torch.cat([weight.flatten() for weight in weights]).to(dtype)
    parts = torch.split(buffer_x, [weight.numel() for weight in weights])
    return [part.view_as(weight) for part, weight in zip(parts, weights, strict=True)]


@cache
def _warn_of_bfloat16() -> None:
    log.warning(
        "torch %s computes recurrent layers in bf16 step by step, without cuDNN; install torch "
        "2.10 or later, or use fp16",
        torch.__version__,
    )
