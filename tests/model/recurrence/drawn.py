"""Numbers for a loop to run on, drawn."""

import torch
from torch import Tensor

from nmt.model.recurrence.buffers import Given, empty_trail, exact_dtype
from nmt.model.recurrence.gradients import gradients
from nmt.model.recurrence.loop import backward, forward
from nmt.model.recurrence.steps import Steps

UNITS, VALUES, WIDTH = 5, 6, 7


def draw(
    *,
    additive: bool,
    looks_first: bool,
    layers: int = 1,
    steps: int = 3,
    sentences: int = 3,
    positions: int = 5,
) -> Given:
    """In float64. The second sentence has a single position, and the third one has a gap."""
    torch.manual_seed(8)

    def randn(*shape: int) -> Tensor:
        return 0.7 * torch.randn(*shape, dtype=torch.float64)

    mask_bs = torch.ones(sentences, positions, dtype=torch.bool)
    mask_bs[1, 1:] = False
    mask_bs[2, 1:2] = False
    fed, gates = (VALUES if looks_first else 4), 4 * UNITS
    upper = layers - 1
    kept_tlbd = (torch.rand(steps, upper, sentences, UNITS, dtype=torch.float64) < 0.6) / 0.6
    return Given(
        projected_tbg=randn(steps, sentences, gates),
        keys_bsa=randn(sentences, positions, WIDTH if additive else UNITS),
        values_bse=randn(sentences, positions, VALUES),
        mask_bs=mask_bs,
        hidden_lbd=randn(layers, sentences, UNITS),
        cell_lbd=randn(layers, sentences, UNITS),
        bottom_gx=randn(gates, UNITS + fed),
        upper_lgx=randn(upper, gates, 2 * UNITS),
        upper_bias_lg=randn(upper, gates),
        query_ad=randn(WIDTH, UNITS) if additive else None,
        energy_a=randn(WIDTH) if additive else None,
        fed_bf=None if looks_first else randn(sentences, fed),
        combine_fx=None if looks_first else randn(fed, VALUES + UNITS),
        kept_tlbd=kept_tlbd.double() if upper else None,
    )


def cast(given: Given, dtype: torch.dtype) -> Given:
    """The same in another type, the cells in float32 at least."""
    parts = [part if part is None or part.dtype == torch.bool else part.to(dtype) for part in given]
    narrow = Given(*parts)  # type: ignore[arg-type]
    return narrow._replace(cell_lbd=given.cell_lbd.to(exact_dtype(dtype)))


def results(given: Given, steps: Steps) -> dict[str, Tensor]:
    """What a loop shows and where it looked, and all gradients, by name."""
    trail = empty_trail(given)
    forward(given, trail, steps)
    d_hidden_tbd, d_fed_tbf = slopes(trail.hidden_tbd, trail.fed_tbf)
    back = backward(given, trail, steps, d_hidden_tbd, d_fed_tbf)
    found = gradients(given, trail, back, steps)
    shown = {
        "hidden": trail.hidden_tbd,
        "fed": trail.fed_tbf,
        "weights": trail.weights_tbs,
        "cells": trail.cell_ltbd,
    }
    return shown | {
        f"d_{name}": part
        for name, part in zip(Given._fields, found, strict=True)
        if part is not None and part.numel()
    }


def slopes(*outputs: Tensor) -> tuple[Tensor, ...]:
    """Gradients of what a loop shows, laid out sentence by sentence, as readouts hand them back."""
    torch.manual_seed(9)
    drawn = (torch.randn(o.transpose(0, 1).shape, dtype=torch.float64) for o in outputs)
    return tuple(d.to(o.dtype).transpose(0, 1) for d, o in zip(drawn, outputs, strict=True))


def error(found: Tensor, exact: Tensor) -> float:
    """Of a whole tensor, relative to its size; if that is zero, as it is."""
    return float((found.double() - exact).norm() / (exact.norm() or 1.0))
