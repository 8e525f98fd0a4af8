"""Optimizers of torch, registered with the options of an experiment file."""

import inspect
from collections.abc import Iterable
from functools import cache
from typing import TypeVar, cast

import torch
from torch import nn
from torch.optim import Optimizer

from nmt.component_spec import NonNegativeFloat, PositiveFloat, Probability
from nmt.registry import OPTIMIZERS

Parameters = Iterable[nn.Parameter]
OptimizerType = TypeVar("OptimizerType", bound=type[Optimizer])

# Methods that torch wraps for optimizers inside of compiled functions.
WRAPPED_METHODS = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


@cache
def uncompiled(optimizer: OptimizerType) -> OptimizerType:
    """Return a subclass of an optimizer of torch without its wrappers for `torch.compile`.

    The first call of such a wrapper imports `torch._dynamo` and sympy, which takes more CPU time
    than importing torch. nmt compiles no optimizer, so it calls the wrapped functions themselves.
    """
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in WRAPPED_METHODS}
    methods["step"] = torch.no_grad()(inspect.unwrap(optimizer.step))
    return cast(OptimizerType, type(optimizer.__name__, (optimizer,), methods))


# `fused` updates all parameters in one kernel. On a GPU such a kernel can also skip an update that
# is not finite, so the host does not wait for the verdict; see `Precision.may_skip`. With any other
# optimizer it waits at every update.


@OPTIMIZERS.register("adam")
def adam(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 1e-3,
    beta1: Probability = 0.9,
    beta2: Probability = 0.999,
    epsilon: PositiveFloat = 1e-8,
) -> Optimizer:
    """Adam: adaptive moment estimation. Kingma and Ba 2015, algorithm 1.

    Args:
        learning_rate: base learning rate, which the schedule multiplies
        beta1: decay rate of the mean of the gradients
        beta2: decay rate of the mean of their squares
        epsilon: added to the root of the mean of squares
    """
    return uncompiled(torch.optim.Adam)(
        parameters, learning_rate, (beta1, beta2), epsilon, fused=True
    )


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
    """Adam with decoupled weight decay. Loshchilov and Hutter 2019.

    Args:
        learning_rate: base learning rate, which the schedule multiplies
        beta1: decay rate of the mean of the gradients
        beta2: decay rate of the mean of their squares
        epsilon: added to the root of the mean of squares
        weight_decay: fraction of a weight that is subtracted per update, times the learning rate
    """
    return uncompiled(torch.optim.AdamW)(
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
    """Stochastic gradient descent. Robbins and Monro 1951; momentum: Polyak 1964.

    Args:
        learning_rate: base learning rate, which the schedule multiplies
        momentum: fraction of the previous step that is kept
        weight_decay: factor of the weights that are added to the gradient
    """
    optimizer = uncompiled(torch.optim.SGD)(
        parameters, learning_rate, momentum, weight_decay=weight_decay, fused=True
    )
    if momentum:
        # torch allocates the momentum at the first step and does not initialize it if that step is
        # skipped, as fp16 training does. From zero, the first step has the same result.
        for parameter in optimizer.param_groups[0]["params"]:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


@OPTIMIZERS.register("adadelta")
def adadelta(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 1.0,
    rho: Probability = 0.95,
    epsilon: PositiveFloat = 1e-6,
) -> Optimizer:
    """Adadelta, as used by Bahdanau et al. 2014. Zeiler 2012, algorithm 1.

    Args:
        learning_rate: factor of the step, which the schedule multiplies
        rho: decay rate of the means of squares
        epsilon: added under both roots
    """
    return uncompiled(torch.optim.Adadelta)(parameters, learning_rate, rho, epsilon)


@OPTIMIZERS.register("adagrad")
def adagrad(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 0.01,
    initial_accumulator: NonNegativeFloat = 0.0,
) -> Optimizer:
    """Adagrad, scaled by the root of the sum of squared gradients. Duchi et al. 2011.

    Args:
        learning_rate: base learning rate, which the schedule multiplies
        initial_accumulator: initial value of the sum of squares
    """
    return uncompiled(torch.optim.Adagrad)(
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
    """RMSprop, scaled by the root mean square of gradients. Tieleman and Hinton 2012, lecture 6e.

    Args:
        learning_rate: base learning rate, which the schedule multiplies
        alpha: decay rate of the mean of squares
        epsilon: added to the root
        momentum: fraction of the previous step that is kept
    """
    return uncompiled(torch.optim.RMSprop)(
        parameters, learning_rate, alpha, epsilon, momentum=momentum
    )


@OPTIMIZERS.register("nadam")
def nadam(
    parameters: Parameters,
    *,
    learning_rate: PositiveFloat = 2e-3,
    beta1: Probability = 0.9,
    beta2: Probability = 0.999,
    epsilon: PositiveFloat = 1e-8,
) -> Optimizer:
    """Adam with Nesterov momentum. Dozat 2016.

    Args:
        learning_rate: base learning rate, which the schedule multiplies
        beta1: decay rate of the mean of the gradients
        beta2: decay rate of the mean of their squares
        epsilon: added to the root of the mean of squares
    """
    return uncompiled(torch.optim.NAdam)(parameters, learning_rate, (beta1, beta2), epsilon)
