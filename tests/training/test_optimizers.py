"""Optimizers against the formulas of their papers in float64, and across a checkpoint."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import Optimizer

from nmt.registry import OPTIMIZERS, ComponentConfig
from nmt.training.checkpointing import optimizer_tensors, restore_optimizer
from nmt.training.optimizers import uncompiled

Array = NDArray[np.float64]
Rule = Callable[[Iterator[Array]], Iterator[Array]]

START = np.array([0.5, -1.0, 2.0])
GRADIENTS = [np.array([0.3, -0.2, 0.0]), np.array([-0.1, 0.4, 1.5]), np.array([0.2, 0.2, -0.7])]


def adam(gradients: Iterator[Array], rate: float = 0.1, decay: float = 0.0) -> Iterator[Array]:
    mean, square, theta = np.zeros(3), np.zeros(3), START
    for t, gradient in enumerate(gradients, start=1):
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        step = mean / (1 - 0.9**t) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
        theta = theta - rate * step - rate * decay * theta
        yield theta


def adamw(gradients: Iterator[Array]) -> Iterator[Array]:
    return adam(gradients, decay=0.3)


def sgd(gradients: Iterator[Array]) -> Iterator[Array]:
    velocity, theta = np.zeros(3), START
    for gradient in gradients:
        velocity = 0.5 * velocity + gradient + 0.01 * theta
        theta = theta - 0.1 * velocity
        yield theta


def adadelta(gradients: Iterator[Array]) -> Iterator[Array]:
    square, moved, theta = np.zeros(3), np.zeros(3), START
    for gradient in gradients:
        square = 0.95 * square + 0.05 * gradient**2
        step = np.sqrt(moved + 1e-6) / np.sqrt(square + 1e-6) * gradient
        moved = 0.95 * moved + 0.05 * step**2
        theta = theta - step
        yield theta


def adagrad(gradients: Iterator[Array]) -> Iterator[Array]:
    square, theta = np.full(3, 0.5), START
    for gradient in gradients:
        square = square + gradient**2
        theta = theta - 0.1 * gradient / np.sqrt(square)
        yield theta


def rmsprop(gradients: Iterator[Array]) -> Iterator[Array]:
    square, velocity, theta = np.zeros(3), np.zeros(3), START
    for gradient in gradients:
        square = 0.99 * square + 0.01 * gradient**2
        velocity = 0.5 * velocity + gradient / (np.sqrt(square) + 1e-8)
        theta = theta - 0.1 * velocity
        yield theta


def nadam(gradients: Iterator[Array]) -> Iterator[Array]:
    """Dozat 2016, algorithm 2, with the momentum schedule 0.9 (1 - 0.96^(t/250) / 2)."""
    mean, square, theta, product = np.zeros(3), np.zeros(3), START, 1.0
    for t, gradient in enumerate(gradients, start=1):
        now, later = (0.9 * (1 - 0.5 * 0.96 ** (0.004 * n)) for n in (t, t + 1))
        product *= now
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        ahead = later * mean / (1 - product * later) + (1 - now) * gradient / (1 - product)
        theta = theta - 0.1 * ahead / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
        yield theta


RULES: dict[str, tuple[Rule, dict[str, Any]]] = {
    "adam": (adam, {"learning_rate": 0.1}),
    "adamw": (adamw, {"learning_rate": 0.1, "weight_decay": 0.3}),
    "sgd": (sgd, {"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.01}),
    "adadelta": (adadelta, {}),
    "adagrad": (adagrad, {"learning_rate": 0.1, "initial_accumulator": 0.5}),
    "rmsprop": (rmsprop, {"learning_rate": 0.1, "momentum": 0.5}),
    "nadam": (nadam, {"learning_rate": 0.1}),
}


def _build(name: str, parameter: nn.Parameter) -> Optimizer:
    found = OPTIMIZERS.build(ComponentConfig(name, RULES[name][1]), [parameter])
    assert isinstance(found, Optimizer)
    return found


def _step(optimizer: Optimizer, parameter: nn.Parameter, gradient: Array) -> None:
    parameter.grad = torch.tensor(gradient, dtype=parameter.dtype)
    optimizer.step()


def test_every_optimizer_has_a_reference() -> None:
    assert set(RULES) == {n for n, p in OPTIMIZERS.specs().items() if p.module.startswith("nmt.")}


@pytest.mark.parametrize("name", RULES)
def test_three_steps_follow_the_formula(name: str) -> None:
    parameter = nn.Parameter(torch.tensor(START))
    optimizer = _build(name, parameter)
    for gradient, expected in zip(GRADIENTS, RULES[name][0](iter(GRADIENTS)), strict=True):
        _step(optimizer, parameter, gradient)
        np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("name", RULES)
def test_optimizer_does_not_import_torch_dynamo(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # importing it raises an error
    uncompiled.cache_clear()
    parameter = nn.Parameter(torch.tensor(START))
    optimizer = _build(name, parameter)
    _step(optimizer, parameter, GRADIENTS[0])
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.zero_grad()
    assert parameter.grad is None
    assert not parameter.equal(torch.tensor(START))


@pytest.mark.parametrize("name", RULES)
def test_restored_optimizer_steps_bit_identically(name: str, tmp_path: Path) -> None:
    parameter = nn.Parameter(torch.tensor(START, dtype=torch.float32))
    optimizer = _build(name, parameter)
    for gradient in GRADIENTS[:2]:
        _step(optimizer, parameter, gradient)
    save_file(optimizer_tensors(optimizer), tmp_path / "training.safetensors")
    copy = nn.Parameter(parameter.detach().clone())
    restored = _build(name, copy)
    restore_optimizer(restored, load_file(tmp_path / "training.safetensors"))
    for gradient in GRADIENTS[2:] + GRADIENTS:
        _step(optimizer, parameter, gradient)
        _step(restored, copy, gradient)
        assert torch.equal(parameter, copy)


@pytest.mark.parametrize(
    "key", ["optimizer.0.exp_avg", "optimizer.1.exp_avg", "optimizer.x.exp_avg"]
)
def test_state_of_another_model_is_refused(key: str) -> None:
    optimizer = _build("adam", nn.Parameter(torch.ones(3)))
    with pytest.raises(ValueError, match=re.escape(f"{key} has shape [4]")):
        restore_optimizer(optimizer, {key: torch.ones(4)})


def test_sgd_without_momentum_has_no_state() -> None:
    parameter = nn.Parameter(torch.ones(3))
    optimizer = OPTIMIZERS.build(ComponentConfig("sgd", {}), [parameter])
    _step(optimizer, parameter, GRADIENTS[0])
    assert optimizer_tensors(optimizer) == {}


def test_momentum_starts_from_zero_if_the_first_step_is_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With fp16 the first steps are often skipped, until the loss scale is low enough."""
    empty_like = torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda tensor: empty_like(tensor).fill_(torch.nan))
    parameter = nn.Parameter(torch.tensor(START, dtype=torch.float32))
    optimizer = _build("sgd", parameter)
    optimizer.found_inf = torch.ones(())  # type: ignore[attr-defined]
    _step(optimizer, parameter, np.full(3, np.inf))
    np.testing.assert_array_equal(parameter.detach().numpy(), START)
    optimizer.found_inf = torch.zeros(())  # type: ignore[attr-defined]
    for gradient, expected in zip(GRADIENTS, sgd(iter(GRADIENTS)), strict=True):
        _step(optimizer, parameter, gradient)
        np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-6)
