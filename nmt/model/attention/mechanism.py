"""What an attention mechanism is: from a query to a reading of the source."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor, nn

from nmt.model.interfaces import Encoded, FusedSupport


class AttentionMemory(NamedTuple):
    """Keys and values of a batch of source sentences, computed once per sentence."""

    keys_bsa: Float[Tensor, "b s a"]
    values_bse: Float[Tensor, "b s e"]
    mask_bs: Bool[Tensor, "b s"]


class AttentionOutput(NamedTuple):
    """Contexts and attention weights of q queries per sentence.

    Attributes:
        context_bqe: weighted sums of the values
        weights_bqs: attention weights
        auxiliary: arguments of `Mechanism.auxiliary_loss`
    """

    context_bqe: Float[Tensor, "b q e"]
    weights_bqs: Float[Tensor, "b q s"]
    auxiliary: tuple[Tensor, ...] = ()


class AttentionStep(NamedTuple):
    """One reading a hypothesis, and the mechanism's new state."""

    context_ne: Float[Tensor, "n e"]
    weights_ns: Float[Tensor, "n s"]
    auxiliary: tuple[Tensor, ...]
    state: Any


class Mechanism(FusedSupport, nn.Module, ABC):
    """Turns queries into readings.

    The queries of one sentence, axis q, are its hypotheses in search or its target positions in
    training: both share the sentence's memory, which is never copied for them.

    Attributes:
        recurrent: whether a reading depends on the readings before it
        normalised: whether the weights of a reading sum to one
        context_is_linear: whether a context is a linear function of `AttentionMemory.values_bse`,
            such as their weighted sum
    """

    fused_methods = ("start", "forward", "attend")
    recurrent: bool = False
    normalised: bool = True
    context_is_linear: bool = False

    @abstractmethod
    def prepare(self, source: Encoded) -> AttentionMemory:
        """Keys and values of a source; once a sentence."""

    def start(self, memory: AttentionMemory) -> Any:
        """What the mechanism remembers before its first reading: n rows, or nothing."""
        return ()

    @abstractmethod
    def forward(
        self, query_bqd: Float[Tensor, "b q d"], memory: AttentionMemory, state: Any
    ) -> tuple[AttentionOutput, Any]:
        """Readings of q queries a sentence that do not depend on each other."""

    def auxiliary_loss(
        self,
        auxiliary: tuple[Tensor, ...],
        nll_bt: Float[Tensor, "b t"],
        mask_bt: Bool[Tensor, "b t"],
    ) -> Float[Tensor, ""] | None:
        """What this way of looking adds to the loss; see `Decoder.auxiliary_loss`."""
        return None

    def attend(
        self, query_nd: Float[Tensor, "n d"], memory: AttentionMemory, state: Any
    ) -> AttentionStep:
        """One reading a hypothesis."""
        sentences = memory.mask_bs.size(0)
        query_bkd = query_nd.unflatten(0, (sentences, -1))  # type: ignore[no-untyped-call]
        reading, state = self(query_bkd, memory, state)
        context_ne, weights_ns = (
            reading.context_bqe.flatten(0, 1),
            reading.weights_bqs.flatten(0, 1),
        )
        return AttentionStep(
            context_ne, weights_ns, tuple(p.flatten(0, 1) for p in reading.auxiliary), state
        )


AttentionFactory = Callable[[int], Mechanism]
"""Query width -> attention over the source: a decoder asks for one for each layer that looks."""


Softmax = Callable[[Tensor, Tensor], Tensor]
"""(energies_bqs, mask_bs) -> weights_bqs"""


def mask_energies(
    energies_bqs: Float[Tensor, "b q s"], mask_bs: Bool[Tensor, "b s"]
) -> Float[Tensor, "b q s"]:
    """Set the energies of padding to minus infinity."""
    return energies_bqs.masked_fill(~mask_bs[:, None], float("-inf"))


def masked_softmax(
    energies_bqs: Float[Tensor, "b q s"], mask_bs: Bool[Tensor, "b s"]
) -> Float[Tensor, "b q s"]:
    """Compute weights that sum to one over the real positions and are exactly zero in padding."""
    return mask_energies(energies_bqs, mask_bs).softmax(dim=-1)
