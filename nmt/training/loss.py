"""Label-smoothed cross entropy whose logits never stand in memory whole."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear, pad

from nmt.data.batching import Batch
from nmt.model.seq2seq import Seq2Seq

GRAIN = 64
"""Rows are filled up to a multiple of this: libraries keep a compiled product for every number of
rows they have met, megabytes each, and nearly every batch has another number of target tokens."""


def smoothed_cross_entropy(
    outputs_rd: Float[Tensor, "r d"],
    weight_vd: Float[Tensor, "v d"],
    bias_v: Float[Tensor, " v"],
    targets_r: Int[Tensor, " r"],
    *,
    smoothing: float,
    chunk: int,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Sums over rows r of the smoothed loss and of the plain one, in nats.

    loss = (1 - ε) (-log p(y)) + ε/v Σ_u (-log p(u)), p = softmax(W x + b). Szegedy et al. 2016,
    section 7. Logits and their gradient are formed `chunk` rows at a time, so memory is bounded by
    chunk x v, not by the number of target tokens.

    Args:
        outputs_rd: what the output layer reads, real target positions only
        weight_vd: of the output layer
        bias_v: of the output layer
        targets_r: the pieces to predict
        smoothing: ε
        chunk: rows at a time
    """
    if torch.is_autocast_enabled(outputs_rd.device.type):
        dtype = torch.get_autocast_dtype(outputs_rd.device.type)
        outputs_rd, weight_vd, bias_v = (x.to(dtype) for x in (outputs_rd, weight_vd, bias_v))
    loss, likelihood = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        outputs_rd, weight_vd, bias_v, targets_r, smoothing, chunk
    )
    return loss, likelihood


def batch_loss(
    model: Seq2Seq, batch: Batch, *, smoothing: float, chunk: int
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """`smoothed_cross_entropy` of a model over the real target tokens of a batch."""
    outputs_btd = model(batch.source_bs, batch.source_mask_bs, batch.target_in_bt)
    return smoothed_cross_entropy(
        outputs_btd[batch.target_mask_bt],
        *model.output_weights,
        batch.target_out_bt[batch.target_mask_bt],
        smoothing=smoothing,
        chunk=chunk,
    )


class _ChunkedCrossEntropy(Function):
    """The gradient is formed beside the loss: d loss / d logits = p - ε/v - (1 - ε) onehot(y)."""

    @staticmethod
    def forward(
        ctx: Any,
        outputs_rd: Tensor,
        weight_vd: Tensor,
        bias_v: Tensor,
        targets_r: Tensor,
        smoothing: float,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        rows, exact = len(outputs_rd), torch.promote_types(outputs_rd.dtype, torch.float32)
        sums = outputs_rd.new_zeros(2, dtype=exact)
        more = -rows % min(GRAIN, chunk)
        outputs_rd, targets_r = pad(outputs_rd, (0, 0, 0, more)), pad(targets_r, (0, more))
        d_outputs_rd = torch.empty_like(outputs_rd)
        d_weight_vd = torch.zeros_like(weight_vd, dtype=exact)
        d_bias_v = torch.zeros_like(bias_v, dtype=exact)
        for start in range(0, len(outputs_rd), chunk):
            some = slice(start, start + chunk)
            with torch.autocast(outputs_rd.device.type, enabled=False):
                logits_rv = linear(outputs_rd[some], weight_vd, bias_v).to(exact)
                more_sums, d_logits_rv = _of_chunk(
                    logits_rv, targets_r[some], max(0, rows - start), smoothing
                )
                sums += more_sums
                if not any(ctx.needs_input_grad[:3]):
                    continue
                d_bias_v += d_logits_rv.sum(dim=0)
                narrow_rv = d_logits_rv.to(outputs_rd.dtype)
                torch.mm(narrow_rv, weight_vd, out=d_outputs_rd[some])
                _add_product(d_weight_vd, narrow_rv.t(), outputs_rd[some])
        ctx.save_for_backward(
            d_outputs_rd[:rows], d_weight_vd.to(weight_vd.dtype), d_bias_v.to(bias_v.dtype)
        )
        loss, likelihood = sums.unbind()
        ctx.mark_non_differentiable(likelihood)
        return loss, likelihood

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        d_outputs_rd, d_weight_vd, d_bias_v = ctx.saved_tensors
        scale = gradients[0]
        return (
            d_outputs_rd * scale.to(d_outputs_rd.dtype),
            d_weight_vd * scale.to(d_weight_vd.dtype),
            d_bias_v * scale.to(d_bias_v.dtype),
            None,
            None,
            None,
        )


def _of_chunk(
    logits_rv: Tensor, targets_r: Tensor, real: int, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Sums of the smoothed and the plain loss over the first `real` rows, and their gradient.

    Overwrites the logits, in whose place the gradient stands; it is zero in the other rows.
    """
    targets_r1 = targets_r[:, None]
    logits_rv.sub_(logits_rv.amax(dim=1, keepdim=True))
    target_r1, mean_r1 = logits_rv.gather(1, targets_r1), logits_rv.mean(dim=1, keepdim=True)
    masses_rv = logits_rv.exp_()
    mass_r1 = masses_rv.sum(dim=1, keepdim=True)
    plain = (mass_r1.log() - target_r1)[:real].sum()
    uniform = (mass_r1.log() - mean_r1)[:real].sum()
    d_logits_rv = masses_rv.div_(mass_r1).sub_(smoothing / masses_rv.size(1))
    spike_r1 = d_logits_rv.new_full((1, 1), smoothing - 1).expand_as(targets_r1)
    d_logits_rv.scatter_add_(1, targets_r1, spike_r1)
    d_logits_rv[real:] = 0.0
    return torch.stack([(1 - smoothing) * plain + smoothing * uniform, plain]), d_logits_rv


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, in one pass where the types agree."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right
