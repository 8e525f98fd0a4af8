"""Operations of one step of the recurrence as kernels in C, on a CPU.

The formulas are those of `TorchCellOps`.
"""

import torch
from torch import Tensor

from nmt.model.recurrence.torch_ops import AdditiveGradients, AttendedSource, TorchCellOps
from nmt.native.library import call, lstm_step, lstm_step_backward


class NativeCellOps(TorchCellOps):
    """Kernels in C for float32 and bfloat16 on a CPU, where `library.supports_training` is true.

    Each kernel makes one pass over its tensors and computes in float32. Rows are contiguous, and
    sizes and dtypes are not checked: `fused.run` prepares them.
    """

    def lstm(
        self, gates_bg: Tensor, previous_cell_bd: Tensor, cell_bd: Tensor, hidden_bd: Tensor
    ) -> None:
        lstm_step(gates_bg, previous_cell_bd, cell_bd, hidden_bd)

    def lstm_backward(
        self,
        gates_bg: Tensor,
        previous_cell_bd: Tensor,
        cell_bd: Tensor,
        d_hidden_bd: Tensor,
        d_cell_bd: Tensor,
        d_gates_bg: Tensor,
    ) -> None:
        lstm_step_backward(gates_bg, previous_cell_bd, cell_bd, d_hidden_bd, d_cell_bd, d_gates_bg)

    def attend(
        self, query_ba: Tensor, source: AttendedSource, weights_bs: Tensor, context_be: Tensor
    ) -> None:
        call(
            "nmt_attend", query_ba, source.keys_bsa, source.values_bse, source.v_a, source.mask_bs,
            weights_bs, context_be, _row_strides(query_ba, source.v_a, context_be),
            *source.keys_bsa.shape, context_be.size(1), _is_narrow(query_ba),
        )  # fmt: skip

    def attend_backward(
        self,
        query_ba: Tensor,
        source: AttendedSource,
        weights_bs: Tensor,
        d_context_be: Tensor,
        d_weights_bs: Tensor | None,
        d_energies_bs: Tensor,
        d_query_ba: Tensor,
        additive: AdditiveGradients | None,
    ) -> None:
        d_keys_bsa, d_v_na = None, None
        if additive is not None:
            d_keys_bsa, d_v_na = additive.keys_bsa, additive.v_a
            if d_v_na.dim() == 1:
                # Threads share the sentences, so each sentence has a sum of its own.
                d_v_na = d_v_na.new_zeros(query_ba.shape)
        call(
            "nmt_attend_backward", query_ba, source.keys_bsa, source.values_bse, source.v_a,
            weights_bs, d_context_be, d_weights_bs, d_energies_bs, d_query_ba, d_keys_bsa, d_v_na,
            _row_strides(query_ba, source.v_a, d_context_be, d_query_ba), *source.keys_bsa.shape,
            d_context_be.size(1), _is_narrow(query_ba),
        )  # fmt: skip
        if additive is not None and d_v_na is not None and additive.v_a.dim() == 1:
            additive.v_a.add_(d_v_na.sum(dim=0))


def _is_narrow(tensor: Tensor) -> bool:
    return tensor.dtype is torch.bfloat16


def _row_strides(*rows: Tensor | None) -> tuple[int, ...]:
    """Return the distance between rows in memory, 0 for a row that all sentences share."""
    return tuple(0 if one is None or one.dim() == 1 else one.stride(0) for one in rows)
