"""Attention arithmetic in which a row's bits do not depend on the rest of the batch.

A library chooses the order of a sum by its length and by the number of sums, so a sentence would be
rounded differently alone and with a longer one, whose padding widens it. Sums in float64 that are
rounded to float32 do not show their order. Training does without them: they take time, and nothing
there depends on the last bit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import sqrt
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nmt.model.attention.mechanism import HeadAverage, ScoredMechanism, mask_energies
from nmt.model.attention.score import TanhScore
from nmt.model.layers.multi_head import (
    CrossAttention,
    Heads,
    SelfAttention,
    explicit_attention,
)
from nmt.native import library

MAX_EXP_ARG = 20.0  # exp(2x) exp(2y) is finite and nonzero in float32 for |x|, |y| < 20


def use_row_independent_attention(module: nn.Module, device: torch.device) -> None:
    """Replace the attention arithmetic of all modules within a module, in place."""
    for part in module.modules():
        if isinstance(part, ScoredMechanism):
            part.softmax = row_independent_softmax
        if isinstance(part, TanhScore):
            # The factored form pays on a CPU, where a tanh is slow.
            is_cpu = device.type == "cpu"
            part.energies = cpu_tanh_energies if is_cpu else row_independent_tanh_energies
        # On a GPU the fused kernels of torch serve every number of rows alike.
        if isinstance(part, SelfAttention | CrossAttention) and device.type == "cpu":
            part.attention = row_independent_attention
        if isinstance(part, CrossAttention) and device.type == "cpu":
            # Converted once per sentence, and not at each step, if a conversion is necessary.
            setattr(part, "prepare", _in_float64(part.prepare))  # noqa: B010


def multi_head_layers(module: nn.Module) -> list[CrossAttention | ScoredMechanism]:
    """Return the modules of multi-head attention to the source, in order."""
    return [
        part
        for part in module.modules()
        if isinstance(part, CrossAttention)
        or (isinstance(part, ScoredMechanism) and part.heads > 1)
    ]


@contextmanager
def recorded_heads(module: nn.Module) -> Iterator[list[list[Float[Tensor, "b h q s"]]]]:
    """Yield lists that receive the weights of each call of multi-head attention to the source.

    The lists are those of the layers, in order. The modules must not be used by another thread.
    """
    layers = multi_head_layers(module)
    names = ["attention" if isinstance(one, CrossAttention) else "average_heads" for one in layers]
    functions = [getattr(layer, name) for layer, name in zip(layers, names, strict=True)]
    recorded: list[list[Tensor]] = [[] for _ in layers]
    try:
        for layer, name, function, weights in zip(layers, names, functions, recorded, strict=True):
            record = _record_attention if name == "attention" else _record_average
            setattr(layer, name, record(function, weights))
        yield recorded
    finally:
        for layer, name, function in zip(layers, names, functions, strict=True):
            setattr(layer, name, function)


def _record_attention(function: Callable[..., Any], weights: list[Tensor]) -> Callable[..., Any]:
    def attend(*inputs: Any, **options: Any) -> tuple[Tensor, Tensor | None]:
        context_bqd, weights_bhqs = function(*inputs, **options)
        if weights_bhqs is not None:
            weights.append(weights_bhqs)
        return context_bqd, weights_bhqs

    return attend


def _record_average(function: HeadAverage, weights: list[Tensor]) -> HeadAverage:
    def average(weights_bxs: Tensor, heads: int) -> Tensor:
        parts_bqhs = weights_bxs.unflatten(1, (-1, heads))  # type: ignore[no-untyped-call]
        weights.append(parts_bqhs.transpose(1, 2))
        return function(weights_bxs, heads)

    return average


def row_independent_softmax(
    energies_bqs: Float[Tensor, "b q s"], mask_bs: Bool[Tensor, "b s"]
) -> Float[Tensor, "b q s"]:
    """Compute `masked_softmax` by the kernel in C, or with sums in float64."""
    if library.supports(energies_bqs):
        return library.masked_softmax(energies_bqs, mask_bs)
    return float64_softmax(energies_bqs, mask_bs)


def float64_softmax(
    energies_bqs: Float[Tensor, "b q s"], mask_bs: Bool[Tensor, "b s"]
) -> Float[Tensor, "b q s"]:
    """Compute `masked_softmax` with sums in float64."""
    weights_bqs = mask_energies(energies_bqs, mask_bs).double().softmax(dim=-1)
    return weights_bqs.to(energies_bqs.dtype)


def row_independent_attention(
    query_bhqw: Float[Tensor, "b h q w"],
    memory: Heads,
    mask_bs: Bool[Tensor, "b s"] | None = None,
    *,
    causal: bool = False,
    dropout: float = 0.0,
    need_weights: bool = True,
) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b h q s"]]:
    """Compute `multi_head_attention` without dropout.

    The kernel in C computes it where it was compiled; torch's operations compute it in float64 if
    positions may be padding.
    """
    if not causal and library.supports(query_bhqw, *memory):
        return library.multi_head_attention(query_bhqw, *memory, mask_bs)
    # In a step of self-attention all rows have equally many positions, none of them padding, and
    # so the same order of sums in float32.
    is_step = mask_bs is None and not causal and query_bhqw.size(2) == 1
    if is_step and query_bhqw.dtype == torch.float32:
        return _attend_row_by_row(query_bhqw, memory)
    # Dropout does not apply to a model that only decodes.
    exact = Heads(*map(_to_float64, memory))
    exact_query_bhqw = _to_float64(query_bhqw)
    context_bqd, weights_bhqs = explicit_attention(exact_query_bhqw, exact, mask_bs, causal)
    return context_bqd.to(query_bhqw.dtype), weights_bhqs.to(query_bhqw.dtype)


def _attend_row_by_row(
    query_bh1w: Float[Tensor, "b h 1 w"], memory: Heads
) -> tuple[Float[Tensor, "b 1 d"], Float[Tensor, "b h 1 s"]]:
    """Compute attention of one query to all positions by sums of each row alone.

    Matrix products choose a library and its kernel by the number of rows, and MKL rounds by the
    address of a row in memory.
    """
    energies_bhs = (query_bh1w * memory.keys_bhsw).sum(dim=-1) / sqrt(query_bh1w.size(-1))
    weights_bhs = energies_bhs.softmax(dim=-1)
    context_bhw = (weights_bhs[..., None] * memory.values_bhsw).sum(dim=2)
    return context_bhw.flatten(1)[:, None], weights_bhs[:, :, None]


def _in_float64(prepare: Callable[[Tensor], Heads]) -> Callable[[Tensor], Heads]:
    def prepare_heads(states_bse: Tensor) -> Heads:
        heads = prepare(states_bse)
        return heads if library.supports(*heads) else Heads(*map(_to_float64, heads))

    return prepare_heads


def _to_float64(heads_bhsw: Tensor) -> Tensor:
    # Contiguous, as products of all heads require: a view would be copied once more.
    return heads_bhsw.to(torch.float64, memory_format=torch.contiguous_format)


def cpu_tanh_energies(
    query_bqa: Float[Tensor, "b q a"], keys_bsa: Float[Tensor, "b s a"], v_a: Float[Tensor, " a"]
) -> Float[Tensor, "b q s"]:
    """Compute `tanh_energies` in the factored form, by the kernel in C or by torch."""
    if library.supports(query_bqa, keys_bsa, v_a):
        return library.tanh_energies(query_bqa, keys_bsa, v_a)
    return factored_tanh_energies(query_bqa, keys_bsa, v_a)


def row_independent_tanh_energies(
    query_bqa: Float[Tensor, "b q a"], keys_bsa: Float[Tensor, "b s a"], v_a: Float[Tensor, " a"]
) -> Float[Tensor, "b q s"]:
    """Compute `tanh_energies`, summed row by row."""
    pairs_bqsa = torch.tanh(query_bqa[:, :, None] + keys_bsa[:, None])
    # Not `@ v_a`: a matrix-vector product rounds differently with the number of its rows.
    return pairs_bqsa.mul_(v_a).sum(dim=-1)


def factored_tanh_energies(
    query_bqa: Float[Tensor, "b q a"], keys_bsa: Float[Tensor, "b s a"], v_a: Float[Tensor, " a"]
) -> Float[Tensor, "b q s"]:
    """Compute `tanh_energies` with fewer exponentials, where the factors are in range.

    tanh(q + k) = 1 - 2 / (1 + exp(2q) exp(2k)) needs an exponential per unit of each query and of
    each key, in place of a tanh per pair. Far from zero these exponentials leave the range of
    float32; such a row is computed directly. Each query of each sentence decides for itself, so
    that its bits do not depend on its batch.
    """
    # One query per sentence, as in greedy search, has no pairs that share an exponential.
    is_half = query_bqa.dtype.itemsize < 4 or keys_bsa.dtype.itemsize < 4
    if query_bqa.size(1) == 1 or is_half:
        return row_independent_tanh_energies(query_bqa, keys_bsa, v_a)
    # Rows out of range get 0 or NaN here, and are replaced below.
    energies_bqs = _energies_of_exponentials(query_bqa, keys_bsa, v_a)
    is_small_bq = _is_small(query_bqa) & _is_small(keys_bsa.flatten(1))[:, None]
    # Nearly always: keys of trained models are far below the limit.
    if is_small_bq.all():
        return energies_bqs
    direct_bqs = row_independent_tanh_energies(query_bqa, keys_bsa, v_a)
    return torch.where(is_small_bq[:, :, None], energies_bqs, direct_bqs)


def _is_small(rows: Float[Tensor, "*rows a"]) -> Bool[Tensor, "*rows"]:
    return rows.abs().amax(dim=-1) < MAX_EXP_ARG


def _energies_of_exponentials(
    query_bqa: Float[Tensor, "b q a"], keys_bsa: Float[Tensor, "b s a"], v_a: Float[Tensor, " a"]
) -> Float[Tensor, "b q s"]:
    exp_query_bqa, exp_keys_bsa = (2 * query_bqa).exp_(), (2 * keys_bsa).exp_()
    # 1 + exp(2q) exp(2k) in one pass over all pairs.
    one = exp_keys_bsa.new_ones(())
    pairs_bqsa = torch.addcmul(one, exp_query_bqa[:, :, None], exp_keys_bsa[:, None])
    # In place: the pairs are the largest tensor of a step.
    torch.div(v_a, pairs_bqsa, out=pairs_bqsa)
    # v·(1 - 2 / (1 + x)) = Σ v - 2 Σ v / (1 + x)
    return v_a.sum() - 2 * pairs_bqsa.sum(dim=-1)
