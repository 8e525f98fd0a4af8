"""Putting the weights of a checkpoint into a model."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nmt.errors import UserError
from nmt.model.seq2seq import Seq2Seq

RENAMED_WEIGHTS = {
    "centre_a": "center_a",
    "column_ce": "column_ze",
    "energy_a": "v_a",
    "row_re": "row_ye",
    "weight_de": "key.weight",
    "weight_ldh": "weight_ldx",
}
"""Names of parameters in checkpoints of earlier versions, and their names today.

The names are those within a module: the last part of a name in a checkpoint.
"""


def rename_weights(weights: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a checkpoint under the names that a model's parameters have today."""
    own = {name for name, _ in model.named_parameters()}
    renamed = {}
    for name, tensor in weights.items():
        module, _, last = name.rpartition(".")
        # Only where the model has the present name and not the earlier one: a component of the user
        # may have a parameter with an earlier name of ours.
        today = f"{module}.{RENAMED_WEIGHTS.get(last, last)}"
        renamed[today if name not in own and today in own else name] = tensor
    return renamed


def load_weights(model: Seq2Seq, weights: Mapping[str, Tensor], location: str) -> None:
    """Copy weights into a model's parameters and buffers; tied tables are stored once.

    Args:
        model: the model to change
        weights: a tensor per parameter and buffer, by name; names of earlier versions are known
        location: path of the checkpoint, for the error message

    Raises:
        UserError: a name or shape differs
    """
    weights = rename_weights(weights, model)
    own = dict(model.named_parameters()) | dict(model.named_buffers())
    unmatched = sorted(own.keys() ^ weights.keys())
    unmatched += [n for n in own.keys() & weights.keys() if own[n].shape != weights[n].shape]
    if unmatched:
        message = f"holds weights of another model ({unmatched[0]} does not fit)"
        raise UserError(message, location)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(weights[name])
