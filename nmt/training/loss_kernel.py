"""Label-smoothed cross entropy of a chunk of logits as one Triton kernel.

One program per row reads the logits twice: for the loss, and for the gradient, which overwrites
them. The log of the sum is computed online, together with the maximum (Milakov and Gimelshein 2018,
algorithm 3). Sums are in float32 for any dtype of the logits.
"""

# Triton compiles the source text and has its own annotations, so shapes are not checked in tests.
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from nmt.kernels import launch

MAX_BLOCK = 4096
"""Number of logits that a program holds at once."""


def chunk_loss(
    logits_rv: Float[Tensor, "r v"],
    targets_r: Int[Tensor, " r"],
    rows: int,
    smoothing: float,
    scale: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, " rows"], Float[Tensor, "r v"]]:
    """Compute `nmt.training.loss.chunk_loss`, with the gradient in the dtype of the logits."""
    all_rows, vocabulary = logits_rv.shape
    # The sizes are constants of the kernel, which is compiled once per vocabulary.
    loss_r = logits_rv.new_empty(all_rows, dtype=torch.float32)
    nll_r = torch.empty_like(loss_r)
    block = min(MAX_BLOCK, triton.next_power_of_2(vocabulary))
    launch(
        _cross_entropy_kernel,
        (all_rows,),
        logits_rv,
        targets_r,
        loss_r,
        nll_r,
        rows,
        smoothing,
        scale,
        vocabulary,
        block,
        num_warps=8,
    )
    return loss_r.sum(), nll_r[:rows], logits_rv


# The number of rows differs from batch to batch, and with it the alignment of the last targets.
@triton.jit(do_not_specialize=["rows"], do_not_specialize_on_alignment=["targets"])
@no_type_check
def _cross_entropy_kernel(
    logits,
    targets,
    losses,
    nlls,
    rows,
    smoothing,
    scale,
    vocabulary: tl.constexpr,
    block: tl.constexpr,
):
    """Compute loss, nll and scaled gradient of a row: 0 from `rows` on, or if it is ignored."""
    row = tl.program_id(0)
    row_logits = logits + row.to(tl.int64) * vocabulary
    target = tl.load(targets + row)
    counts = (row < rows) & (target >= 0)  # a negative target is `nmt.training.loss.IGNORED`
    target = tl.maximum(target, 0)
    # Read before the loops: their reductions synchronize the threads, so that none overwrites this
    # logit with its gradient before all have read it.
    target_logit = tl.load(row_logits + target).to(tl.float32)
    maximum, exp_sum, logit_sum = float("-inf"), 0.0, 0.0
    for start in range(0, vocabulary, block):
        token = start + tl.arange(0, block)
        inside = token < vocabulary
        logit = tl.load(row_logits + token, mask=inside, other=float("-inf")).to(tl.float32)
        new_maximum = tl.maximum(maximum, tl.max(logit, axis=0))
        # Rescales the sum so far to the new maximum.
        exp_sum = exp_sum * tl.exp(maximum - new_maximum) + tl.sum(
            tl.exp(logit - new_maximum), axis=0
        )
        logit_sum += tl.sum(tl.where(inside, logit, 0.0), axis=0)
        maximum = new_maximum
    log_sum = maximum + tl.log(exp_sum)
    nll = log_sum - target_logit
    loss = (1 - smoothing) * nll + smoothing * (log_sum - logit_sum / vocabulary)
    tl.store(nlls + row, tl.where(counts, nll, 0.0))
    tl.store(losses + row, tl.where(counts, loss, 0.0))
    # d loss / d logits = p - ε/v - (1 - ε) onehot(y), as in `nmt.training.loss`.
    for start in range(0, vocabulary, block):
        token = start + tl.arange(0, block)
        inside = token < vocabulary
        logit = tl.load(row_logits + token, mask=inside, other=0.0).to(tl.float32)
        gradient = tl.exp(logit - log_sum) - smoothing / vocabulary
        gradient -= tl.where(token == target, 1 - smoothing, 0.0)
        gradient = tl.where(counts, scale * gradient, 0.0)
        tl.store(row_logits + token, gradient.to(logits.dtype.element_ty), mask=inside)
