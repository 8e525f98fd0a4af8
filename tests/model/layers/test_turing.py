"""A Neural Turing Machine, re-written in NumPy for one row, head by head and slot by slot."""

import numpy as np
import pytest
import torch

from nmt.model.interfaces import MachineSizes
from nmt.model.layers.addressing import Orders, address
from nmt.model.layers.turing import BLANK, MachineState, TuringMachine, write
from tests.model.by_hand import Array, array, draw, lstm_step, sigmoid

INPUTS, UNITS, ROWS = 3, 5, 2
SIZES = MachineSizes(slots=6, width=4, read_heads=2, write_heads=3)


def _written(memory: Array, weights: Array, erase: Array, add: Array) -> Array:
    """Eqs. 3 and 4 for one row: `memory` c i, `weights` h i, `erase` and `add` c h."""
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


def test_all_heads_erase_then_all_heads_add() -> None:
    torch.manual_seed(1)
    memory_nci = torch.randn(1, 4, 6, dtype=torch.float64)
    weights_nhi = torch.randn(1, 3, 6, dtype=torch.float64).softmax(-1)
    numbers_nch = torch.randn(1, 8, 3, dtype=torch.float64)
    numbers = array(numbers_nch)[0]
    expected = _written(
        array(memory_nci)[0], array(weights_nhi)[0], sigmoid(numbers[:4]), np.tanh(numbers[4:])
    )
    found = array(write(memory_nci, weights_nhi, numbers_nch))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_slot_that_is_erased_and_written_holds_what_was_written() -> None:
    memory_nci, weights_nhi = torch.randn(1, 2, 3), torch.tensor([[[0.0, 1.0, 0.0]]])
    numbers_nch = torch.tensor([[[90.0], [90.0], [0.5], [-2.0]]])
    found_nci = write(memory_nci, weights_nhi, numbers_nch)
    assert torch.equal(found_nci[:, :, [0, 2]], memory_nci[:, :, [0, 2]])
    torch.testing.assert_close(found_nci[0, :, 1], torch.tensor([0.5, -2.0]).tanh())


@pytest.mark.parametrize("sizes", [SIZES, MachineSizes(5, 3, 1, 1)], ids=str)
def test_a_machine_moves_as_in_the_paper(sizes: MachineSizes) -> None:
    machine: TuringMachine = draw(TuringMachine(INPUTS, UNITS, sizes))
    inputs_tnm = torch.randn(4, ROWS, INPUTS, dtype=torch.float64)
    controller, state = machine.begin(inputs_tnm[0])
    hidden, cell = np.zeros(UNITS), np.zeros(UNITS)
    memory, read = (
        np.full((sizes.width, sizes.slots), BLANK),
        np.zeros(sizes.read_heads * sizes.width),
    )
    stands = np.eye(sizes.slots)[[0] * sizes.heads]
    for inputs_nm in inputs_tnm:
        controller, state = machine.step(machine.controller.project(inputs_nm), controller, state)
        hidden, cell = lstm_step(machine.controller, array(inputs_nm)[1], hidden, cell, read)
        numbers = array(machine.orders.weight) @ hidden + array(machine.orders.bias)
        split = sizes.heads * Orders.size(sizes.width)
        # Addressing has its own test against NumPy.
        stands = array(
            address(
                Orders.of(torch.tensor(numbers[:split]).view(1, sizes.heads, -1)),
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
        np.testing.assert_allclose(array(state.memory_nci)[1], memory, rtol=1e-10)
        np.testing.assert_allclose(array(state.weights_nhi)[1], stands, rtol=1e-10)
        np.testing.assert_allclose(array(state.read_nf)[1], read, rtol=1e-10)


def test_a_row_that_is_not_real_writes_nothing() -> None:
    machine: TuringMachine = draw(TuringMachine(INPUTS, UNITS, SIZES))
    inputs_nm = torch.randn(ROWS, INPUTS, dtype=torch.float64)
    controller, state = machine.begin(inputs_nm)
    projected_ng = machine.controller.project(inputs_nm)
    controller, state = machine.step(projected_ng, controller, state)
    real_n = torch.tensor([True, False])
    _, held = machine.step(projected_ng, controller, state, real_n)
    _, free = machine.step(projected_ng, controller, state)
    assert torch.equal(held.memory_nci[1], state.memory_nci[1])
    assert not torch.equal(free.memory_nci[1], state.memory_nci[1])
    assert torch.equal(held.memory_nci[0], free.memory_nci[0])


def test_weights_of_every_head_sum_to_one_for_long() -> None:
    machine: TuringMachine = draw(TuringMachine(INPUTS, UNITS, SIZES)).float()
    inputs_nm = torch.randn(ROWS, INPUTS)
    controller, state = machine.begin(inputs_nm)
    for _ in range(200):
        controller, state = machine.step(machine.controller.project(inputs_nm), controller, state)
    sums_nh = state.weights_nhi.sum(dim=-1)
    torch.testing.assert_close(sums_nh, torch.ones_like(sums_nh))
    assert all(part.isfinite().all() for part in state)


def test_rewinding_moves_the_heads_and_nothing_else() -> None:
    machine: TuringMachine = draw(TuringMachine(INPUTS, UNITS, SIZES))
    parts = (torch.randn(ROWS, 4, 6), torch.rand(ROWS, 5, 6), torch.randn(ROWS, 8))
    rewound = machine.rewind(MachineState(*parts))
    assert rewound.weights_nhi.tolist() == [[[1, 0, 0, 0, 0, 0]] * 5] * ROWS
    assert torch.equal(rewound.memory_nci, parts[0])
    assert torch.equal(rewound.read_nf, parts[2])
