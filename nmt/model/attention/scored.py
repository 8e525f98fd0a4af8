"""What mechanisms that read by one score and no other have in common."""

from nmt.model.attention.mechanism import AttentionMemory, Mechanism, Softmax, masked_softmax
from nmt.model.attention.score import Score
from nmt.model.interfaces import Encoded


class ScoredMechanism(Mechanism):
    """Remembers the score's keys, and the annotations themselves as values.

    What is read is their average, or a number times it.

    Args:
        score: how well each source position answers a query

    Attributes:
        softmax: computes weights from energies
    """

    context_is_linear = True

    def __init__(self, score: Score) -> None:
        super().__init__()
        self.score = score
        self.softmax: Softmax = masked_softmax

    def prepare(self, source: Encoded) -> AttentionMemory:
        # An encoder's annotations may lie time by time; products would copy them at every step.
        states_bse = source.states_bse.contiguous()
        return AttentionMemory(self.score.prepare(states_bse), states_bse, source.mask_bs)
