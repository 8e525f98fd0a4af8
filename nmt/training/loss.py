"""Label-smoothed cross entropy that never holds all logits in memory."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear, pad

from nmt.device import TORCH_VERSION
from nmt.kernels import compiles_kernels, run_or_fall_back
from nmt.native.library import cross_entropy, supports_training
from nmt.training.r_drop import symmetric_divergence

IGNORED = -1
"""Target of a row that has no loss."""

ROW_MULTIPLE = 64
"""Rows are padded to a multiple of this. Libraries cache a compiled product of some megabytes for
every number of rows, and nearly every batch has another number of target tokens."""

CPU_CHUNK, GPU_CHUNK = 1024, 8192
"""Default rows per chunk. A CPU computes on what fits into its caches. A GPU reads and writes the
gradient of the whole output layer once per chunk, so it prefers few."""

HALF_SCALE = 1024.0
"""Factor of the gradient of float16 logits. Most of its entries are near smoothing / vocabulary,
below 6e-5 and thus imprecise in float16, and the scale of `GradScaler` comes only afterwards."""


def smoothed_cross_entropy(
    outputs_rd: Float[Tensor, "r d"],
    weight_vd: Float[Tensor, "v d"],
    bias_v: Float[Tensor, " v"],
    targets_r: Int[Tensor, " r"],
    *,
    smoothing: float,
    chunk: int,
    ignores: bool = False,
    consistency: float = 0.0,
    weights_r: Float[Tensor, " r"] | None = None,
) -> tuple[Float[Tensor, ""], Float[Tensor, " r"]]:
    """Compute the sum of the smoothed loss over the rows r, and the nll of each row, in nats.

    loss = (1 - ε) (-log p(y)) + ε/v Σ_u (-log p(u)), p = softmax(W x + b). Szegedy et al. 2016,
    section 7. Logits and their gradient are computed `chunk` rows at a time, which bounds memory by
    chunk x v, independent of the number of target tokens. The nll, -log p(y), has no gradient.

    Args:
        outputs_rd: inputs of the output layer, without padding
        weight_vd: weight of the output layer
        bias_v: bias of the output layer
        targets_r: target tokens
        smoothing: ε
        chunk: rows per chunk
        ignores: whether targets may be `IGNORED`; such a row has no loss, nll and gradient
        consistency: factor of `symmetric_divergence`, which is added to the loss; rows come in
            pairs with equal targets then
        weights_r: constant factor of each row's nll in the loss, without smoothing; None for 1
    """
    if consistency:
        chunk += chunk % 2  # a pair is not divided
    if torch.is_autocast_enabled(outputs_rd.device.type):
        # A custom function has to cast its inputs itself.
        dtype = torch.get_autocast_dtype(outputs_rd.device.type)
        outputs_rd, weight_vd, bias_v = (x.to(dtype) for x in (outputs_rd, weight_vd, bias_v))
    loss, nll_r = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        outputs_rd, weight_vd, bias_v, targets_r, smoothing, chunk, ignores, consistency, weights_r
    )
    return loss, nll_r


class _ChunkedCrossEntropy(Function):
    """Cross entropy whose forward pass also computes the gradient, chunk by chunk.

    d loss / d logits = p - ε/v - (1 - ε) onehot(y). The backward pass only scales the result, since
    the loss is a sum.
    """

    @staticmethod
    def forward(
        ctx: Any,
        outputs_rd: Tensor,
        weight_vd: Tensor,
        bias_v: Tensor,
        targets_r: Tensor,
        smoothing: float,
        chunk: int,
        ignores: bool,
        consistency: float,
        weights_r: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        # Sums are in float32 at least; float64 stays float64.
        rows, exact = len(outputs_rd), torch.promote_types(outputs_rd.dtype, torch.float32)
        loss = outputs_rd.new_zeros((), dtype=exact)
        nlls = []
        # Padding rows have a zero gradient; see `chunk_loss`.
        padding = -rows % min(ROW_MULTIPLE, chunk)
        outputs_rd, targets_r = pad(outputs_rd, (0, 0, 0, padding)), pad(targets_r, (0, padding))
        scale = HALF_SCALE if outputs_rd.dtype == torch.float16 else 1.0
        d_outputs_rd = torch.empty_like(outputs_rd)
        d_weight_vd: Tensor | None = None
        d_bias_v = torch.zeros_like(bias_v, dtype=exact)
        for start in range(0, len(outputs_rd), chunk):
            part = slice(start, start + chunk)
            # Inputs are cast already, and the loss is float32 under autocast too.
            with torch.autocast(outputs_rd.device.type, enabled=False):
                logits_rv = linear(outputs_rd[part], weight_vd, bias_v)
                # Before the loss, whose gradient may overwrite the logits.
                divergence = None
                if consistency:
                    divergence = _divergence(logits_rv, targets_r[part], consistency)
                part_loss, nll_r, d_logits_rv = _chunk_loss(
                    logits_rv, targets_r[part], max(0, rows - start), smoothing, scale, ignores
                )
                if weights_r is not None:
                    part_loss = (weights_r[part] * nll_r).sum()
                    # In the rows of padding the gradient is zero already.
                    d_logits_rv[: len(nll_r)] *= weights_r[part, None]
                loss += part_loss
                if divergence is not None:
                    loss += divergence[0]
                    d_logits_rv = d_logits_rv + scale * divergence[1]
                nlls.append(nll_r)
                if not any(ctx.needs_input_grad[:3]):
                    continue  # validation needs no gradient
                # logits = x W^T + b: db = Σ_r g_r, dx = g W, dW = g^T x.
                # A CPU sums in float32 in any case; given a dtype, it copies the gradient first.
                d_bias_v += d_logits_rv.sum(dim=0, dtype=None if d_logits_rv.is_cpu else exact)
                d_logits_rv = d_logits_rv.to(outputs_rd.dtype)
                torch.mm(d_logits_rv, weight_vd, out=d_outputs_rd[part])
                factors = d_logits_rv.t(), outputs_rd[part]
                d_weight_vd = _add_product(d_weight_vd, *factors, dtype=exact)
        if d_weight_vd is None:
            d_weight_vd = torch.zeros_like(weight_vd, dtype=exact)
        if scale == 1.0:
            # Scaled sums over all rows could exceed float16; in bfloat16 they take half the memory.
            d_weight_vd, d_bias_v = d_weight_vd.to(weight_vd.dtype), d_bias_v.to(bias_v.dtype)
        ctx.save_for_backward(d_outputs_rd[:rows], d_weight_vd, d_bias_v)
        ctx.scale = scale
        nll_r = torch.cat(nlls) if nlls else loss.new_zeros(0)
        ctx.mark_non_differentiable(nll_r)
        return loss, nll_r

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        d_outputs_rd, d_weight_vd, d_bias_v = ctx.saved_tensors
        # The gradient with respect to the loss, a scalar such as 1 / target tokens; nll has none.
        scale = gradients[0] / ctx.scale
        return (
            d_outputs_rd * scale.to(d_outputs_rd.dtype),
            d_weight_vd * scale.to(d_weight_vd.dtype),
            d_bias_v * scale.to(d_bias_v.dtype),
            *(None,) * 6,
        )


def _divergence(logits_rv: Tensor, targets_r: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    """Return `factor` times the divergence of all pairs with targets, and its gradient."""
    exact = torch.promote_types(logits_rv.dtype, torch.float32)
    divergence_x, d_logits_rv = symmetric_divergence(logits_rv.to(exact))
    has_target_r = (targets_r != IGNORED) * factor
    return (divergence_x * has_target_r[::2]).sum(), d_logits_rv * has_target_r[:, None]


def _chunk_loss(
    logits_rv: Tensor, targets_r: Tensor, rows: int, smoothing: float, scale: float, ignores: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `chunk_loss` by the Triton kernel or the C kernel if one runs here, else by torch."""
    arguments = targets_r, rows, smoothing, scale
    if logits_rv.dtype == torch.float64 or not compiles_kernels(logits_rv.device):
        if supports_training(logits_rv):
            return _native_chunk_loss(logits_rv, *arguments)
        return chunk_loss(logits_rv, *arguments, ignores)
    from nmt.training.loss_kernel import chunk_loss as chunk_loss_by_kernel

    return run_or_fall_back(
        lambda: chunk_loss_by_kernel(logits_rv, *arguments),
        # A kernel that cannot be launched has not overwritten the logits.
        lambda: chunk_loss(logits_rv, *arguments, ignores),
    )


def _native_chunk_loss(
    logits_rv: Tensor, targets_r: Tensor, rows: int, smoothing: float, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `chunk_loss` by the kernel in C, which overwrites the logits by their gradient."""
    targets_r = targets_r.clone()
    targets_r[rows:] = IGNORED
    nll_r, uniform_r = cross_entropy(logits_rv, targets_r, smoothing, scale)
    loss = (1 - smoothing) * nll_r.sum() + smoothing * uniform_r.sum()
    return loss, nll_r[:rows], logits_rv


def chunk_loss(
    logits_rv: Float[Tensor, "r v"],
    targets_r: Int[Tensor, " r"],
    rows: int,
    smoothing: float,
    scale: float,
    ignores: bool = False,
) -> tuple[Float[Tensor, ""], Float[Tensor, " rows"], Float[Tensor, "r v"]]:
    """Compute the loss and the nll of the first `rows` rows, and the gradient of the logits.

    The gradient is zero in the other rows, which are padding. It may overwrite the logits. A target
    that is `IGNORED` has neither loss nor gradient; the kernel always expects such targets, this
    function only with `ignores`.

    Returns:
        sum of the smoothed loss, nll of each row, `scale` times the gradient
    """
    logits_rv = logits_rv.to(torch.promote_types(logits_rv.dtype, torch.float32))
    targets_r1 = targets_r[:, None]
    if ignores:
        ignored_r1 = targets_r1 == IGNORED
        targets_r1 = targets_r1.clamp(min=0)
    logits_rv.sub_(logits_rv.amax(dim=1, keepdim=True))  # so that exp does not overflow
    target_r1, mean_r1 = logits_rv.gather(1, targets_r1), logits_rv.mean(dim=1, keepdim=True)
    exp_rv = logits_rv.exp_()
    sum_r1 = exp_rv.sum(dim=1, keepdim=True)
    # With shifted logits z: -log p(u) = log Σ exp(z) - z_u, for the target and on average over u.
    nll_r = (sum_r1.log() - target_r1)[:rows, 0]
    uniform_r1 = (sum_r1.log() - mean_r1)[:rows]
    if ignores:
        nll_r = nll_r.masked_fill(ignored_r1[:rows, 0], 0.0)
        uniform_r1 = uniform_r1.masked_fill(ignored_r1[:rows], 0.0)
    uniform = uniform_r1.sum()
    # The gradient overwrites the probabilities, which overwrote the logits.
    d_logits_rv = exp_rv.div_(sum_r1).sub_(smoothing / exp_rv.size(1))
    spike_r1 = d_logits_rv.new_full((1, 1), smoothing - 1).expand_as(targets_r1)
    d_logits_rv.scatter_add_(1, targets_r1, spike_r1)
    d_logits_rv[rows:] = 0.0
    if ignores:
        d_logits_rv.masked_fill_(ignored_r1, 0.0)
    if scale != 1.0:
        d_logits_rv.mul_(scale)
    return (1 - smoothing) * nll_r.sum() + smoothing * uniform, nll_r, d_logits_rv


def _add_product(total: Tensor | None, left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `total` + left @ right in a dtype; a GPU does not round the product before adding it.

    A CPU rounds each product to the dtype of its factors, and the first bfloat16 one is returned as
    it is.
    """
    if total is None and (left.dtype == dtype or (left.is_cpu and left.dtype == torch.bfloat16)):
        return left @ right
    if total is None:
        total = left.new_zeros(len(left), right.size(1), dtype=dtype)
    if left.dtype == dtype:
        return total.addmm_(left, right)
    if left.is_cpu:
        return total.to(dtype).add_(left @ right)
    if TORCH_VERSION >= (2, 10):
        return torch.addmm(total, left, right, dtype, out=total)
    # Earlier versions take an addend in half precision only.
    return total.add_(torch.mm(left, right, dtype))
