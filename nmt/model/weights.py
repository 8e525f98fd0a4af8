"""Putting the weights of a checkpoint into a model."""

from collections.abc import Mapping

import torch
from torch import Tensor

from nmt.errors import UserError
from nmt.model.seq2seq import Seq2Seq


def load_weights(model: Seq2Seq, weights: Mapping[str, Tensor], location: str) -> None:
    """Copy weights into a model's parameters and buffers; tied tables are stored once.

    Args:
        model: the model to change
        weights: a tensor per parameter and buffer, by name
        location: path of the checkpoint, for the error message

    Raises:
        UserError: a name or shape differs
    """
    own = dict(model.named_parameters()) | dict(model.named_buffers())
    unmatched = sorted(own.keys() ^ weights.keys())
    unmatched += [n for n in own.keys() & weights.keys() if own[n].shape != weights[n].shape]
    if unmatched:
        message = f"holds weights of another model ({unmatched[0]} does not fit)"
        raise UserError(message, location)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(weights[name])
