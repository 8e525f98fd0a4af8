"""Weights as 8-bit integers in a bundle, and back.

A matrix W is divided into blocks of columns, and each row of a block has a scale s = max|w| / 127:
w ≈ s w_q with integers w_q from -127 to 127. The bundle stores w_q and max|w|, from which s follows
exactly. Quantizing the restored matrix gives the same integers and scales again, so that in int8
`InferenceModel` multiplies by the integers of the file. Its blocks are those of `Int8Linear`, one
per input of a `ConcatLinear`; other matrices have one block.

Vectors remain in float32, and so do the weights of attention, whose errors grow in the softmax.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nmt.errors import UserError
from nmt.inference.linear import INT8_MAX, quantize_rows, replace_linear_layers
from nmt.model.attention.mechanism import Mechanism
from nmt.model.attention.score import Score
from nmt.model.layers.linear import ConcatLinear
from nmt.model.layers.ntm import TuringMachine
from nmt.model.seq2seq import Seq2Seq
from nmt.model.weights import weight_tensors

ABSMAX = ".absmax"
"""Suffix of the name of the maxima of a matrix, with one row per row and one column per block."""

Blocks = Mapping[str, list[int]]
"""Widths of the column blocks of each matrix in integers, by the name of the matrix."""


def quantize_weights(model: Seq2Seq) -> tuple[dict[str, Tensor], dict[str, list[int]]]:
    """Return the weights of a model with matrices as integers, and the blocks of these."""
    weights, blocks = dict(weight_tensors(model)), _blocks(model)
    for name, widths in blocks.items():
        parts = weights[name].detach().float().split_with_sizes(widths, dim=1)
        weights[name] = torch.cat([quantize_rows(part)[0] for part in parts], dim=1)
        weights[name + ABSMAX] = torch.stack([part.abs().amax(dim=1) for part in parts], dim=1)
    return weights, blocks


def check_quantized(weights: Mapping[str, Tensor], blocks: Blocks, location: str) -> None:
    """Raise UserError if types and shapes of integers and maxima do not fit together."""
    for name, widths in blocks.items():
        integers, absmax = weights.get(name), weights.get(name + ABSMAX)
        if (
            integers is None
            or absmax is None
            or (integers.dtype, absmax.dtype) != (torch.int8, torch.float32)
            or integers.dim() != 2
            or absmax.shape != (len(integers), len(widths))
            or sum(widths) != integers.size(1)
        ):
            raise UserError(f"{name[:100]} is not a matrix of integers as recorded", location)


def restored_shapes(weights: Mapping[str, Tensor], blocks: Blocks) -> dict[str, Tensor]:
    """Return tensors without memory in the shapes and types of the restored weights."""
    return {
        name: torch.empty(
            tensor.shape, dtype=torch.float32 if name in blocks else tensor.dtype, device="meta"
        )
        for name, tensor in weights.items()
        if name.removesuffix(ABSMAX) not in blocks or name in blocks
    }


def restore_weights(weights: Mapping[str, Tensor], blocks: Blocks) -> dict[str, Tensor]:
    """Return the weights with integers converted to float32."""
    restored = {}
    for name, tensor in weights.items():
        if name in blocks:
            absmax = weights[name + ABSMAX]
            parts = zip(
                tensor.split_with_sizes(blocks[name], dim=1), absmax.unbind(dim=1), strict=True
            )
            restored[name] = torch.cat([_restore_block(*part) for part in parts], dim=1)
        elif name.removesuffix(ABSMAX) not in blocks:
            restored[name] = tensor
    return restored


def _restore_block(integers_vd: Tensor, absmax_v: Tensor) -> Tensor:
    rows_vd, absmax_v1 = integers_vd.float(), absmax_v[:, None]
    # The largest element exactly, whose product by the rounded scale may differ in the last bit.
    is_largest = rows_vd.abs() == INT8_MAX
    return torch.where(is_largest, rows_vd.sign() * absmax_v1, rows_vd * (absmax_v1 / INT8_MAX))


def _blocks(model: Seq2Seq) -> dict[str, list[int]]:
    """Return the column blocks of all matrices that are quantized."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    blocks = {
        names[id(module.weight)]: [module.weight.size(1)]
        for module in _modules(model)
        if isinstance(module, nn.Linear | nn.Embedding | ConcatLinear) and module.weight.numel()
    }
    return blocks | _inference_blocks(model)


def _modules(module: nn.Module) -> list[nn.Module]:
    if isinstance(module, Score | Mechanism | TuringMachine):
        return []
    below = (one for child in module.children() for one in _modules(child))
    return [module, *below]


def _inference_blocks(model: Seq2Seq) -> dict[str, list[int]]:
    """Return the blocks of the matrices that `compile_model` multiplies in integers."""
    copied = copy.deepcopy(model)
    owners = {p.untyped_storage().data_ptr(): name for name, p in copied.named_parameters()}
    starts: dict[str, dict[int, int]] = {}

    def record(weight_vd: Tensor, bias_v: Tensor | None) -> nn.Module:
        if weight_vd.numel():
            name = owners[weight_vd.untyped_storage().data_ptr()]
            start = int(weight_vd.storage_offset()) % weight_vd.stride(0)
            starts.setdefault(name, {})[start] = weight_vd.size(1)
        return nn.Identity()

    record(copied.output_layer.weight, None)
    replace_linear_layers(copied.decoder, record, None)
    return {name: [width for _, width in sorted(own.items())] for name, own in starts.items()}
