"""The encoder-decoder model of log p(target | source), and its embeddings."""

from math import sqrt
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nmt.data.batch import Source, TokenGroups
from nmt.model.attention.mechanism import AttentionMemory, Mechanism
from nmt.model.interfaces import (
    AnyDecoder,
    DecoderOutput,
    Encoded,
    Encoder,
    Memory,
    Prediction,
    State,
    align_read_tokens,
)
from nmt.model.layers.dropout import dropout as apply_dropout
from nmt.model.layers.embedding import embed
from nmt.model.layers.linear import xavier
from nmt.model.layers.recurrent_stack import dropped_weights

Tying = Literal["none", "decoder", "all"]


class Embedding(nn.Module):
    """A table with one vector per token, initialized with N(0, 1).

    With a smaller initialization, such as N(0, 1/m), the gates receive small inputs, and the same
    model needs several times as many updates. A table that is also the output layer contains
    N(0, 1/m), so that logits begin at unit scale, and its vectors are multiplied by √m; Vaswani et
    al. 2017, section 3.4.

    Args:
        tokens: size of the vocabulary
        size: width m
        dropout: dropout rate of single units
        word_dropout: dropout rate of whole vectors; Sennrich et al. 2016, WMT
        tied: whether the table is also the output layer
    """

    def __init__(
        self,
        tokens: int,
        size: int,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        *,
        tied: bool = False,
    ) -> None:
        super().__init__()
        self.table = nn.Embedding(tokens, size)
        self.scale = sqrt(size) if tied else 1.0
        # N(0, 1), or N(0, 1/m) for a tied table.
        nn.init.normal_(self.table.weight, std=1 / self.scale)
        self.dropout, self.word_dropout = dropout, word_dropout

    @property
    def weight(self) -> Float[Tensor, "v m"]:
        """Return the table, one row per token."""
        return self.table.weight

    def forward(
        self, tokens: Int[Tensor, "*axes"], groups: TokenGroups | None = None
    ) -> Float[Tensor, "*axes m"]:
        """Look up tokens; with their groups, a Triton kernel computes the gradient on a GPU."""
        embedded: Tensor = (
            self.table(tokens) if groups is None else embed(tokens, self.weight, groups)
        )
        embedded = apply_dropout(self.scale * embedded, self.dropout, self.training)
        if not self.training or not self.word_dropout:
            return embedded
        # One random number per token, which acts on all units of its vector.
        return (
            embedded * apply_dropout(embedded.new_ones(tokens.shape), self.word_dropout)[..., None]
        )


class AlignedMemory(NamedTuple):
    """Memory of a decoder, and that of the attention for alignments."""

    decoder: Memory
    alignment: AttentionMemory


def split_memory(memory: Memory) -> tuple[Memory, AttentionMemory | None]:
    """Return the memory of the decoder, and that of the attention for alignments or None."""
    if isinstance(memory, AlignedMemory):
        return memory.decoder, memory.alignment
    return memory, None


class Seq2Seq(nn.Module):
    """An encoder, a decoder, the embeddings of both sides, and an output layer.

    An attention for word alignments has no effect on translations. Its query consists of the
    embedding of the aligned token y_t and of the decoder output o, the input of the output layer,
    of the next step, which has read y_t:

        α_t = attend([o_{t+1}; y_t], h)     Chen et al. 2020, "Accurate Word Alignment Induction
                                            from Neural Machine Translation", section 3.2

    Attention of the decoder at step t is computed before y_t is known. As in the paper, the decoder
    does not learn by the alignments: o has no gradient. Encoder and embeddings do.

    Args:
        source_embedding: embedding of source tokens; None for an encoder of images
        encoder: the encoder
        target_embedding: embedding of target tokens
        decoder: the decoder
        alignment: the attention for alignments; None if the decoder's attention aligns
        tied: `decoder` shares the target embedding with the output layer, `all` also with the
            source embedding; Press and Wolf 2017

    Raises:
        ValueError: tied tables have different shapes
    """

    def __init__(
        self,
        source_embedding: Embedding | None,
        encoder: Encoder,
        target_embedding: Embedding,
        decoder: AnyDecoder,
        *,
        alignment: Mechanism | None = None,
        tied: Tying = "none",
    ) -> None:
        super().__init__()
        self.source_embedding, self.encoder = source_embedding, encoder
        self.target_embedding, self.decoder = target_embedding, decoder
        self.alignment = alignment
        tokens, size = target_embedding.weight.shape
        self.output_layer = nn.Linear(decoder.output_size, tokens)
        nn.init.zeros_(self.output_layer.bias)
        if tied == "none":
            self.output_layer.weight = nn.Parameter(xavier(tokens, decoder.output_size))
            return
        if decoder.output_size != size:
            raise ValueError(
                f"tied_embeddings '{tied}' requires a decoder output as wide as an embedding, got "
                f"{decoder.output_size} and {size}; make them equal or use 'none'"
            )
        # One parameter for both modules, so the optimizer and checkpoints have it once.
        self.output_layer.weight = target_embedding.weight
        if tied == "all":
            if source_embedding is None:
                raise ValueError(
                    "tied_embeddings 'all' requires a source vocabulary, and images have none; use "
                    "'decoder'"
                )
            if source_embedding.weight.shape != target_embedding.weight.shape:
                raise ValueError(
                    "tied_embeddings 'all' requires one vocabulary for both sides; set "
                    "data.vocabulary.joint or use 'decoder'"
                )
            source_embedding.table.weight = target_embedding.weight

    @property
    def output_weights(self) -> tuple[Float[Tensor, "v d"], Float[Tensor, " v"]]:
        """Return weight and bias of the output layer, for the loss."""
        return self.output_layer.weight, self.output_layer.bias

    def encode(
        self,
        source: Source,
        source_mask_bs: Bool[Tensor, "b _"],
        groups: TokenGroups | None = None,
    ) -> Encoded:
        """Encode a batch of source sentences or images."""
        # An encoder of images reads pixels or features, not embeddings.
        if self.source_embedding is not None:
            source = self.source_embedding(source, groups)
        return self.encoder(source, source_mask_bs)

    def forward(
        self,
        source: Source,
        source_mask_bs: Bool[Tensor, "b _"],
        target_in_bt: Int[Tensor, "b t"],
        *,
        source_groups: TokenGroups | None = None,
        target_groups: TokenGroups | None = None,
        need_weights: bool = False,
    ) -> DecoderOutput:
        """Compute the inputs of the output layer at every target position (teacher forcing).

        The loss multiplies them by the output layer, a part of the positions at a time.

        Args:
            source, source_mask_bs: tokens or images, and the mask of their positions
            target_in_bt: tokens before each target position
            source_groups, target_groups: their tokens by groups, for training on a GPU
            need_weights: whether to return the attention weights
        """
        with dropped_weights(self):
            encoded = self.encode(source, source_mask_bs, source_groups)
            embedded_btm = self.target_embedding(target_in_bt, target_groups)
            # A decoder from elsewhere may not have the parameter.
            options = {"need_weights": True} if need_weights else {}
            output: DecoderOutput = self.decoder(embedded_btm, encoded, **options)
            if need_weights and self.alignment is not None:
                memory = self.alignment.prepare(encoded)
                query_btx = torch.cat([output.output_btd.detach(), embedded_btm], dim=-1)
                attended, _ = self.alignment(query_btx, memory, ())
                output = output._replace(alignment_bts=align_read_tokens(attended.weights_bqs))
            return output

    def start(self, source: Source, source_mask_bs: Bool[Tensor, "b _"]) -> tuple[Memory, State]:
        """Encode a batch of sources; return memory and initial state of the decoder."""
        encoded = self.encode(source, source_mask_bs)
        memory, state = self.decoder.start(encoded)
        return self.with_alignment(memory, encoded), state

    def with_alignment(self, memory: Memory, source: Encoded) -> Memory:
        """Return the memory of the decoder, with that of the attention for alignments, if any."""
        if self.alignment is None:
            return memory
        return AlignedMemory(memory, self.alignment.prepare(source))

    def align(
        self,
        tokens_n: Int[Tensor, " n"],
        output_nd: Float[Tensor, "n d"],
        memory: AttentionMemory | None,
    ) -> Float[Tensor, "n s"] | None:
        """Return the weights that align the last tokens, which a decoder output has read, or None.

        Args:
            tokens_n: last tokens of n hypotheses
            output_nd: decoder outputs of the step that has read them
            memory: memory of the attention for alignments
        """
        if self.alignment is None or memory is None:
            return None
        query_nx = torch.cat([output_nd, self.target_embedding(tokens_n)], dim=-1)
        return self.alignment.attend(query_nx, memory, ()).weights_ns

    def step(self, tokens_n: Int[Tensor, " n"], memory: Memory, state: State) -> Prediction:
        """Return the distribution of the next token of n hypotheses, given their last tokens.

        `nmt.inference.compile_model` makes a copy that computes the same faster.
        """
        memory, alignment = split_memory(memory)
        embedded_nm = self.target_embedding(tokens_n)
        output = self.decoder.step(embedded_nm, memory, state)
        # Search adds log-probabilities over many steps, so they are float32 in any case.
        logits_nv = self.output_layer(output.output_nd).float()
        return Prediction(
            logits_nv.log_softmax(dim=-1),
            output.weights_ns,
            output.state,
            alignment_ns=self.align(tokens_n, output.output_nd, alignment),
        )
