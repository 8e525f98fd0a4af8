"""The Neural Turing Machine against NumPy, for one row, head by head and slot by slot."""

import numpy as np
import pytest
import torch

from nmt.model.layers.ntm import (
    INITIAL_CONTENT,
    Addressing,
    MemorySizes,
    MemoryState,
    TuringMachine,
    address,
    write,
)
from tests.model.numpy_formulas import Array, array, draw, lstm_step, sigmoid

INPUTS, UNITS, ROWS = 3, 5, 2
SIZES = MemorySizes(slots=6, width=4, read_heads=2, write_heads=3)


def _written(memory: Array, weights: Array, erase: Array, add: Array) -> Array:
    """Compute eqs. 3 and 4 for one row: `memory` u i, `weights` h i, `erase` and `add` u h."""
    memory = memory.copy()
    cells, slots = memory.shape
    for head in range(len(weights)):
        for cell in range(cells):
            for slot in range(slots):
                memory[cell, slot] *= 1 - weights[head, slot] * erase[cell, head]
    for head in range(len(weights)):
        for cell in range(cells):
            for slot in range(slots):
                memory[cell, slot] += weights[head, slot] * add[cell, head]
    return memory


def test_write_erases_with_all_heads_then_adds_with_all_heads() -> None:
    torch.manual_seed(1)
    memory_nui = torch.randn(1, 4, 6, dtype=torch.float64)
    weights_nhi = torch.randn(1, 3, 6, dtype=torch.float64).softmax(-1)
    numbers_nxh = torch.randn(1, 8, 3, dtype=torch.float64)
    numbers = array(numbers_nxh)[0]
    expected = _written(
        array(memory_nui)[0], array(weights_nhi)[0], sigmoid(numbers[:4]), np.tanh(numbers[4:])
    )
    found = array(write(memory_nui, weights_nhi, numbers_nxh))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_erased_slot_contains_the_added_vector() -> None:
    memory_nui, weights_nhi = torch.randn(1, 2, 3), torch.tensor([[[0.0, 1.0, 0.0]]])
    numbers_nxh = torch.tensor([[[90.0], [90.0], [0.5], [-2.0]]])
    found_nui = write(memory_nui, weights_nhi, numbers_nxh)
    assert torch.equal(found_nui[:, :, [0, 2]], memory_nui[:, :, [0, 2]])
    torch.testing.assert_close(found_nui[0, :, 1], torch.tensor([0.5, -2.0]).tanh())


@pytest.mark.parametrize("sizes", [SIZES, MemorySizes(5, 3, 1, 1)], ids=str)
def test_step_equals_the_equations_of_the_paper(sizes: MemorySizes) -> None:
    machine: TuringMachine = draw(TuringMachine(INPUTS, UNITS, sizes))
    inputs_tnm = torch.randn(4, ROWS, INPUTS, dtype=torch.float64)
    controller, state = machine.initial_state(inputs_tnm[0])
    hidden, cell = np.zeros(UNITS), np.zeros(UNITS)
    memory, read = (
        np.full((sizes.width, sizes.slots), INITIAL_CONTENT),
        np.zeros(sizes.read_heads * sizes.width),
    )
    stands = np.eye(sizes.slots)[[0] * sizes.heads]
    for inputs_nm in inputs_tnm:
        controller, state = machine.step(machine.controller.project(inputs_nm), controller, state)
        hidden, cell = lstm_step(machine.controller, array(inputs_nm)[1], hidden, cell, read)
        numbers = array(machine.orders.weight) @ hidden + array(machine.orders.bias)
        split = sizes.heads * Addressing.size(sizes.width)
        # The addressing has tests of its own.
        stands = array(
            address(
                Addressing.of(torch.tensor(numbers[:split]).view(1, sizes.heads, -1)),
                torch.tensor(memory)[None],
                torch.tensor(stands)[None],
            )
        )[0]
        written = numbers[split:].reshape(2 * sizes.width, sizes.write_heads)
        memory = _written(
            memory,
            stands[sizes.read_heads :],
            sigmoid(written[: sizes.width]),
            np.tanh(written[sizes.width :]),
        )
        read = np.concatenate([memory @ stands[head] for head in range(sizes.read_heads)])
        np.testing.assert_allclose(array(controller.hidden_nd)[1], hidden, rtol=1e-10)
        np.testing.assert_allclose(array(state.memory_nui)[1], memory, rtol=1e-10)
        np.testing.assert_allclose(array(state.weights_nhi)[1], stands, rtol=1e-10)
        np.testing.assert_allclose(array(state.read_nf)[1], read, rtol=1e-10)


def test_masked_row_writes_nothing() -> None:
    machine: TuringMachine = draw(TuringMachine(INPUTS, UNITS, SIZES))
    inputs_nm = torch.randn(ROWS, INPUTS, dtype=torch.float64)
    controller, state = machine.initial_state(inputs_nm)
    projected_ng = machine.controller.project(inputs_nm)
    controller, state = machine.step(projected_ng, controller, state)
    real_n = torch.tensor([True, False])
    _, held = machine.step(projected_ng, controller, state, real_n)
    _, free = machine.step(projected_ng, controller, state)
    assert torch.equal(held.memory_nui[1], state.memory_nui[1])
    assert not torch.equal(free.memory_nui[1], state.memory_nui[1])
    assert torch.equal(held.memory_nui[0], free.memory_nui[0])


def test_weights_sum_to_one_after_many_steps() -> None:
    machine: TuringMachine = draw(TuringMachine(INPUTS, UNITS, SIZES)).float()
    inputs_nm = torch.randn(ROWS, INPUTS)
    controller, state = machine.initial_state(inputs_nm)
    for _ in range(200):
        controller, state = machine.step(machine.controller.project(inputs_nm), controller, state)
    sums_nh = state.weights_nhi.sum(dim=-1)
    torch.testing.assert_close(sums_nh, torch.ones_like(sums_nh))
    assert all(part.isfinite().all() for part in state)


def test_reset_heads_changes_only_the_weights() -> None:
    machine: TuringMachine = draw(TuringMachine(INPUTS, UNITS, SIZES))
    parts = (torch.randn(ROWS, 4, 6), torch.rand(ROWS, 5, 6), torch.randn(ROWS, 8))
    rewound = machine.reset_heads(MemoryState(*parts))
    assert rewound.weights_nhi.tolist() == [[[1, 0, 0, 0, 0, 0]] * 5] * ROWS
    assert torch.equal(rewound.memory_nui, parts[0])
    assert torch.equal(rewound.read_nf, parts[2])
