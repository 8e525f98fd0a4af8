"""Kernels in C, which are compiled when nmt is installed and a C compiler is there.

torch runs an operation at a time, each with a pass over its tensors; a kernel needs one pass for a
whole step. The kernels use torch's own threads: they name functions of OpenMP without naming its
library, and the loader finds the one that torch has loaded. Where they are missing, callers use
torch's operations, with results that are equal up to rounding.
"""

import ctypes
import logging
import os
from collections.abc import Callable
from ctypes import c_float, c_int, c_size_t, c_void_p
from functools import cache
from importlib.util import find_spec
from math import sqrt

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

INTERFACE = 5  # of the files in C; a library that was compiled from another version is not used
SWITCH = "NMT_NATIVE"  # environment variable; 0 turns the kernels off

_ARGUMENTS: dict[str, list[type]] = {
    "nmt_tanh_energies": [c_void_p] * 4 + [c_size_t] * 6 + [c_int],
    "nmt_masked_softmax": [c_void_p] * 3 + [c_size_t] * 3 + [c_int],
    "nmt_context": [c_void_p] * 3 + [c_size_t] * 5 + [c_int],
    "nmt_dot_energies": [c_void_p] * 3 + [c_size_t] * 6 + [c_int],
    "nmt_multi_head_attention": [c_void_p] * 7 + [c_size_t] * 5 + [c_float, c_int],
    "nmt_log_softmax": [c_void_p] * 2 + [c_size_t] * 2 + [c_int],
    "nmt_largest_sums": [c_void_p] * 4 + [c_size_t] * 4 + [c_int],
    "nmt_quantize_rows": [c_void_p] * 3 + [c_size_t] * 2 + [c_float, c_int],
    "nmt_lstm": [c_void_p] * 4 + [c_size_t] * 3 + [c_int] * 3,
    "nmt_lstm_backward": [c_void_p] * 6 + [c_size_t] * 3 + [c_int] * 2,
    "nmt_attend": [c_void_p] * 8 + [c_size_t] * 4 + [c_int] * 2,
    "nmt_attend_backward": [c_void_p] * 12 + [c_size_t] * 4 + [c_int] * 2,
    "nmt_cross_entropy": [c_void_p] * 4 + [c_size_t] * 2 + [c_float] * 2 + [c_int] * 2,
}

log = logging.getLogger("nmt")
_is_forked = False


def _set_forked() -> None:
    global _is_forked
    _is_forked = True


# A process that was forked has none of the threads of its parent, which OpenMP waits for.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_set_forked)


@cache
def _library() -> ctypes.CDLL | None:
    if is_switched_off():
        log.warning("%s=0: without the kernels in C", SWITCH)
        return None
    spec = find_spec("nmt.native._kernels")
    if spec is None or spec.origin is None:
        return None
    try:
        library = ctypes.CDLL(spec.origin)
        if library.nmt_interface() != INTERFACE:
            return None
        for name, types in _ARGUMENTS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = types, None
    except (OSError, AttributeError):  # another machine or another OpenMP
        return None
    return library


def is_switched_off() -> bool:
    """Return whether the environment turns the kernels off."""
    return os.environ.get(SWITCH) == "0"


def is_available() -> bool:
    """Return whether the kernels were compiled and can be loaded."""
    return _library() is not None


def supports(*tensors: Tensor) -> bool:
    """Return whether the kernels are available and take these tensors.

    They take float32 on a CPU, and compute no gradients.
    """
    if not is_available():
        return False
    for one in tensors:
        if one.dtype is not torch.float32 or not one.is_cpu or one.requires_grad:
            return False
    return True


def supports_training(tensor: Tensor) -> bool:
    """Return whether the kernels of training are available and take this tensor's device and dtype.

    They take float32 and bfloat16 on a CPU.
    """
    return tensor.is_cpu and tensor.dtype in (torch.float32, torch.bfloat16) and is_available()


def call(name: str, *arguments: Tensor | tuple[int, ...] | int | float | None) -> None:
    """Call a kernel with addresses of tensors and of tuples, numbers, and the thread count."""
    function: Callable[..., None] = getattr(_library(), name)
    values: list[object] = []
    for one in arguments:
        if isinstance(one, Tensor):
            values.append(one.data_ptr())
        elif isinstance(one, tuple):
            values.append((c_size_t * len(one))(*one))
        else:
            values.append(one)
    function(*values, 1 if _is_forked else torch.get_num_threads())


def _with_rows(tensor_bsa: Float[Tensor, "b s a"]) -> tuple[Float[Tensor, "b s a"], int]:
    """Return a tensor and the distance of its rows in memory; a copy if they differ in it."""
    sentences, rows, _ = tensor_bsa.shape
    sentence, row, unit = tensor_bsa.stride()
    if rows == 1:
        # The stride of an axis with one element is arbitrary, also in a contiguous tensor.
        row = sentence
    if unit == 1 and (sentences == 1 or sentence == rows * row):
        return tensor_bsa, row
    return tensor_bsa.clone(memory_format=torch.contiguous_format), tensor_bsa.size(2)


def _energies(
    name: str,
    query_bqa: Float[Tensor, "b q a"],
    keys_bsa: Float[Tensor, "b s a"],
    *vectors_a: Float[Tensor, " a"],
) -> Float[Tensor, "b q s"]:
    """Call a kernel that compares all queries of a sentence with its keys."""
    assert len(query_bqa) == len(keys_bsa)
    (query_bqa, query_stride), (keys_bsa, key_stride) = _with_rows(query_bqa), _with_rows(keys_bsa)
    (sentences, queries, width), positions = query_bqa.shape, keys_bsa.size(1)
    energies_bqs = query_bqa.new_empty(sentences, queries, positions)
    sizes = (sentences, queries, positions, width, query_stride, key_stride)
    call(name, query_bqa, keys_bsa, *vectors_a, energies_bqs, *sizes)
    return energies_bqs


def tanh_energies(
    query_bqa: Float[Tensor, "b q a"], keys_bsa: Float[Tensor, "b s a"], v_a: Float[Tensor, " a"]
) -> Float[Tensor, "b q s"]:
    """Compute v·tanh(q + k) for all pairs of a query and a key of a sentence."""
    return _energies("nmt_tanh_energies", query_bqa, keys_bsa, v_a.contiguous())


def masked_softmax(
    energies_bqs: Float[Tensor, "b q s"], mask_bs: Bool[Tensor, "b s"]
) -> Float[Tensor, "b q s"]:
    """Compute weights that sum to one over the real positions and are exactly zero in padding."""
    energies_bqs, mask_bs = energies_bqs.contiguous(), mask_bs.contiguous()
    weights_bqs = torch.empty_like(energies_bqs)
    call("nmt_masked_softmax", energies_bqs, mask_bs, weights_bqs, *energies_bqs.shape)
    return weights_bqs


def context(
    weights_bqs: Float[Tensor, "b q s"], values_bse: Float[Tensor, "b s e"]
) -> Float[Tensor, "b q e"]:
    """Compute sums of values, Σ_s α_s h_s."""
    assert len(weights_bqs) == len(values_bse)
    weights_bqs, (values_bse, stride) = weights_bqs.contiguous(), _with_rows(values_bse)
    width = values_bse.size(2)
    context_bqe = weights_bqs.new_empty(*weights_bqs.shape[:2], width)
    call("nmt_context", weights_bqs, values_bse, context_bqe, *weights_bqs.shape, width, stride)
    return context_bqe


def dot_energies(
    query_bqa: Float[Tensor, "b q a"], keys_bsa: Float[Tensor, "b s a"]
) -> Float[Tensor, "b q s"]:
    """Compute the products q·k of all queries and keys of a sentence."""
    return _energies("nmt_dot_energies", query_bqa, keys_bsa)


def multi_head_attention(
    query_bhqw: Float[Tensor, "b h q w"],
    keys_bhsw: Float[Tensor, "b h s w"],
    values_bhsw: Float[Tensor, "b h s w"],
    mask_bs: Bool[Tensor, "b s"] | None = None,
) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b h q s"]]:
    """Compute softmax(Q Kᵀ / √w) V of every head, concatenated, and the attention weights."""
    tensors = query_bhqw, keys_bhsw, values_bhsw
    query, keys, values = (one if one.stride(3) == 1 else one.contiguous() for one in tensors)
    (sentences, heads, queries, width), positions = query.shape, keys.size(2)
    weights_bhqs = query.new_empty(sentences, heads, queries, positions)
    context_bqd = query.new_empty(sentences, queries, heads * width)
    strides = tuple(one.stride(axis) for one in (query, keys, values) for axis in range(3))
    mask = None if mask_bs is None else mask_bs.contiguous()
    call(
        "nmt_multi_head_attention",
        query, keys, values, mask, weights_bhqs, context_bqd, strides,
        sentences, heads, queries, positions, width, 1 / sqrt(width),
    )  # fmt: skip
    return context_bqd, weights_bhqs


def log_softmax(logits_nv: Float[Tensor, "n v"]) -> Float[Tensor, "n v"]:
    """Compute the logarithm of the softmax of each row."""
    logits_nv = logits_nv.contiguous()
    log_probs_nv = torch.empty_like(logits_nv)
    call("nmt_log_softmax", logits_nv, log_probs_nv, *logits_nv.shape)
    return log_probs_nv


def largest_sums(
    before_bk: Float[Tensor, "b k"], rows_bkv: Float[Tensor, "b k v"], count: int
) -> tuple[Float[Tensor, "b c"], Int[Tensor, "b c"]]:
    """Return the `count` largest sums of each sentence in descending order, and their positions.

    Equal sums are in the order of their positions in k*v; NaN comes before every number.

    Args:
        before_bk: addend of each row
        rows_bkv: the other addends
        count: number of sums; all of them if fewer
    """
    before_bk, rows_bkv = before_bk.contiguous(), rows_bkv.contiguous()
    sentences, hypotheses, width = rows_bkv.shape
    count = min(count, hypotheses * width)
    sums_bc = before_bk.new_empty(sentences, count)
    positions_bc = torch.empty_like(sums_bc, dtype=torch.int64)
    sizes = (sentences, hypotheses, width, count)
    call("nmt_largest_sums", before_bk, rows_bkv, sums_bc, positions_bc, *sizes)
    return sums_bc, positions_bc


def quantize_rows(
    inputs_nd: Float[Tensor, "n d"], smallest: float
) -> tuple[UInt8[Tensor, "n d"], Float[Tensor, "n 1"]]:
    """Return the integers round(x / s) + 128 and the scale s = max|x| / 127 of each row.

    Args:
        inputs_nd: x
        smallest: lower bound of max|x|, against a scale of zero
    """
    inputs_nd = inputs_nd.contiguous()
    integers_nd = torch.empty_like(inputs_nd, dtype=torch.uint8)
    scale_n1 = inputs_nd.new_empty(len(inputs_nd), 1)
    call("nmt_quantize_rows", inputs_nd, integers_nd, scale_n1, *inputs_nd.shape, smallest)
    return integers_nd, scale_n1


def lstm_cell(
    gates_ng: Float[Tensor, "n g"], cell_nd: Float[Tensor, "n d"]
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
    """Return h = o∘tanh(c) and c = f∘c_{t-1} + i∘g from the sums of the gates i, f, g, o."""
    gates_ng, cell_nd = gates_ng.contiguous(), cell_nd.contiguous()
    hidden_nd, new_cell_nd = torch.empty_like(cell_nd), torch.empty_like(cell_nd)
    sizes = (*cell_nd.shape, cell_nd.size(1))
    call("nmt_lstm", gates_ng, cell_nd, new_cell_nd, hidden_nd, *sizes, False, False)
    return hidden_nd, new_cell_nd


def lstm_step(
    gates_nx: Float[Tensor, "n x"],
    previous_cell_nd: Float[Tensor, "n d"],
    cell_nd: Float[Tensor, "n d"],
    hidden_nd: Float[Tensor, "n d"],
) -> None:
    """Compute a step as `lstm_cell` into tensors, for `lstm_step_backward`.

    All tensors are contiguous, apart from the rows of `hidden_nd`; sizes are not checked.

    Args:
        gates_nx: sums of the gates in float32 or bfloat16; their activations replace them
        previous_cell_nd: c_{t-1}, in float32
        cell_nd: output c, in float32
        hidden_nd: output h, in the type of the gates
    """
    narrow = gates_nx.dtype is torch.bfloat16
    sizes = (*cell_nd.shape, hidden_nd.stride(0))
    call("nmt_lstm", gates_nx, previous_cell_nd, cell_nd, hidden_nd, *sizes, True, narrow)


def lstm_step_backward(
    gates_nx: Float[Tensor, "n x"],
    previous_cell_nd: Float[Tensor, "n d"],
    cell_nd: Float[Tensor, "n d"],
    d_hidden_nd: Float[Tensor, "n d"],
    d_cell_nd: Float[Tensor, "n d"],
    d_gates_nx: Float[Tensor, "n x"],
) -> None:
    """Compute the gradients of `lstm_step`, with tensors as there.

    Args:
        gates_nx: activations of the gates
        previous_cell_nd: c_{t-1}
        cell_nd: c
        d_hidden_nd: gradient of h
        d_cell_nd: gradient of c from the next step; that of c_{t-1} replaces it
        d_gates_nx: output, gradient of the sums of the gates
    """
    call(
        "nmt_lstm_backward", gates_nx, previous_cell_nd, cell_nd, d_hidden_nd, d_cell_nd,
        d_gates_nx, *cell_nd.shape, d_hidden_nd.stride(0), gates_nx.dtype is torch.bfloat16,
    )  # fmt: skip


def cross_entropy(
    logits_rv: Float[Tensor, "r v"], targets_r: Int[Tensor, " r"], smoothing: float, scale: float
) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    """Replace contiguous logits by `scale` times the gradient of the smoothed cross entropy.

    A negative target has neither loss nor gradient.

    Returns:
        -log p of each target, and the mean of -log p over the vocabulary

    Raises:
        IndexError: a target is outside of the vocabulary
    """
    assert logits_rv.is_contiguous() and len(targets_r) == len(logits_rv)
    if len(targets_r) and targets_r.max() >= logits_rv.size(1):
        raise IndexError(f"a target is outside of the {logits_rv.size(1)} tokens of the vocabulary")
    targets_r = targets_r.to(torch.int64).contiguous()
    nll_r, uniform_r = logits_rv.new_empty(2, len(logits_rv), dtype=torch.float32).unbind()
    call(
        "nmt_cross_entropy", logits_rv, targets_r, nll_r, uniform_r, *logits_rv.shape,
        smoothing, scale, logits_rv.dtype is torch.bfloat16,
    )  # fmt: skip
    return nll_r, uniform_r
