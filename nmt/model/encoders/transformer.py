"""The encoder of Vaswani et al. 2017: layers of self-attention."""

from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor, nn

from nmt.component_spec import Count, Length, Probability, Size
from nmt.model.interfaces import Encoded, Encoder, LayerStates
from nmt.model.layers.arithmetic import TORCH_ARITHMETIC, Arithmetic
from nmt.model.layers.dropout import dropout as apply_dropout
from nmt.model.layers.multi_head import SelfAttention
from nmt.model.layers.recurrent_stack import Layers
from nmt.model.layers.transformer import (
    FeedForward,
    LayerDesign,
    Residual,
    final_norm,
    make_positions,
)
from nmt.registry import ENCODERS


@ENCODERS.register("transformer")
class TransformerEncoder(Encoder):
    """Transformer encoder: layers of self-attention. Vaswani et al. 2017, section 3.1.

    All layers are as wide as an embedding. The final state is the mean annotation of a sentence.
    It has no layer states, because its layers have no reading order.

    Args:
        layers: number of layers
        heads: number of attention heads; the width of an embedding must be a multiple of it
        feed_forward_size: width of the feed-forward sublayers
        dropout: dropout rate of the input and of the output of each sublayer
        attention_dropout: dropout rate of attention weights
        activation: activation of the feed-forward sublayers
        norm: layer norm after the residual connection, or before the sublayer as in Xiong et al.
            2020
        positions: position embeddings
        max_length: number of learned positions, in tokens (default: 1024)
    """

    has_cells = False
    arithmetic: Arithmetic = TORCH_ARITHMETIC

    def __init__(
        self,
        embedding_size: int,
        *,
        layers: Count = 6,
        heads: Count = 8,
        feed_forward_size: Size = 2048,
        dropout: Probability = 0.1,
        attention_dropout: Probability = 0.0,
        activation: Literal["relu", "gelu"] = "relu",
        norm: Literal["post", "pre"] = "post",
        positions: Literal["sinusoid", "learned"] = "sinusoid",
        max_length: Length | None = None,
    ) -> None:
        super().__init__()
        # The residual connections require one width throughout.
        self.output_size = self.final_state_size = embedding_size
        # No recurrent layers whose states a decoder could copy.
        self.layers, self.dropout = 0, dropout
        design = LayerDesign(
            embedding_size, heads, feed_forward_size, dropout, attention_dropout, activation, norm
        )
        self.positions = make_positions(positions, embedding_size, max_length)
        self.stack = Layers(EncoderLayer(design) for _ in range(layers))
        self.norm = final_norm(design)

    def forward(
        self, embedded_bsm: Float[Tensor, "b s m"], mask_bs: Bool[Tensor, "b s"]
    ) -> Encoded:
        padding_bs1 = ~mask_bs[:, :, None]
        # Also clears NaN in padding, which a weight of zero would not keep out.
        states_bse = self.positions(embedded_bsm.masked_fill(padding_bs1, 0.0))
        states_bse = apply_dropout(states_bse, self.dropout, self.training)
        for layer in self.stack:
            states_bse = layer(states_bse, mask_bs)
        # The residual connections and biases make padding nonzero again.
        states_bse = self.norm(states_bse).masked_fill(padding_bs1, 0.0)
        # Padding is zero, so the sum is over real positions.
        mean_be = self.arithmetic.sum_positions(states_bse) / mask_bs.sum(dim=1, keepdim=True)
        return Encoded(states_bse, mask_bs, mean_be, LayerStates(states_bse[:, :0], None))


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
        output_bsd = self.self_attention(self.around_self.enter(states_bsd), mask_bs)
        states_bsd = self.around_self.leave(states_bsd, output_bsd)
        output_bsd = self.feed_forward(self.around_feed.enter(states_bsd))
        return self.around_feed.leave(states_bsd, output_bsd)
