"""Exponential moving average of parameters, against values computed by hand."""

import numpy as np
import torch
from torch import nn

from nmt.training.ema import ExponentialMovingAverage

VALUES = [np.array([[1.0, -2.0]]), np.array([[0.5, 4.0]]), np.array([[-3.0, 0.25]])]


def _model() -> nn.Linear:
    model = nn.Linear(2, 1, bias=False)
    model.weight.data = torch.tensor([[2.0, 0.0]])
    return model


def test_average_follows_formula_with_warmup() -> None:
    model = _model()
    average = ExponentialMovingAverage(model, 0.25)
    expected = np.array([[2.0, 0.0]])
    for step, value in enumerate(VALUES, start=1):
        model.weight.data = torch.tensor(value, dtype=torch.float32)
        average.update(step)
        decay = {1: 2 / 11, 2: 3 / 12, 3: 0.25}[step]  # (1 + 3) / (10 + 3) exceeds 0.25
        expected = decay * expected + (1 - decay) * value
        np.testing.assert_allclose(average.state_dict()["weight"].numpy(), expected, rtol=1e-6)


def test_applied_swaps_parameters_only_inside_context() -> None:
    model = _model()
    average = ExponentialMovingAverage(model, 0.9)
    model.weight.data = torch.tensor([[0.0, 11.0]])
    average.update(1)
    with average.applied():
        assert torch.allclose(model.weight, torch.tensor([[4 / 11, 9.0]]))
        assert torch.equal(average.state_dict()["weight"], torch.tensor([[0.0, 11.0]]))
    assert torch.equal(model.weight, torch.tensor([[0.0, 11.0]]))


def test_load_state_dict_copies_the_averages() -> None:
    average, other = (
        ExponentialMovingAverage(_model(), 0.9),
        ExponentialMovingAverage(_model(), 0.9),
    )
    average.model.weight.data = torch.tensor([[5.0, 5.0]])
    average.update(1)
    other.load_state_dict(average.state_dict())
    assert torch.equal(other.state_dict()["weight"], average.state_dict()["weight"])
    assert other.state_dict()["weight"] is not average.state_dict()["weight"]
