"""Dropout: units are set to zero at random in training. Srivastava et al. 2014, section 4."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import dropout as torch_dropout

STEPS = 1 << 16
"""A unit is kept or dropped by 16 random bits: probabilities are rounded to a 65,536th."""


def dropout(
    inputs: Float[Tensor, "*axes"], probability: float, training: bool = True
) -> Float[Tensor, "*axes"]:
    """x m / (1 - p), m being 0 with probability p, else 1; x itself outside training.

    On a CPU torch draws a double a unit, one after the other, which takes a sixth of a
    transformer's training; here four units share 64 random bits, from the same generator, in a
    third of the time.

    Args:
        inputs: x
        probability: p
        training: whether anything is dropped
    """
    if inputs.device.type != "cpu" or not training or not 0.0 < probability < 1.0:
        return torch_dropout(inputs, probability, training)
    dropped = min(round(probability * STEPS), STEPS - 1)
    words = torch.empty(-(-inputs.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    bits = words.view(torch.int16)[: inputs.numel()].view(inputs.shape)
    kept = (bits >= dropped - STEPS // 2).to(inputs.dtype)
    return inputs * kept.mul_(STEPS / (STEPS - dropped))


class SequenceDropout(nn.Module):
    """Dropout over a sequence with the time axis first.

    Args:
        probability: share of the units that are dropped
        variational: one mask for all steps of a sentence, Gal and Ghahramani 2016, section 4
    """

    def __init__(self, probability: float, *, variational: bool = False) -> None:
        super().__init__()
        self.probability, self.variational = probability, variational

    def forward(self, inputs_tne: Float[Tensor, "t n e"]) -> Float[Tensor, "t n e"]:
        if not self.training or not self.probability:
            return inputs_tne
        if not self.variational:
            return dropout(inputs_tne, self.probability)
        return inputs_tne * dropout(inputs_tne.new_ones(inputs_tne.shape[1:]), self.probability)
