"""Putting the weights of a checkpoint into a model."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from nmt.errors import UserError, printable
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


FORMER_STATE = ("baseline_p",)
"""Names of training state that checkpoints of earlier versions hold among the weights."""


FLOAT_TYPES = (torch.float32, torch.float16, torch.bfloat16)


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


def weight_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a model by name: its parameters and persistent buffers."""
    kept = model.state_dict().keys()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in kept}
    return dict(model.named_parameters()) | buffers


def training_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Return the other buffers by name: constants, and state of training such as averages.

    A run continues with them. Another run that starts from the weights does not need them.
    """
    kept = model.state_dict().keys()
    return {name: buffer for name, buffer in model.named_buffers() if name not in kept}


def load_weights(model: Seq2Seq, weights: Mapping[str, Tensor], location: str) -> None:
    """Copy weights into a model's parameters and persistent buffers; tied tables are stored once.

    Args:
        model: the model to change
        weights: a tensor per parameter and persistent buffer, by name; names of earlier versions
            are known
        location: path of the checkpoint, for the error message

    Raises:
        UserError: a name, shape or type differs, or a weight is NaN or infinite
    """
    weights = match_weights(model, weights, location)
    with torch.no_grad():
        for name, tensor in weight_tensors(model).items():
            if not weights[name].isfinite().all():
                message = f"{name} contains NaN or infinity; use another checkpoint"
                raise UserError(message, location)
            tensor.copy_(weights[name])


SOURCE_TABLES = ("source_embedding.table.weight",)
TARGET_TABLES = ("target_embedding.table.weight", "output_layer.weight", "output_layer.bias")


def convert_vocabulary(
    weights: Mapping[str, Tensor],
    source_parts: Sequence[Sequence[int]] | None,
    target_parts: Sequence[Sequence[int]],
) -> dict[str, Tensor]:
    """Return weights whose tables have a row per token of other vocabularies.

    Args:
        weights: the weights of a model by name
        source_parts: the former tokens of which each source token consists, by id; its row is the
            mean of theirs, or of all rows without any. None for images
        target_parts: the same for the target
    """
    converted = dict(weights)
    for names, parts in ((SOURCE_TABLES, source_parts), (TARGET_TABLES, target_parts)):
        for name in names:
            if name in weights and parts is not None:
                converted[name] = _mean_rows(weights[name], parts)
    return converted


def _mean_rows(table: Tensor, parts: Sequence[Sequence[int]]) -> Tensor:
    mean = table.float().mean(dim=0).to(table.dtype)

    def mean_row(own: Sequence[int]) -> Tensor:
        if not own:
            return mean
        return table[own[0]] if len(own) == 1 else table[[*own]].float().mean(0).to(table.dtype)

    return torch.stack(list(map(mean_row, parts)))


def match_weights(
    model: Seq2Seq, weights: Mapping[str, Tensor], location: str
) -> dict[str, Tensor]:
    """Return the weights of a model under the names of today, without those that it ignores.

    Both may be on the meta device, so that they are compared before they take memory.

    Args:
        model: the model
        weights: see `load_weights`
        location: path of the checkpoint, for the error message

    Raises:
        UserError: a name, shape or type differs
    """
    own, ignored = weight_tensors(model), training_buffers(model)
    found = {
        name: tensor
        for name, tensor in rename_weights(weights, model).items()
        if name in own or not (name in ignored or name.rpartition(".")[2] in FORMER_STATE)
    }
    unmatched = sorted(own.keys() ^ found.keys())
    unmatched += [n for n in own.keys() & found.keys() if own[n].shape != found[n].shape]
    if unmatched:
        message = f"holds weights of another model ({printable(unmatched[0])} does not fit)"
        raise UserError(message, location)
    for name, tensor in found.items():
        # float32 represents the values of these types exactly.
        if tensor.dtype != own[name].dtype and tensor.dtype not in FLOAT_TYPES:
            kinds = ", ".join(str(kind).removeprefix("torch.") for kind in FLOAT_TYPES)
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(f"{name} has the type {kind}; weights must be {kinds}", location)
    return found
