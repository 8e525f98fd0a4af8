"""Transformer decoder of Vaswani et al. 2017."""

from collections.abc import Iterable
from typing import Literal, NamedTuple, cast

from jaxtyping import Bool, Float
from torch import Tensor, nn

from nmt.component_spec import Positive, Probability
from nmt.model.interfaces import Decoder, DecoderOutput, Encoded, SourceSizes, StepOutput
from nmt.model.layers.cell import compute_dtype
from nmt.model.layers.dropout import dropout as drop
from nmt.model.layers.feed_forward import FeedForward, LayerDesign, Residual, last_norm
from nmt.model.layers.multi_head import CrossAttention, Heads, SelfAttention
from nmt.model.layers.positions import make_positions
from nmt.registry import DECODERS


class TransformerMemory(NamedTuple):
    """The source, projected once a sentence for every layer."""

    layers: tuple[Heads, ...]
    mask_bs: Bool[Tensor, "b s"]


TransformerState = tuple[Heads, ...]
"""Keys and values of a hypothesis' own positions in every layer; one position more each step."""


@DECODERS.register("transformer")
class TransformerDecoder(Decoder):
    """Transformer decoder: self-attention and source attention. Vaswani et al. 2017, section 3.1.

    The layers are as wide as an embedding. With known targets, all positions are computed at once;
    a step attends to the keys and values that the previous steps stored. The k hypotheses of a
    sentence are k queries to its one memory.

    The reported weights are the mean over the heads of one layer's attention to the source, by
    default of the penultimate layer, which aligns best in Garg et al. 2019, section 4.1.

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
        alignment_layer: layer whose attention weights are reported, 1 is the lowest (default: the
            penultimate layer)
    """

    def __init__(
        self,
        embedding_size: int,
        source: SourceSizes,
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
        alignment_layer: Positive | None = None,
    ) -> None:
        super().__init__()
        if alignment_layer and alignment_layer > layers:
            raise ValueError(
                f"alignment_layer {alignment_layer} is above the top of {layers} layers; "
                f"use 1 to {layers}"
            )
        self.output_size, self.dropout = embedding_size, dropout
        self.alignment_layer = alignment_layer or max(1, layers - 1)
        design = LayerDesign(
            embedding_size, heads, feed_forward_size, dropout, attention_dropout, activation, norm
        )
        self.heads = heads
        self.positions = make_positions(positions, embedding_size, max_length)
        self.stack = nn.ModuleList(DecoderLayer(design, source.annotation) for _ in range(layers))
        self.norm = last_norm(design)

    @property
    def _stacked(self) -> Iterable["DecoderLayer"]:
        # torch types the elements of a ModuleList as Module, whatever they are.
        return cast(Iterable[DecoderLayer], self.stack)

    def start(self, source: Encoded) -> tuple[TransformerMemory, TransformerState]:
        memory = self._prepare(source)
        sentences, size = source.mask_bs.size(0), self.output_size // self.heads
        none_bh0x = source.states_bse.new_empty(
            (sentences, self.heads, 0, size), dtype=compute_dtype(source.states_bse)
        )
        return memory, tuple(Heads(none_bh0x, none_bh0x) for _ in memory.layers)

    def step(
        self,
        embedded_nm: Float[Tensor, "n m"],
        memory: TransformerMemory,
        state: TransformerState,
    ) -> StepOutput:
        position = state[0].keys_bhsx.size(2)
        states_nd = self._place(embedded_nm[:, None], position)[:, 0]
        pasts, weights = [], []
        for layer, source, past in zip(self._stacked, memory.layers, state, strict=True):
            states_nd, weights_ns, past = layer.step(states_nd, source, memory.mask_bs, past)
            pasts.append(past)
            weights.append(weights_ns)
        return StepOutput(self.norm(states_nd), weights[self.alignment_layer - 1], tuple(pasts))

    def forward(self, embedded_btm: Float[Tensor, "b t m"], source: Encoded) -> DecoderOutput:
        memory = self._prepare(source)
        states_btd = self._place(embedded_btm, 0)
        for layer, heads in zip(self._stacked, memory.layers, strict=True):
            states_btd = layer(states_btd, heads, memory.mask_bs)
        return DecoderOutput(self.norm(states_btd))

    def _prepare(self, source: Encoded) -> TransformerMemory:
        layers = [layer.cross_attention.prepare(source.states_bse) for layer in self._stacked]
        return TransformerMemory(tuple(layers), source.mask_bs)

    def _place(self, embedded_btm: Tensor, start: int) -> Tensor:
        return drop(self.positions(embedded_btm, start), self.dropout, self.training)


class DecoderLayer(nn.Module):
    """Self-attention, attention to the source, feed-forward. Vaswani et al. 2017, figure 1, right.

    Args:
        design: sizes and options
        key_size: width of an annotation
    """

    def __init__(self, design: LayerDesign, key_size: int) -> None:
        super().__init__()
        width, heads, dropout = design.width, design.heads, design.attention_dropout
        self.self_attention = SelfAttention(width, heads, dropout)
        self.cross_attention = CrossAttention(width, key_size, width, heads, dropout)
        self.feed_forward = FeedForward(width, design.feed_forward_size, design.activation)
        self.around_self, self.around_cross = Residual(design), Residual(design)
        self.around_feed = Residual(design)

    def forward(
        self,
        states_btd: Float[Tensor, "b t d"],
        memory: Heads,
        mask_bs: Bool[Tensor, "b s"],
    ) -> Float[Tensor, "b t d"]:
        """All target positions at once."""
        found_btd = self.self_attention(self.around_self.enter(states_btd), causal=True)
        states_btd = self.around_self.leave(states_btd, found_btd)
        found_btd = self.cross_attention(self.around_cross.enter(states_btd), memory, mask_bs)
        return self._feed(self.around_cross.leave(states_btd, found_btd))

    def step(
        self,
        states_nd: Float[Tensor, "n d"],
        memory: Heads,
        mask_bs: Bool[Tensor, "b s"],
        past: Heads,
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n s"], Heads]:
        """The next target position, where it looked, and the past with it."""
        found_nd, past = self.self_attention.step(self.around_self.enter(states_nd), past)
        states_nd = self.around_self.leave(states_nd, found_nd)
        query_nd = self.around_cross.enter(states_nd)
        query_bkd = query_nd.unflatten(0, (mask_bs.size(0), -1))  # type: ignore[no-untyped-call]
        found_bkd, weights_bks = self.cross_attention.look(query_bkd, memory, mask_bs)
        states_nd = self._feed(self.around_cross.leave(states_nd, found_bkd.flatten(0, 1)))
        return states_nd, weights_bks.flatten(0, 1), past

    def _feed(self, states: Float[Tensor, "*axes d"]) -> Float[Tensor, "*axes d"]:
        found = self.feed_forward(self.around_feed.enter(states))
        return self.around_feed.leave(states, found)
