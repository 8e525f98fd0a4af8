"""Training loss of a batch: cross entropy with its addends, or the expected cost of candidates."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nmt.data.batch import Batch, PieceAlignment
from nmt.model.interfaces import DecoderOutput
from nmt.model.layers.padding import remove_padding
from nmt.model.seq2seq import Seq2Seq
from nmt.training.guided_alignment import alignment_loss, empty_word_loss
from nmt.training.loss import IGNORED, smoothed_cross_entropy
from nmt.training.minimum_risk import Candidates, risk_loss


def batch_loss(
    model: Seq2Seq,
    batch: Batch,
    *,
    smoothing: float,
    chunk: int,
    all_positions: bool = False,
    guidance: float = 0.0,
    consistency: float = 0.0,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Compute the sums of the training loss and of the nll over the target tokens of a batch.

    The training loss is `smoothed_cross_entropy` plus the decoder's auxiliary loss, if it has one,
    and plus `guidance` times the alignment losses, if the batch has an alignment. With R-Drop it is
    the mean of two passes, plus half of `consistency` times the divergence of their distributions:
    equation 4 of Liang et al. 2021, divided by 2 so that the scale of the gradient is as without.

    Args:
        model: the model
        batch: the batch
        smoothing, chunk: see `smoothed_cross_entropy`
        all_positions: whether `target_indices_r` contains padding; see `Batch.round_lengths`
        guidance: weight of the alignment loss
        consistency: weight α of R-Drop; 0 for a single pass
    """
    mask_bt, indices_r = batch.target_mask_bt, batch.target_indices_r
    alignment = batch.alignment if guidance else None
    passes = 2 if consistency else 1
    outputs = [
        model(
            batch.source,
            batch.source_mask_bs,
            batch.target_in_bt,
            source_groups=batch.source_groups,
            target_groups=batch.target_groups,
            need_weights=alignment is not None,
        )
        for _ in range(passes)
    ]
    # Padding gets no probability, no loss and no gradient.
    if all_positions:
        rows = [output.output_btd.flatten(0, 1) for output in outputs]
        targets_r = batch.target_out_bt.masked_fill(~mask_bt, IGNORED).flatten()
    else:
        rows = [remove_padding(output.output_btd, mask_bt, indices_r) for output in outputs]
        targets_r = batch.target_out_bt.flatten().index_select(0, indices_r)
    outputs_rd = rows[0]
    if consistency:
        outputs_rd, targets_r = torch.stack(rows, 1).flatten(0, 1), targets_r.repeat_interleave(2)
    loss, nll_r = smoothed_cross_entropy(
        outputs_rd,
        *model.output_weights,
        targets_r,
        smoothing=smoothing,
        chunk=chunk,
        ignores=all_positions,
        consistency=consistency,
    )
    for output, own_nll_r in zip(outputs, nll_r.view(-1, passes).unbind(1), strict=True):
        if output.auxiliary:
            nll_x = own_nll_r.new_zeros(mask_bt.numel())
            nll_bt = nll_x.index_copy(0, indices_r, own_nll_r).view(mask_bt.shape)
            auxiliary_loss = model.decoder.auxiliary_loss(output.auxiliary, nll_bt, mask_bt)
            loss = loss if auxiliary_loss is None else loss + auxiliary_loss
        if alignment is not None:
            loss = loss + guidance * _guidance_loss(output, batch, alignment)
    return (loss / 2, nll_r.sum() / 2) if consistency else (loss, nll_r.sum())


def _guidance_loss(
    output: DecoderOutput, batch: Batch, alignment: PieceAlignment
) -> Float[Tensor, ""]:
    """Compute the alignment losses of the decoder's attention and of that for alignments."""
    given = [one for one in (output.weights_bts, output.alignment_bts) if one is not None]
    losses = [alignment_loss(weights_bts, alignment) for weights_bts in given]
    if output.alignment_bts is not None:
        masks = batch.source_mask_bs, batch.target_mask_bt
        losses.append(empty_word_loss(output.alignment_bts, alignment, *masks))
    return sum(losses[1:], losses[0])


class BatchLoss(nn.Module):
    """`batch_loss` or `risk_loss` as a module, which DistributedDataParallel can wrap."""

    def __init__(self, model: Seq2Seq, *, all_positions: bool = False) -> None:
        super().__init__()
        self.model, self.all_positions = model, all_positions

    def forward(
        self,
        batch: Batch,
        *,
        smoothing: float,
        chunk: int,
        guidance: float = 0.0,
        consistency: float = 0.0,
        candidates: Candidates | None = None,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Compute `risk_loss` of given candidates, and `batch_loss` without them."""
        if candidates is not None:
            return risk_loss(self.model, batch, candidates, chunk=chunk)
        return batch_loss(
            self.model,
            batch,
            smoothing=smoothing,
            chunk=chunk,
            all_positions=self.all_positions,
            guidance=guidance,
            consistency=consistency,
        )
