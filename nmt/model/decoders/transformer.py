"""The decoder of Vaswani et al. 2017: layers of self-attention and attention to the source."""

from typing import Literal, NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor, nn

from nmt.component_spec import Count, Length, Probability, Size
from nmt.model.interfaces import Decoder, DecoderOutput, Encoded, SourceSizes, StepOutput
from nmt.model.layers.dropout import dropout as apply_dropout
from nmt.model.layers.multi_head import CrossAttention, Heads, SelfAttention
from nmt.model.layers.recurrent import compute_dtype
from nmt.model.layers.recurrent_stack import Layers
from nmt.model.layers.transformer import (
    FeedForward,
    LayerDesign,
    Residual,
    final_norm,
    make_positions,
)
from nmt.registry import DECODERS


class TransformerMemory(NamedTuple):
    """Keys and values of the source in every layer."""

    layers: tuple[Heads, ...]
    mask_bs: Bool[Tensor, "b s"]


TransformerState = tuple[Heads, ...]
"""Keys and values of a hypothesis's own positions in every layer; one more position per step."""


@DECODERS.register("transformer")
class TransformerDecoder(Decoder[TransformerMemory, TransformerState]):
    """Transformer decoder: self-attention and source attention. Vaswani et al. 2017, section 3.1.

    All layers are as wide as an embedding. Teacher forcing decodes all target positions at once; a
    step uses the cached keys and values of earlier steps. The hypotheses of a sentence are queries
    to one shared memory.

    The attention weights of an alignment are those of one head, or the mean over the heads, of one
    layer's attention to the source, by default of the last but one, which aligns best in Garg et
    al. 2019, section 4.1.

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
        alignment_layer: layer of the alignment, from 1 at the bottom (default: the last but one)
        alignment_head: head of the alignment, from 1 (default: the mean over the heads, or, with
            `training.guided_alignment`, 1)
    """

    def __init__(
        self,
        embedding_size: int,
        source: SourceSizes,
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
        alignment_layer: Count | None = None,
        alignment_head: Count | None = None,
    ) -> None:
        super().__init__()
        if alignment_layer and alignment_layer > layers:
            raise ValueError(
                f"alignment_layer {alignment_layer} exceeds the number of layers, {layers}; use 1 "
                f"to {layers}"
            )
        if alignment_head and alignment_head > heads:
            raise ValueError(
                f"alignment_head {alignment_head} exceeds the number of heads, {heads}; use 1 to "
                f"{heads}"
            )
        self.output_size, self.dropout = embedding_size, dropout
        # The last but one layer, or the only one.
        self.alignment_layer = alignment_layer or max(1, layers - 1)
        design = LayerDesign(
            embedding_size, heads, feed_forward_size, dropout, attention_dropout, activation, norm
        )
        self.heads, self.alignment_head = heads, alignment_head
        self.positions = make_positions(positions, embedding_size, max_length)
        self.stack = Layers(DecoderLayer(design, source.annotation) for _ in range(layers))
        self.norm = final_norm(design)

    def start(self, source: Encoded) -> tuple[TransformerMemory, TransformerState]:
        memory = self._prepare(source)
        sentences, size = source.mask_bs.size(0), self.output_size // self.heads
        # In the type of the products that will extend it, also under autocast.
        empty_bh0w = source.states_bse.new_empty(
            (sentences, self.heads, 0, size), dtype=compute_dtype(source.states_bse)
        )
        return memory, tuple(Heads(empty_bh0w, empty_bh0w) for _ in memory.layers)

    def step(
        self,
        embedded_nm: Float[Tensor, "n m"],
        memory: TransformerMemory,
        state: TransformerState,
    ) -> StepOutput[TransformerState]:
        # As many positions as have been decoded: the state needs no counter.
        position = state[0].keys_bhsw.size(2)
        states_nd = self._input(embedded_nm[:, None], position)[:, 0]
        pasts, weights = [], []
        for layer, source, past in zip(self.stack, memory.layers, state, strict=True):
            # The weights of all layers are computed; one of them is the alignment.
            states_nd, weights_ns, past = layer.step(
                states_nd, source, memory.mask_bs, past, self.alignment_head
            )
            pasts.append(past)
            weights.append(weights_ns)
        return StepOutput(self.norm(states_nd), weights[self.alignment_layer - 1], tuple(pasts))

    def forward(
        self, embedded_btm: Float[Tensor, "b t m"], source: Encoded, *, need_weights: bool = False
    ) -> DecoderOutput:
        memory = self._prepare(source)
        states_btd, weights_bts = self._input(embedded_btm, 0), None
        for number, (layer, heads) in enumerate(
            zip(self.stack, memory.layers, strict=True), start=1
        ):
            if need_weights and number == self.alignment_layer:
                states_btd, weights_bts = layer.with_weights(
                    states_btd, heads, memory.mask_bs, self.alignment_head
                )
            else:
                # Without weights a GPU can use kernels that do not return them.
                states_btd = layer(states_btd, heads, memory.mask_bs)
        return DecoderOutput(self.norm(states_btd), weights_bts=weights_bts)

    def _prepare(self, source: Encoded) -> TransformerMemory:
        layers = [layer.cross_attention.prepare(source.states_bse) for layer in self.stack]
        return TransformerMemory(tuple(layers), source.mask_bs)

    def _input(self, embedded_btm: Tensor, start: int) -> Tensor:
        return apply_dropout(self.positions(embedded_btm, start), self.dropout, self.training)


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
        """Compute the outputs of all target positions."""
        states_btd = self._attend_to_target(states_btd)
        output_btd = self.cross_attention(self.around_cross.enter(states_btd), memory, mask_bs)
        return self._feed(self.around_cross.leave(states_btd, output_btd))

    def with_weights(
        self,
        states_btd: Float[Tensor, "b t d"],
        memory: Heads,
        mask_bs: Bool[Tensor, "b s"],
        head: int | None,
    ) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b t s"]]:
        """Compute `forward`, and the weights of one head or the mean over the heads."""
        states_btd = self._attend_to_target(states_btd)
        query_btd = self.around_cross.enter(states_btd)
        output_btd, weights_bts = self.cross_attention.with_weights(
            query_btd, memory, mask_bs, head
        )
        return self._feed(self.around_cross.leave(states_btd, output_btd)), weights_bts

    def step(
        self,
        states_nd: Float[Tensor, "n d"],
        memory: Heads,
        mask_bs: Bool[Tensor, "b s"],
        past: Heads,
        head: int | None,
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n s"], Heads]:
        """Compute output, weights of the source and extended past of the next target position."""
        output_nd, past = self.self_attention.step(self.around_self.enter(states_nd), past)
        states_nd = self.around_self.leave(states_nd, output_nd)
        query_nd = self.around_cross.enter(states_nd)
        # k queries per sentence attend to one copy of its keys and values.
        query_bkd = query_nd.unflatten(0, (mask_bs.size(0), -1))  # type: ignore[no-untyped-call]
        output_bkd, weights_bks = self.cross_attention.with_weights(
            query_bkd, memory, mask_bs, head
        )
        states_nd = self._feed(self.around_cross.leave(states_nd, output_bkd.flatten(0, 1)))
        return states_nd, weights_bks.flatten(0, 1), past

    def _attend_to_target(self, states_btd: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        # A target position must not attend to later ones.
        output_btd = self.self_attention(self.around_self.enter(states_btd), causal=True)
        return self.around_self.leave(states_btd, output_btd)

    def _feed(self, states: Float[Tensor, "*axes d"]) -> Float[Tensor, "*axes d"]:
        output = self.feed_forward(self.around_feed.enter(states))
        return self.around_feed.leave(states, output)
