"""Transformer encoder of Vaswani et al. 2017."""

from collections.abc import Iterable
from typing import Literal, cast

from jaxtyping import Bool, Float
from torch import Tensor, nn

from nmt.component_spec import Positive, Probability
from nmt.model.interfaces import Encoded, Encoder, LayerStates
from nmt.model.layers.dropout import dropout as drop
from nmt.model.layers.feed_forward import FeedForward, LayerDesign, Residual, last_norm
from nmt.model.layers.multi_head import SelfAttention
from nmt.model.layers.positions import make_positions
from nmt.registry import ENCODERS


@ENCODERS.register("transformer")
class TransformerEncoder(Encoder):
    """Transformer encoder: layers of self-attention. Vaswani et al. 2017, section 3.1.

    The annotations are as wide as an embedding. The final state is the mean of a sentence's
    annotations; there is no final state per layer, because nothing is read in an order.

    Args:
        layers: number of layers
        heads: heads per attention, a divisor of the width
        feed_forward_size: units of a feed-forward sublayer
        dropout: dropout rate of the embeddings with positions and of each sublayer's output
        attention_dropout: dropout rate of the attention weights
        activation: activation of the feed-forward sublayers
        norm: layer normalization after the residual connection (post) or before the sublayer (pre);
            Xiong et al. 2020
        positions: fixed sinusoids or learned embeddings
        max_length: number of learned positions, in tokens (default: 1024)
    """

    has_cells = False

    def __init__(
        self,
        embedding_size: int,
        *,
        layers: Positive = 6,
        heads: Positive = 8,
        feed_forward_size: Positive = 2048,
        dropout: Probability = 0.1,
        attention_dropout: Probability = 0.0,
        activation: Literal["relu", "gelu"] = "relu",
        norm: Literal["post", "pre"] = "post",
        positions: Literal["sinusoid", "learned"] = "sinusoid",
        max_length: Positive | None = None,
    ) -> None:
        super().__init__()
        self.output_size = self.final_state_size = embedding_size
        self.layers, self.dropout = 0, dropout
        design = LayerDesign(
            embedding_size, heads, feed_forward_size, dropout, attention_dropout, activation, norm
        )
        self.positions = make_positions(positions, embedding_size, max_length)
        self.stack = nn.ModuleList(EncoderLayer(design) for _ in range(layers))
        self.norm = last_norm(design)

    @property
    def _stacked(self) -> Iterable["EncoderLayer"]:
        # torch types the elements of a ModuleList as Module, whatever they are.
        return cast(Iterable[EncoderLayer], self.stack)

    def forward(
        self, embedded_bsm: Float[Tensor, "b s m"], mask_bs: Bool[Tensor, "b s"]
    ) -> Encoded:
        padding_bs1 = ~mask_bs[:, :, None]
        # Whatever stood in the padding, NaN too: a weight of zero would not keep it out.
        states_bse = self.positions(embedded_bsm.masked_fill(padding_bs1, 0.0))
        states_bse = drop(states_bse, self.dropout, self.training)
        for layer in self._stacked:
            states_bse = layer(states_bse, mask_bs)
        states_bse = self.norm(states_bse).masked_fill(padding_bs1, 0.0)
        summary_be = states_bse.sum(dim=1) / mask_bs.sum(dim=1, keepdim=True)
        return Encoded(states_bse, mask_bs, summary_be, LayerStates(states_bse[:, :0], None))


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward. Vaswani et al. 2017, figure 1, left.

    Args:
        design: sizes and options
    """

    def __init__(self, design: LayerDesign) -> None:
        super().__init__()
        self.self_attention = SelfAttention(design.width, design.heads, design.attention_dropout)
        self.feed_forward = FeedForward(design.width, design.feed_forward_size, design.activation)
        self.around_self, self.around_feed = Residual(design), Residual(design)

    def forward(
        self, states_bsd: Float[Tensor, "b s d"], mask_bs: Bool[Tensor, "b s"]
    ) -> Float[Tensor, "b s d"]:
        found_bsd = self.self_attention(self.around_self.enter(states_bsd), mask_bs)
        states_bsd = self.around_self.leave(states_bsd, found_bsd)
        found_bsd = self.feed_forward(self.around_feed.enter(states_bsd))
        return self.around_feed.leave(states_bsd, found_bsd)
