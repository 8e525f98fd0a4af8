"""Multi-head attention for recurrent decoders."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from nmt.component_spec import Positive
from nmt.model.attention.mechanism import AttentionMemory, AttentionOutput, Mechanism
from nmt.model.interfaces import Encoded
from nmt.model.layers.multi_head import CrossAttention, Heads, split
from nmt.registry import MECHANISMS


@MECHANISMS.register("multi_head")
class MultiHeadAttention(Mechanism):
    """Multi-head attention with scaled dot products. Vaswani et al. 2017, section 3.2.2.

    The context is W [c_1; ...; c_h], as wide as an annotation, and the reported weights are the
    mean over the heads. Recurrent decoders benefit from several heads as well: Chen et al. 2018,
    section 6.1, with additive scores.

    Args:
        heads: number of heads, a divisor of the width of an annotation
    """

    def __init__(self, query_size: int, key_size: int, *, heads: Positive = 4) -> None:
        super().__init__()
        self.attention = CrossAttention(query_size, key_size, key_size, heads)

    def prepare(self, source: Encoded) -> AttentionMemory:
        return AttentionMemory(*self.attention.project(source.states_bse), source.mask_bs)

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], memory: AttentionMemory, state: Any
    ) -> tuple[AttentionOutput, Any]:
        keys_bsa, values_bse, mask_bs = memory
        heads = self.attention.heads
        parts = Heads(split(keys_bsa, heads), split(values_bse, heads))
        return AttentionOutput(*self.attention.look(query_bqd, parts, mask_bs)), state
