"""Dropout whose mask is drawn once a sentence."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import dropout


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
