"""Optimizers of torch, by the names and with the options of an experiment file."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from nmt.component_spec import NonNegativeFloat, PositiveFloat, Probability
from nmt.registry import OPTIMIZERS

Parameters = Iterable[nn.Parameter]


@OPTIMIZERS.register("adam")
def adam(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 1e-3,
    beta1: Probability = 0.9,
    beta2: Probability = 0.999,
    epsilon: PositiveFloat = 1e-8,
) -> Optimizer:
    """Adaptive moments. Kingma and Ba 2015, algorithm 1.

    Args:
        learning_rate: of the first update; the schedule multiplies it
        beta1: decay of the mean of gradients
        beta2: decay of the mean of their squares
        epsilon: added to the root of the squares
    """
    return torch.optim.Adam(parameters, learning_rate, (beta1, beta2), epsilon, fused=True)


@OPTIMIZERS.register("adamw")
def adamw(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 1e-3,
    beta1: Probability = 0.9,
    beta2: Probability = 0.999,
    epsilon: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.01,
) -> Optimizer:
    """Adam with the decay of weights kept apart from the gradient. Loshchilov and Hutter 2019.

    Args:
        learning_rate: of the first update; the schedule multiplies it
        beta1: decay of the mean of gradients
        beta2: decay of the mean of their squares
        epsilon: added to the root of the squares
        weight_decay: share of a weight taken away, times the learning rate
    """
    return torch.optim.AdamW(
        parameters, learning_rate, (beta1, beta2), epsilon, weight_decay, fused=True
    )


@OPTIMIZERS.register("sgd")
def sgd(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 1.0,
    momentum: Probability = 0.0,
    weight_decay: NonNegativeFloat = 0.0,
) -> Optimizer:
    """Stochastic gradient descent. Robbins and Monro 1951; with momentum, Polyak 1964.

    Args:
        learning_rate: of the first update; the schedule multiplies it
        momentum: share of the last step that is kept
        weight_decay: added to the gradient, times the weight
    """
    return torch.optim.SGD(
        parameters, learning_rate, momentum, weight_decay=weight_decay, fused=True
    )


@OPTIMIZERS.register("adadelta")
def adadelta(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 1.0,
    rho: Probability = 0.95,
    epsilon: PositiveFloat = 1e-6,
) -> Optimizer:
    """Steps in units of the steps before. Zeiler 2012, algorithm 1; used by Bahdanau et al. 2014.

    Args:
        learning_rate: factor on the step; the schedule multiplies it
        rho: decay of the means of squares
        epsilon: added to both roots
    """
    return torch.optim.Adadelta(parameters, learning_rate, rho, epsilon)


@OPTIMIZERS.register("adagrad")
def adagrad(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 0.01,
    initial_accumulator: NonNegativeFloat = 0.0,
) -> Optimizer:
    """Steps divided by the root of all squared gradients. Duchi et al. 2011.

    Args:
        learning_rate: of the first update; the schedule multiplies it
        initial_accumulator: first value of the sum of squares
    """
    return torch.optim.Adagrad(
        parameters, learning_rate, initial_accumulator_value=initial_accumulator
    )


@OPTIMIZERS.register("rmsprop")
def rmsprop(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 1e-3,
    alpha: Probability = 0.99,
    epsilon: PositiveFloat = 1e-8,
    momentum: Probability = 0.0,
) -> Optimizer:
    """Steps divided by the root mean square of gradients. Tieleman and Hinton 2012, lecture 6e.

    Args:
        learning_rate: of the first update; the schedule multiplies it
        alpha: decay of the mean of squares
        epsilon: added to the root
        momentum: share of the last step that is kept
    """
    return torch.optim.RMSprop(parameters, learning_rate, alpha, epsilon, momentum=momentum)


@OPTIMIZERS.register("nadam")
def nadam(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 2e-3,
    beta1: Probability = 0.9,
    beta2: Probability = 0.999,
    epsilon: PositiveFloat = 1e-8,
) -> Optimizer:
    """Adam with Nesterov's momentum. Dozat 2016.

    Args:
        learning_rate: of the first update; the schedule multiplies it
        beta1: decay of the mean of gradients
        beta2: decay of the mean of their squares
        epsilon: added to the root of the squares
    """
    return torch.optim.NAdam(parameters, learning_rate, (beta1, beta2), epsilon)
