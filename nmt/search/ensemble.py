"""Ensembles: a step function that averages the distributions of several models."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nmt.model.interfaces import Memory, Prediction, State
from nmt.search.step import Step


def ensemble(steps: Sequence[Step], attending: Sequence[bool] | None = None) -> Step:
    """Return a step function with the mean probabilities: log(sum_i exp(log_probs_i) / models).

    Its memory and state are tuples with one entry per model. The attention weights are averaged
    over the models with attention, and the weights of alignments over the models that have such
    weights; they are None if no model has any. All models must have the same target vocabulary, and
    if their predictions are limited to some outputs, the same ones.

    Args:
        steps: step functions of the models
        attending: per model, whether its source positions are those of the result, so that its
            attention weights count; None if all are
    """
    counted = [True] * len(steps) if attending is None else attending

    def step(tokens_n: Tensor, memories: Memory, states: State) -> Prediction:
        assert isinstance(memories, tuple) and isinstance(states, tuple)
        predictions = [
            one(tokens_n, memory, state)
            for one, memory, state in zip(steps, memories, states, strict=True)
        ]
        # In the log domain: float32 probabilities underflow where log-probabilities do not.
        log_probs_nv = torch.stack([p.log_probs_nv.float() for p in predictions]).logsumexp(0)
        counting = [p for p, counts in zip(predictions, counted, strict=True) if counts]
        return Prediction(
            log_probs_nv - math.log(len(steps)),
            _mean([p.weights_ns for p in counting]),
            tuple(p.state for p in predictions),
            predictions[0].outputs,
            _mean([p.alignment_ns for p in counting]),
        )

    return step


def _mean(weights: Sequence[Tensor | None]) -> Tensor | None:
    # Averaged weights are not the attention of any one model, but sum to 1 as well.
    given = [one for one in weights if one is not None]
    return torch.stack(given).mean(0) if given else None
