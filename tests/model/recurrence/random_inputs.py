"""Random inputs of a recurrence, and the results of its forward and backward pass."""

import torch
from torch import Tensor

from nmt.model.recurrence.fused import InputGradients, input_gradients
from nmt.model.recurrence.loop import Recurrence
from nmt.model.recurrence.spec import AttentionOrder
from nmt.model.recurrence.tensors import Inputs, accumulation_dtype, allocate
from nmt.model.recurrence.torch_ops import CellOps

HIDDEN, VALUES, ALIGNMENT, FEED = 5, 6, 7, 4


def random_inputs(
    *,
    additive: bool,
    order: AttentionOrder,
    layers: int = 1,
    steps: int = 3,
    sentences: int = 3,
    positions: int = 5,
    heads: int = 1,
) -> Inputs:
    """Draw inputs in float64; sentence 1 has one source position, and sentence 2 has a gap.

    With several heads, queries are projected in the bilinear form too.
    """
    torch.manual_seed(8)

    def randn(*shape: int) -> Tensor:
        return 0.7 * torch.randn(*shape, dtype=torch.float64)

    mask_bs = torch.ones(sentences, positions, dtype=torch.bool)
    mask_bs[1, 1:] = False
    mask_bs[2, 1:2] = False
    before = order is AttentionOrder.BEFORE
    feed, gates, upper = VALUES if before else FEED, 4 * HIDDEN, layers - 1
    rows, has_queries = sentences * heads, additive or heads > 1
    units = ALIGNMENT if has_queries else HIDDEN
    v_shape = (ALIGNMENT,) if heads == 1 else (rows, ALIGNMENT)
    kept_tlbd = torch.rand(steps, upper, sentences, HIDDEN, dtype=torch.float64) < 0.6
    return Inputs(
        projected_tbg=randn(steps, sentences, gates),
        keys_nsa=randn(rows, positions, units),
        values_nse=randn(rows, positions, VALUES // heads),
        hidden_lbd=randn(layers, sentences, HIDDEN),
        cell_lbd=randn(layers, sentences, HIDDEN),
        bottom_weight_gx=randn(gates, HIDDEN + feed),
        upper_weight_lgx=randn(upper, gates, 2 * HIDDEN),
        upper_bias_lg=randn(upper, gates),
        query_ad=randn(heads * ALIGNMENT, HIDDEN) if has_queries else None,
        v_a=randn(*v_shape) if additive else None,
        input_feed_bf=None if before else randn(sentences, feed),
        combine_fx=None if before else randn(feed, VALUES + HIDDEN),
        mask_ns=mask_bs.repeat_interleave(heads, dim=0),
        dropout_tlbd=kept_tlbd / 0.6 if upper else None,
    )


def cast(inputs: Inputs, dtype: torch.dtype) -> Inputs:
    """Convert inputs to another dtype, with cells in float32 at least."""
    tensors = [x if x is None or x.dtype == torch.bool else x.to(dtype) for x in inputs]
    narrow = Inputs(*tensors)  # type: ignore[arg-type]
    return narrow._replace(cell_lbd=inputs.cell_lbd.to(accumulation_dtype(dtype)))


def results(
    inputs: Inputs, order: AttentionOrder, ops: CellOps, *, need_weights: bool = False
) -> dict[str, Tensor]:
    """Return the outputs, attention weights, cells and all gradients by name.

    Args:
        inputs, order, ops: the recurrence
        need_weights: whether the attention weights are an output with a gradient
    """
    recurrence = Recurrence(inputs, allocate(inputs), order, ops)
    recurrence.forward()
    outputs = [recurrence.hidden_tbd, recurrence.input_feed_tbf]
    outputs += [recurrence.saved.weights_tns] * need_weights
    gradients = recurrence.backward(*random_gradients(*outputs))
    named = zip(InputGradients._fields, input_gradients(recurrence, gradients), strict=True)
    return {
        "hidden": recurrence.hidden_tbd,
        "input_feed": recurrence.input_feed_tbf,
        "weights": recurrence.saved.weights_tns,
        "cells": recurrence.saved.cell_ltbd,
        **{f"d_{name}": x for name, x in named if x is not None and x.numel()},
    }


def random_gradients(*outputs: Tensor) -> tuple[Tensor, ...]:
    """Draw gradients of the outputs, with the sentence axis first in memory as a readout's are."""
    torch.manual_seed(9)
    drawn = (torch.randn(x.transpose(0, 1).shape, dtype=torch.float64) for x in outputs)
    return tuple(d.to(x.dtype).transpose(0, 1) for d, x in zip(drawn, outputs, strict=True))


def relative_error(found: Tensor, exact: Tensor) -> float:
    """Return ‖found - exact‖ / ‖exact‖, or ‖found‖ if the exact tensor is zero."""
    return float((found.double() - exact).norm() / (exact.norm() or 1.0))
