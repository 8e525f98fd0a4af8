"""Multi-head attention for recurrent decoders."""

from jaxtyping import Float
from torch import Tensor

from nmt.component_spec import Count
from nmt.model.attention.mechanism import (
    AttentionMemory,
    AttentionOutput,
    AttentionState,
    Mechanism,
)
from nmt.model.interfaces import Encoded
from nmt.model.layers.multi_head import CrossAttention, Heads, split_heads
from nmt.registry import MECHANISMS


@MECHANISMS.register("multi_head")
class MultiHeadAttention(Mechanism):
    """Multi-head attention with scaled dot products. Vaswani et al. 2017, section 3.2.2.

    The context W [c_1; ...; c_h] is as wide as an annotation. The weights are the mean over the
    heads. Chen et al. 2018, section 6.1, use several heads in recurrent decoders too, with additive
    scores.

    Args:
        heads: number of heads; the width of an annotation must be a multiple of it
    """

    def __init__(self, query_size: int, key_size: int, *, heads: Count = 4) -> None:
        super().__init__()
        self.attention = CrossAttention(query_size, key_size, key_size, heads)

    def prepare(self, source: Encoded) -> AttentionMemory:
        return AttentionMemory(*self.attention.project(source.states_bse), source.mask_bs)

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], memory: AttentionMemory, state: AttentionState
    ) -> tuple[AttentionOutput, AttentionState]:
        keys_bsa, values_bse, mask_bs = memory
        heads = self.attention.heads
        # Views; memory stores the heads concatenated, as `AttentionMemory` requires.
        parts = Heads(split_heads(keys_bsa, heads), split_heads(values_bse, heads))
        return AttentionOutput(*self.attention.with_weights(query_bqd, parts, mask_bs)), state
