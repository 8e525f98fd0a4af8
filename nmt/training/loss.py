"""Label-smoothed cross entropy whose logits never stand in memory whole."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear, pad

from nmt.data.batching import Batch
from nmt.model.devices import compiles_kernels
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
) -> tuple[Float[Tensor, ""], Float[Tensor, " r"]]:
    """The sum over rows r of the smoothed loss, and every row's plain one, in nats.

    loss = (1 - ε) (-log p(y)) + ε/v Σ_u (-log p(u)), p = softmax(W x + b). Szegedy et al. 2016,
    section 7. Logits and their gradient are formed `chunk` rows at a time, so memory is bounded by
    chunk x v, not by the number of target tokens. The plain loss, -log p(y), takes no gradient.

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
    loss, likelihood_r = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        outputs_rd, weight_vd, bias_v, targets_r, smoothing, chunk
    )
    return loss, likelihood_r


def batch_loss(
    model: Seq2Seq, batch: Batch, *, smoothing: float, chunk: int
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Sums over the real target tokens of a batch: what is to be made small, and -log p.

    The first is `smoothed_cross_entropy` and the decoder's penalty, if it has one.
    """
    mask_bt, places_r = batch.target_mask_bt, batch.target_places_r
    output_btd, auxiliary = model(batch.source, batch.source_mask_bs, batch.target_in_bt)
    loss, likelihood_r = smoothed_cross_entropy(
        output_btd.flatten(0, 1).index_select(0, places_r),
        *model.output_weights,
        batch.target_out_bt.flatten().index_select(0, places_r),
        smoothing=smoothing,
        chunk=chunk,
    )
    if auxiliary:
        likelihood_n = likelihood_r.new_zeros(mask_bt.numel())
        nll_bt = likelihood_n.index_copy(0, places_r, likelihood_r).view(mask_bt.shape)
        penalty = model.decoder.auxiliary_loss(auxiliary, nll_bt, mask_bt)
        loss = loss if penalty is None else loss + penalty
    return loss, likelihood_r.sum()


class BatchLoss(nn.Module):
    """`batch_loss` of a model as a module, for what is done around a module's forward pass."""

    def __init__(self, model: Seq2Seq) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, batch: Batch, *, smoothing: float, chunk: int
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """See `batch_loss`."""
        return batch_loss(self.model, batch, smoothing=smoothing, chunk=chunk)


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
        loss = outputs_rd.new_zeros((), dtype=exact)
        likelihoods = []
        more = -rows % min(GRAIN, chunk)
        outputs_rd, targets_r = pad(outputs_rd, (0, 0, 0, more)), pad(targets_r, (0, more))
        d_outputs_rd = torch.empty_like(outputs_rd)
        d_weight_vd = torch.zeros_like(weight_vd, dtype=exact)
        d_bias_v = torch.zeros_like(bias_v, dtype=exact)
        for start in range(0, len(outputs_rd), chunk):
            some = slice(start, start + chunk)
            with torch.autocast(outputs_rd.device.type, enabled=False):
                logits_rv = linear(outputs_rd[some], weight_vd, bias_v)
                more_loss, likelihood_r, d_logits_rv = _way(logits_rv)(
                    logits_rv, targets_r[some], max(0, rows - start), smoothing
                )
                loss += more_loss
                likelihoods.append(likelihood_r)
                if not any(ctx.needs_input_grad[:3]):
                    continue
                d_bias_v += d_logits_rv.sum(dim=0, dtype=exact)
                narrow_rv = d_logits_rv.to(outputs_rd.dtype)
                torch.mm(narrow_rv, weight_vd, out=d_outputs_rd[some])
                _add_product(d_weight_vd, narrow_rv.t(), outputs_rd[some])
        ctx.save_for_backward(
            d_outputs_rd[:rows], d_weight_vd.to(weight_vd.dtype), d_bias_v.to(bias_v.dtype)
        )
        likelihood_r = torch.cat(likelihoods) if likelihoods else loss.new_zeros(0)
        ctx.mark_non_differentiable(likelihood_r)
        return loss, likelihood_r

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


def _way(logits_rv: Tensor) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """How the loss of such logits is formed: on a GPU by Triton's kernel, if it can be compiled."""
    if logits_rv.is_cuda and logits_rv.dtype != torch.float64 and compiles_kernels():
        from nmt.training.loss_kernel import of_chunk as of_chunk_by_kernel

        return of_chunk_by_kernel
    return of_chunk


def of_chunk(
    logits_rv: Float[Tensor, "r v"], targets_r: Int[Tensor, " r"], real: int, smoothing: float
) -> tuple[Float[Tensor, ""], Float[Tensor, " real"], Float[Tensor, "r v"]]:
    """The smoothed loss summed over the first `real` rows, their plain ones, and the gradient.

    May overwrite the logits with the gradient, which is zero in the other rows.
    """
    logits_rv = logits_rv.to(torch.promote_types(logits_rv.dtype, torch.float32))
    targets_r1 = targets_r[:, None]
    logits_rv.sub_(logits_rv.amax(dim=1, keepdim=True))
    target_r1, mean_r1 = logits_rv.gather(1, targets_r1), logits_rv.mean(dim=1, keepdim=True)
    masses_rv = logits_rv.exp_()
    mass_r1 = masses_rv.sum(dim=1, keepdim=True)
    plain_r = (mass_r1.log() - target_r1)[:real, 0]
    uniform = (mass_r1.log() - mean_r1)[:real].sum()
    d_logits_rv = masses_rv.div_(mass_r1).sub_(smoothing / masses_rv.size(1))
    spike_r1 = d_logits_rv.new_full((1, 1), smoothing - 1).expand_as(targets_r1)
    d_logits_rv.scatter_add_(1, targets_r1, spike_r1)
    d_logits_rv[real:] = 0.0
    return (1 - smoothing) * plain_r.sum() + smoothing * uniform, plain_r, d_logits_rv


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, in one pass where the types agree."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right
