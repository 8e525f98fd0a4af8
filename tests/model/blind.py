"""A decoder without attention and attention without a score, to test what such parts need."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from nmt.component_spec import Positive
from nmt.model.attention.mechanism import AttentionMemory, Mechanism, Reading
from nmt.model.interfaces import Decoder, Encoded, SourceSizes, Stepped


class BlindDecoder(Decoder):
    """h_t = tanh(W [y_{t-1}; h_{t-1}]), h_0 = tanh(V ←h_1): the source is seen once.

    Args:
        hidden_size: units of the state
    """

    def __init__(
        self, embedding_size: int, source: SourceSizes, *, hidden_size: Positive = 64
    ) -> None:
        super().__init__()
        self.output_size = hidden_size
        self.first = nn.Linear(source.summary, hidden_size)
        self.cell = nn.RNNCell(embedding_size, hidden_size)

    def start(self, source: Encoded) -> tuple[tuple[()], Float[Tensor, "n d"]]:
        return (), self.first(source.summary_bh).tanh()

    def step(
        self, embedded_nm: Float[Tensor, "n m"], memory: object, state: Float[Tensor, "n d"]
    ) -> Stepped:
        hidden_nd = self.cell(embedded_nm, state)
        return Stepped(hidden_nd, None, hidden_nd)


class UniformAttention(Mechanism):
    """The mean of all annotations."""

    def remember(self, source: Encoded) -> AttentionMemory:
        return AttentionMemory(source.states_bse, source.states_bse, source.mask_bs)

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], memory: AttentionMemory, state: Any
    ) -> tuple[Reading, Any]:
        real_b1s = memory.mask_bs[:, None].to(query_bqd.dtype)
        weights_bqs = (real_b1s / real_b1s.sum(-1, keepdim=True)).expand(-1, query_bqd.size(1), -1)
        return Reading(weights_bqs @ memory.values_bse, weights_bqs), state
