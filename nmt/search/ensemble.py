"""Several models as one step function."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nmt.model.interfaces import Memory, Prediction, State
from nmt.search.step import Step


def ensemble(steps: Sequence[Step]) -> Step:
    """A step whose distribution is the mean of the models': log(sum exp(log_probs) / models).

    Memory and state are tuples, one entry a model. Weights are the mean over the models that
    attend, None when none does. All models must have the same vocabularies.
    """

    def step(tokens_n: Tensor, memories: Memory, states: State) -> Prediction:
        predictions = [
            one(tokens_n, memory, state)
            for one, memory, state in zip(steps, memories, states, strict=True)
        ]
        log_probs_nv = torch.stack([p.log_probs_nv.float() for p in predictions]).logsumexp(0)
        weights = [p.weights_ns for p in predictions if p.weights_ns is not None]
        return Prediction(
            log_probs_nv - math.log(len(steps)),
            torch.stack(weights).mean(0) if weights else None,
            tuple(p.state for p in predictions),
        )

    return step
