"""The smoothed loss of a chunk of logits as one Triton kernel.

A program is a row: it reads its logits once for the loss and once for the gradient, which takes
their place, and the log of the sum is formed beside the largest one (Milakov and Gimelshein 2018,
algorithm 3). Sums are in float32 whatever the logits' type.
"""

# Triton compiles the source text, and annotations are its own: so no checks of shapes in tests.
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

WIDEST = 4096
"""Logits that a program holds at once."""


def of_chunk(
    logits_rv: Float[Tensor, "r v"], targets_r: Int[Tensor, " r"], real: int, smoothing: float
) -> tuple[Float[Tensor, ""], Float[Tensor, " real"], Float[Tensor, "r v"]]:
    """As `nmt.training.loss.of_chunk`, but the gradient is rounded to the logits' type."""
    rows, pieces = logits_rv.shape
    loss_r = logits_rv.new_empty(rows, dtype=torch.float32)
    plain_r = torch.empty_like(loss_r)
    block = min(WIDEST, triton.next_power_of_2(pieces))
    smoothed[(rows,)](
        logits_rv, targets_r, loss_r, plain_r, real, smoothing, pieces, block, num_warps=8
    )
    return loss_r.sum(), plain_r[:real], logits_rv


@triton.jit
@no_type_check
def smoothed(
    logits,
    targets,
    losses,
    plains,
    real,
    smoothing,
    pieces: tl.constexpr,
    block: tl.constexpr,
):
    """Loss and gradient of one row; both are zero from row `real` on."""
    row = tl.program_id(0)
    at = logits + row.to(tl.int64) * pieces
    right = tl.load(targets + row)
    # Before the loops: their reductions make every thread wait until all have read it.
    target = tl.load(at + right).to(tl.float32)
    top, mass, total = float("-inf"), 0.0, 0.0
    for start in range(0, pieces, block):
        piece = start + tl.arange(0, block)
        some = tl.load(at + piece, mask=piece < pieces, other=float("-inf")).to(tl.float32)
        higher = tl.maximum(top, tl.max(some, axis=0))
        mass = mass * tl.exp(top - higher) + tl.sum(tl.exp(some - higher), axis=0)
        total += tl.sum(tl.where(piece < pieces, some, 0.0), axis=0)
        top = higher
    log_mass = top + tl.log(mass)
    plain = log_mass - target
    loss = (1 - smoothing) * plain + smoothing * (log_mass - total / pieces)
    tl.store(plains + row, plain)
    tl.store(losses + row, tl.where(row < real, loss, 0.0))
    for start in range(0, pieces, block):
        piece = start + tl.arange(0, block)
        inside = piece < pieces
        share = tl.exp(tl.load(at + piece, mask=inside, other=0.0).to(tl.float32) - log_mass)
        slope = share - smoothing / pieces - tl.where(piece == right, 1 - smoothing, 0.0)
        slope = tl.where(row < real, slope, 0.0)
        tl.store(at + piece, slope.to(logits.dtype.element_ty), mask=inside)
