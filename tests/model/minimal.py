"""A decoder without attention and a mechanism without a score."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from nmt.component_spec import Positive
from nmt.model.attention.mechanism import AttentionMemory, AttentionOutput, Mechanism
from nmt.model.interfaces import Decoder, Encoded, SourceSizes, StepOutput


class BlindDecoder(Decoder[tuple[()], Tensor]):
    """Decoder with h_t = tanh(W [y_{t-1}; h_{t-1}]) and h_0 = tanh(V ←h_1).

    Args:
        hidden_size: width of the state
    """

    def __init__(
        self, embedding_size: int, source: SourceSizes, *, hidden_size: Positive = 64
    ) -> None:
        super().__init__()
        self.output_size = hidden_size
        self.first = nn.Linear(source.final_state, hidden_size)
        self.cell = nn.RNNCell(embedding_size, hidden_size)

    def start(self, source: Encoded) -> tuple[tuple[()], Float[Tensor, "n d"]]:
        return (), self.first(source.final_state_bx).tanh()

    def step(
        self, embedded_nm: Float[Tensor, "n m"], memory: object, state: Float[Tensor, "n d"]
    ) -> StepOutput[Tensor]:
        hidden_nd = self.cell(embedded_nm, state)
        return StepOutput(hidden_nd, None, hidden_nd)


class UniformAttention(Mechanism):
    """Attention whose context is the mean of all annotations."""

    def prepare(self, source: Encoded) -> AttentionMemory:
        return AttentionMemory(source.states_bse, source.states_bse, source.mask_bs)

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], memory: AttentionMemory, state: Any
    ) -> tuple[AttentionOutput, Any]:
        real_b1s = memory.mask_bs[:, None].to(query_bqd.dtype)
        weights_bqs = (real_b1s / real_b1s.sum(-1, keepdim=True)).expand(-1, query_bqd.size(1), -1)
        return AttentionOutput(weights_bqs @ memory.values_bse, weights_bqs), state
