"""The encoder-decoder: log p(target | source), for a known target or a step at a time."""

from typing import Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nmt.data.batch import Source
from nmt.model.embeddings import Embedding
from nmt.model.interfaces import Decoder, DecoderOutput, Encoded, Encoder, Memory, Prediction, State
from nmt.model.layers.initial import xavier

Tying = Literal["none", "decoder", "all"]


class Seq2Seq(nn.Module):
    """An encoder, a decoder, and the tables of pieces on both sides.

    Args:
        source_embedding: of source pieces; None for an encoder that reads pictures
        encoder: reads the source
        target_embedding: of target pieces
        decoder: predicts the target
        tied: `decoder` shares the target table with the output layer, `all` the source table too;
            Press and Wolf 2017

    Raises:
        ValueError: when tables that are to be one have different shapes
    """

    def __init__(
        self,
        source_embedding: Embedding | None,
        encoder: Encoder,
        target_embedding: Embedding,
        decoder: Decoder,
        *,
        tied: Tying = "none",
    ) -> None:
        super().__init__()
        self.source_embedding, self.encoder = source_embedding, encoder
        self.target_embedding, self.decoder = target_embedding, decoder
        encoder.keeps_cells = decoder.needs_cells
        pieces, size = target_embedding.weight.shape
        self.output_layer = nn.Linear(decoder.output_size, pieces)
        nn.init.zeros_(self.output_layer.bias)
        if tied == "none":
            self.output_layer.weight = nn.Parameter(xavier(pieces, decoder.output_size))
            return
        if decoder.output_size != size:
            raise ValueError(
                f"tied_embeddings '{tied}': the decoder hands {decoder.output_size} units to the "
                f"output layer and an embedding has {size}; make them equal or use 'none'"
            )
        self.output_layer.weight = target_embedding.weight
        if tied == "all":
            if source_embedding is None:
                raise ValueError(
                    "tied_embeddings 'all' shares the source's table too, and pictures have none; "
                    "use 'decoder'"
                )
            if source_embedding.weight.shape != target_embedding.weight.shape:
                raise ValueError(
                    "tied_embeddings 'all' needs one vocabulary for both sides; set "
                    "data.vocabulary.joint or use 'decoder'"
                )
            source_embedding.table.weight = target_embedding.weight

    @property
    def output_weights(self) -> tuple[Float[Tensor, "v d"], Float[Tensor, " v"]]:
        """Weight and bias of the output layer, for the loss."""
        return self.output_layer.weight, self.output_layer.bias

    def encode(self, source: Source, source_mask_bs: Bool[Tensor, "b _"]) -> Encoded:
        """Annotations of a batch of source sentences or pictures."""
        if self.source_embedding is not None:
            source = self.source_embedding(source)
        return self.encoder(source, source_mask_bs)

    def forward(
        self,
        source: Source,
        source_mask_bs: Bool[Tensor, "b _"],
        target_in_bt: Int[Tensor, "b t"],
    ) -> DecoderOutput:
        """What the output layer reads at every target position, for the loss to multiply."""
        encoded = self.encode(source, source_mask_bs)
        return self.decoder(self.target_embedding(target_in_bt), encoded)

    def start(self, source: Source, source_mask_bs: Bool[Tensor, "b _"]) -> tuple[Memory, State]:
        """Encode a batch of sources; return the decoder's memory and first state."""
        return self.decoder.start(self.encode(source, source_mask_bs))

    def step(self, tokens_n: Int[Tensor, " n"], memory: Memory, state: State) -> Prediction:
        """Return the distribution of the next token of n hypotheses, given their last tokens.

        `nmt.inference.compile_model` makes a copy that computes the same faster.
        """
        embedded_nm = self.target_embedding(tokens_n)
        output_nd, weights_ns, state = self.decoder.step(embedded_nm, memory, state)
        logits_nv = self.output_layer(output_nd).float()
        return Prediction(logits_nv.log_softmax(dim=-1), weights_ns, state)
