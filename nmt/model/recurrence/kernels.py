"""Triton kernels for the parts of a step; the formulas are those of `steps.py`.

A program is a sentence, or a sentence and a block of units. Sums run in float32 whatever the
tensors' type, and no two programs add to one number, so results are repeatable bit for bit.
Sizes of a model are compiled in, since loops over them are; those of a batch are not.
Rows of keys and values are counted in 64 bits: a batch may hold more than 2^31 of their numbers.

Names have no axis letters here: they are addresses. A stride is that of a tensor's rows, where
they are cut out of wider ones.
"""

# Triton compiles the source text, and annotations are its own: so no checks of shapes in tests.
from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def tanh(x):
    """By the sigmoid, which the interpreter knows too."""
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
@no_type_check
def load(at, inside):
    """What stands there, in float32; zero outside."""
    return tl.load(at, mask=inside, other=0.0).to(tl.float32)


@triton.jit
@no_type_check
def find_real(mask, row, position, positions):
    """Whether each position of a sentence is a real one."""
    return tl.load(mask + row * positions + position, mask=position < positions, other=0) != 0


@triton.jit
@no_type_check
def load_block(table, place, real, width, unit):
    """Some units of a sentence's keys or values, a row a position; zero where it is not real."""
    at = table + place[:, None] * width + unit[None, :]
    return load(at, real[:, None] & (unit < width)[None, :])


@triton.jit
@no_type_check
def move(
    gates,
    before,
    after,
    hidden,
    hidden_stride,
    units: tl.constexpr,
    block: tl.constexpr,
):
    """An LSTM's step; sums become gates in their place."""
    row = tl.program_id(0)
    unit = tl.program_id(1) * block + tl.arange(0, block)
    real = unit < units
    at = gates + row * 4 * units + unit
    enter = tl.sigmoid(load(at, real))
    forget = tl.sigmoid(load(at + units, real))
    new = tanh(load(at + 2 * units, real))
    show = tl.sigmoid(load(at + 3 * units, real))
    cell = forget * load(before + row * units + unit, real) + enter * new
    kind = gates.dtype.element_ty
    tl.store(at, enter.to(kind), mask=real)
    tl.store(at + units, forget.to(kind), mask=real)
    tl.store(at + 2 * units, new.to(kind), mask=real)
    tl.store(at + 3 * units, show.to(kind), mask=real)
    tl.store(after + row * units + unit, cell, mask=real)
    tl.store(hidden + row * hidden_stride + unit, (show * tanh(cell)).to(kind), mask=real)


@triton.jit
@no_type_check
def move_back(
    gates,
    before,
    after,
    d_hidden,
    d_hidden_stride,
    d_cell,
    d_gates,
    units: tl.constexpr,
    block: tl.constexpr,
):
    """The gradient of the gates' sums; the cell's becomes that of the cell before."""
    row = tl.program_id(0)
    unit = tl.program_id(1) * block + tl.arange(0, block)
    real = unit < units
    at = gates + row * 4 * units + unit
    enter = load(at, real)
    forget = load(at + units, real)
    new = load(at + 2 * units, real)
    show = load(at + 3 * units, real)
    own = row * units + unit
    shown = tanh(load(after + own, real))
    d_state = load(d_hidden + row * d_hidden_stride + unit, real)
    slope = load(d_cell + own, real) + d_state * show * (1 - shown * shown)
    d_forget = slope * load(before + own, real) * forget * (1 - forget)
    kind = d_gates.dtype.element_ty
    to = d_gates + row * 4 * units + unit
    tl.store(to, (slope * new * enter * (1 - enter)).to(kind), mask=real)
    tl.store(to + units, d_forget.to(kind), mask=real)
    tl.store(to + 2 * units, (slope * enter * (1 - new * new)).to(kind), mask=real)
    tl.store(to + 3 * units, (d_state * shown * show * (1 - show)).to(kind), mask=real)
    tl.store(d_cell + own, slope * forget, mask=real)


@triton.jit
@no_type_check
def look(
    query,
    query_stride,
    keys,
    energy,
    values,
    mask,
    weights,
    context,
    context_stride,
    positions,
    width: tl.constexpr,
    value_width: tl.constexpr,
    additive: tl.constexpr,
    block_s: tl.constexpr,
    block: tl.constexpr,
):
    """Energies, softmax and context of one sentence."""
    row = tl.program_id(0).to(tl.int64)
    position = tl.arange(0, block_s)
    real = find_real(mask, row, position, positions)
    place = row * positions + position
    energies = tl.zeros([block_s], tl.float32)
    for start in range(0, width, block):
        unit = start + tl.arange(0, block)
        inside = unit < width
        asked = load(query + row * query_stride + unit, inside)
        key = load_block(keys, place, real, width, unit)
        if additive:
            scale = load(energy + unit, inside)
            energies += tl.sum(tanh(key + asked[None, :]) * scale[None, :], 1)
        else:
            energies += tl.sum(key * asked[None, :], 1)
    energies = tl.where(real, energies, -float("inf"))
    masses = tl.exp(energies - tl.max(energies, 0))
    shares = masses / tl.sum(masses, 0)
    tl.store(weights + row * positions + position, shares, mask=position < positions)
    for start in range(0, value_width, block):
        unit = start + tl.arange(0, block)
        value = load_block(values, place, real, value_width, unit)
        read = tl.sum(value * shares[:, None], 0).to(context.dtype.element_ty)
        tl.store(context + row * context_stride + unit, read, mask=unit < value_width)


@triton.jit
@no_type_check
def look_back(
    query,
    query_stride,
    keys,
    energy,
    values,
    mask,
    weights,
    d_context,
    d_context_stride,
    d_energies,
    d_query,
    positions,
    width: tl.constexpr,
    value_width: tl.constexpr,
    additive: tl.constexpr,
    block_s: tl.constexpr,
    block: tl.constexpr,
):
    """From the context's gradient to those of the energies and the query; tanh is taken again."""
    row = tl.program_id(0).to(tl.int64)
    position = tl.arange(0, block_s)
    real = find_real(mask, row, position, positions)
    place = row * positions + position
    d_shares = tl.zeros([block_s], tl.float32)
    for start in range(0, value_width, block):
        unit = start + tl.arange(0, block)
        value = load_block(values, place, real, value_width, unit)
        slope = load(d_context + row * d_context_stride + unit, unit < value_width)
        d_shares += tl.sum(value * slope[None, :], 1)
    shares = load(weights + row * positions + position, real)
    slopes = shares * (d_shares - tl.sum(shares * d_shares, 0))
    tl.store(d_energies + row * positions + position, slopes, mask=position < positions)
    for start in range(0, width, block):
        unit = start + tl.arange(0, block)
        inside = unit < width
        key = load_block(keys, place, real, width, unit)
        if additive:
            asked = load(query + row * query_stride + unit, inside)
            hidden = tanh(key + asked[None, :])
            scale = load(energy + unit, inside)
            slope = scale * tl.sum(slopes[:, None] * (1 - hidden * hidden), 0)
        else:
            slope = tl.sum(slopes[:, None] * key, 0)
        to = d_query + row * width + unit
        tl.store(to, slope.to(d_query.dtype.element_ty), mask=inside)


@triton.jit
@no_type_check
def keys_back(
    query,
    keys,
    energy,
    mask,
    d_energies,
    d_keys,
    d_energy,
    sentences,
    steps,
    positions,
    width: tl.constexpr,
    block_s: tl.constexpr,
    block: tl.constexpr,
):
    """The gradients of a sentence's keys and, by sentence, of v, over all steps."""
    row = tl.program_id(0).to(tl.int64)
    unit = tl.program_id(1) * block + tl.arange(0, block)
    inside = unit < width
    position = tl.arange(0, block_s)
    real = find_real(mask, row, position, positions)
    place = row * positions + position
    key = load_block(keys, place, real, width, unit)
    of_keys = tl.zeros([block_s, block], tl.float32)
    of_energy = tl.zeros([block], tl.float32)
    step = 0
    # The interpreter of Triton 3.6 cannot count to a number known at run time with numpy 2.4.
    while step < steps:
        at = step * sentences + row
        asked = load(query + at * width + unit, inside)
        slopes = load(d_energies + at * positions + position, real)
        hidden = tanh(key + asked[None, :])
        of_keys += slopes[:, None] * (1 - hidden * hidden)
        of_energy += tl.sum(slopes[:, None] * hidden, 0)
        step += 1
    scale = load(energy + unit, inside)
    whole = (position < positions)[:, None] & inside[None, :]
    to = d_keys + place[:, None] * width + unit[None, :]
    tl.store(to, (of_keys * scale[None, :]).to(d_keys.dtype.element_ty), mask=whole)
    tl.store(d_energy + row * width + unit, of_energy, mask=inside)
