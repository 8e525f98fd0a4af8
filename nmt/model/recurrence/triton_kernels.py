"""Triton kernels of one step of the recurrence.

A program computes one sentence, or a block of units of one sentence. Sums are in float32 for all
dtypes, and no two programs add to the same number, so results are reproducible bit for bit.
"""

# Triton compiles the source text and has its own annotations, so shapes are not checked in tests.
from typing import no_type_check

import triton
import triton.language as tl

# Arguments of the kernels are addresses, so their names have no shape suffixes. A stride is the
# distance between rows of a tensor that is a slice of a wider one. Sizes of the model are
# compile-time constants (`tl.constexpr`), because loops over them are unrolled. Sizes of a batch
# are not, nor is Triton allowed to compile a kernel again for multiples of 16, or for the alignment
# of a row of weights, which differs from step to step: a run would compile for its whole first
# epoch. Offsets into keys and values are 64-bit integers: a batch may have more than 2^31 of their
# elements.


@triton.jit
@no_type_check
def _tanh(x):
    """Compute tanh by σ, since the interpreter has no tanh."""
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
@no_type_check
def _load(pointer, mask):
    """Load numbers as float32, with zero where the mask is False."""
    return tl.load(pointer, mask=mask, other=0.0).to(tl.float32)


@triton.jit
@no_type_check
def _load_mask(mask, sentence, position, positions):
    """Load the source mask of a sentence."""
    pointer = mask + sentence * positions + position
    return tl.load(pointer, mask=position < positions, other=0) != 0


@triton.jit
@no_type_check
def _load_block(table, row, real, units, unit):
    """Load a block of units of a sentence's keys or values, with zero in the padding."""
    pointer = table + row[:, None] * units + unit[None, :]
    return _load(pointer, real[:, None] & (unit < units)[None, :])


@triton.jit
@no_type_check
def lstm_kernel(
    gates,
    previous_cell,
    cell,
    hidden,
    hidden_stride,
    units: tl.constexpr,
    block: tl.constexpr,
):
    """Compute an LSTM cell for a block of units; activations overwrite the pre-activations."""
    row = tl.program_id(0)
    unit = tl.program_id(1) * block + tl.arange(0, block)
    inside = unit < units
    # The gates of a sentence follow each other in memory: i, f, g, o.
    gate = gates + row * 4 * units + unit
    i = tl.sigmoid(_load(gate, inside))
    f = tl.sigmoid(_load(gate + units, inside))
    g = _tanh(_load(gate + 2 * units, inside))
    o = tl.sigmoid(_load(gate + 3 * units, inside))
    c = f * _load(previous_cell + row * units + unit, inside) + i * g
    dtype = gates.dtype.element_ty
    tl.store(gate, i.to(dtype), mask=inside)
    tl.store(gate + units, f.to(dtype), mask=inside)
    tl.store(gate + 2 * units, g.to(dtype), mask=inside)
    tl.store(gate + 3 * units, o.to(dtype), mask=inside)
    # The cell is stored in float32: its pointer has the dtype of the accumulation.
    tl.store(cell + row * units + unit, c, mask=inside)
    tl.store(hidden + row * hidden_stride + unit, (o * _tanh(c)).to(dtype), mask=inside)


@triton.jit
@no_type_check
def lstm_backward_kernel(
    gates,
    previous_cell,
    cell,
    d_hidden,
    d_hidden_stride,
    d_cell,
    d_gates,
    units: tl.constexpr,
    block: tl.constexpr,
):
    """Compute the gradients of an LSTM cell for a block of units."""
    row = tl.program_id(0)
    unit = tl.program_id(1) * block + tl.arange(0, block)
    inside = unit < units
    gate = gates + row * 4 * units + unit
    i = _load(gate, inside)
    f = _load(gate + units, inside)
    g = _load(gate + 2 * units, inside)
    o = _load(gate + 3 * units, inside)
    offset = row * units + unit
    tanh_c = _tanh(_load(cell + offset, inside))
    d_h = _load(d_hidden + row * d_hidden_stride + unit, inside)
    d_c = _load(d_cell + offset, inside) + d_h * o * (1 - tanh_c * tanh_c)
    d_f = d_c * _load(previous_cell + offset, inside) * f * (1 - f)
    dtype = d_gates.dtype.element_ty
    d_gate = d_gates + row * 4 * units + unit
    tl.store(d_gate, (d_c * g * i * (1 - i)).to(dtype), mask=inside)
    tl.store(d_gate + units, d_f.to(dtype), mask=inside)
    tl.store(d_gate + 2 * units, (d_c * i * (1 - g * g)).to(dtype), mask=inside)
    tl.store(d_gate + 3 * units, (d_h * tanh_c * o * (1 - o)).to(dtype), mask=inside)
    tl.store(d_cell + offset, d_c * f, mask=inside)


@triton.jit(do_not_specialize=["positions"], do_not_specialize_on_alignment=["weights"])
@no_type_check
def attend_kernel(
    query,
    query_stride,
    keys,
    v,
    values,
    mask,
    weights,
    context,
    context_stride,
    positions,
    key_units: tl.constexpr,
    value_units: tl.constexpr,
    additive: tl.constexpr,
    position_block: tl.constexpr,
    block: tl.constexpr,
):
    """Compute energies, softmax and context of one sentence."""
    sentence = tl.program_id(0).to(tl.int64)
    position = tl.arange(0, position_block)
    real = _load_mask(mask, sentence, position, positions)
    row = sentence * positions + position
    energy = tl.zeros([position_block], tl.float32)
    for start in range(0, key_units, block):
        unit = start + tl.arange(0, block)
        inside = unit < key_units
        q = _load(query + sentence * query_stride + unit, inside)
        key = _load_block(keys, row, real, key_units, unit)
        if additive:
            v_block = _load(v + unit, inside)
            energy += tl.sum(_tanh(key + q[None, :]) * v_block[None, :], 1)
        else:
            energy += tl.sum(key * q[None, :], 1)
    # The energies of all positions are in registers, so softmax takes one pass.
    energy = tl.where(real, energy, -float("inf"))
    exp = tl.exp(energy - tl.max(energy, 0))
    weight = exp / tl.sum(exp, 0)
    tl.store(weights + row, weight, mask=position < positions)
    for start in range(0, value_units, block):
        unit = start + tl.arange(0, block)
        value = _load_block(values, row, real, value_units, unit)
        c = tl.sum(value * weight[:, None], 0).to(context.dtype.element_ty)
        tl.store(context + sentence * context_stride + unit, c, mask=unit < value_units)


@triton.jit(
    do_not_specialize=["positions"],
    do_not_specialize_on_alignment=["weights", "d_weights", "d_energies"],
)
@no_type_check
def attend_backward_kernel(
    query,
    query_stride,
    keys,
    v,
    values,
    mask,
    weights,
    d_context,
    d_context_stride,
    d_weights,
    d_energies,
    d_query,
    positions,
    key_units: tl.constexpr,
    value_units: tl.constexpr,
    additive: tl.constexpr,
    position_block: tl.constexpr,
    block: tl.constexpr,
    adds_d_weights: tl.constexpr,
):
    """Compute the gradients of energies and query of one sentence; recompute tanh(q + k)."""
    sentence = tl.program_id(0).to(tl.int64)
    position = tl.arange(0, position_block)
    real = _load_mask(mask, sentence, position, positions)
    row = sentence * positions + position
    d_weight = tl.zeros([position_block], tl.float32)
    for start in range(0, value_units, block):
        unit = start + tl.arange(0, block)
        value = _load_block(values, row, real, value_units, unit)
        d_c = _load(d_context + sentence * d_context_stride + unit, unit < value_units)
        d_weight += tl.sum(value * d_c[None, :], 1)
    if adds_d_weights:
        d_weight += _load(d_weights + row, real)
    # Softmax: ∂e_s = α_s (∂α_s - Σ_r α_r ∂α_r), zero in the padding since α is.
    weight = _load(weights + row, real)
    d_energy = weight * (d_weight - tl.sum(weight * d_weight, 0))
    tl.store(d_energies + row, d_energy, mask=position < positions)
    for start in range(0, key_units, block):
        unit = start + tl.arange(0, block)
        inside = unit < key_units
        key = _load_block(keys, row, real, key_units, unit)
        if additive:
            q = _load(query + sentence * query_stride + unit, inside)
            tanh = _tanh(key + q[None, :])
            d_q = _load(v + unit, inside) * tl.sum(d_energy[:, None] * (1 - tanh * tanh), 0)
        else:
            d_q = tl.sum(d_energy[:, None] * key, 0)
        pointer = d_query + sentence * key_units + unit
        tl.store(pointer, d_q.to(d_query.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["sentences", "steps", "positions"])
@no_type_check
def finish_additive_kernel(
    query,
    keys,
    v,
    mask,
    d_energies,
    d_keys,
    d_v,
    sentences,
    steps,
    positions,
    units: tl.constexpr,
    position_block: tl.constexpr,
    block: tl.constexpr,
):
    """Sum the gradients of a sentence's keys and of v over all steps."""
    sentence = tl.program_id(0).to(tl.int64)
    unit = tl.program_id(1) * block + tl.arange(0, block)
    inside = unit < units
    position = tl.arange(0, position_block)
    real = _load_mask(mask, sentence, position, positions)
    row = sentence * positions + position
    key = _load_block(keys, row, real, units, unit)
    # The keys are read once, and both sums stay in registers over all steps.
    key_sum = tl.zeros([position_block, block], tl.float32)
    v_sum = tl.zeros([block], tl.float32)
    step = 0
    # Triton 3.6's interpreter has no `range` with a run-time bound under numpy 2.4, hence `while`.
    while step < steps:
        step_row = step * sentences + sentence
        q = _load(query + step_row * units + unit, inside)
        d_energy = _load(d_energies + step_row * positions + position, real)
        tanh = _tanh(key + q[None, :])
        key_sum += d_energy[:, None] * (1 - tanh * tanh)
        v_sum += tl.sum(d_energy[:, None] * tanh, 0)
        step += 1
    v_block = _load(v + unit, inside)
    pointer = d_keys + row[:, None] * units + unit[None, :]
    in_block = (position < positions)[:, None] & inside[None, :]
    tl.store(pointer, (key_sum * v_block[None, :]).to(d_keys.dtype.element_ty), mask=in_block)
    tl.store(d_v + sentence * units + unit, v_sum, mask=inside)
