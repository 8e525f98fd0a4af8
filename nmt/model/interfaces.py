"""Interfaces between encoder, attention, decoder and search.

The name of a tensor ends with a letter for each of its axes; a digit is the size of an axis. This
is the legend of the whole package:

    a  width of a key and of a projected query
    b  sentence of a batch
    c  candidate continuation of a sentence, in search
    d  width of a recurrent state or of a decoder output
    e  width of an annotation, that is of an encoder state
    f  width of the vector that is fed back into a recurrent layer: a context or an input feed
    g  gates of a recurrent layer, concatenated
    h  head of multi-head attention or of a Neural Turing Machine
    i  slot of a memory
    j  required or forbidden phrase of a sentence, in search
    k  hypothesis of a sentence
    l  layer
    m  width of an embedding
    n  hypothesis of any sentence: row n = b * hypotheses + k
    o  state of an automaton over tokens, in search
    p  row of a table of positions
    q  query of a sentence
    r  target token of any sentence, padding left out
    s  source position
    t  target position, or time step
    u  width of a memory slot
    v  entry of a vocabulary, or output of a linear layer
    w  width of one attention head
    x  any other axis, such as the width of concatenated vectors
    y  row of an image
    z  column of an image

A mask is True at real positions and False in padding.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType
from typing import Any, ClassVar, Generic, NamedTuple, TypeAlias, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils._pytree import tree_map_only

Memory: TypeAlias = object
"""Everything that a decoder computes once per sentence: a pytree of tensors with b rows.

A row is constant for a sentence and shared by its hypotheses. Search does not look inside; the type
that a decoder uses is a parameter of `Decoder`.
"""

State: TypeAlias = object
"""Everything that changes from step to step: a pytree of tensors with n rows, one per hypothesis.

Hypotheses of a sentence are neighbors: row n = b * hypotheses + k. Search reorders, duplicates and
drops rows by `select_rows`.
"""

Tree = TypeVar("Tree")
M = TypeVar("M")
S = TypeVar("S")

NO_EXTRAS: Mapping[str, Any] = MappingProxyType({})


def select_rows(tree: Tree, rows_n: Int[Tensor, " n"]) -> Tree:
    """Return the pytree with these rows of every tensor, in this order."""
    selected: Tree = _select_rows(tree, rows_n)
    return selected


def _select_rows(tree: Any, rows_n: Int[Tensor, " n"]) -> Any:
    if isinstance(tree, Tensor):
        return tree.index_select(0, rows_n.to(tree.device))
    if isinstance(tree, tuple):
        # Most states are tuples of tuples, for which torch's pytree takes five times as long.
        parts = [_select_rows(part, rows_n) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    if tree is None:
        return None
    return tree_map_only(Tensor, lambda tensor: _select_rows(tensor, rows_n), tree)


class SourceSizes(NamedTuple):
    """Sizes of an encoder's output, from which a decoder is built.

    Attributes:
        annotation: width e of an annotation
        final_state: width of `Encoded.final_state_bx`
        layers: number of layers in `Encoded.layer_states`
        has_cells: whether these layers have cells
        extras: sizes of `Encoded.extras`, by the same names
    """

    annotation: int
    final_state: int
    layers: int
    has_cells: bool = True
    extras: Mapping[str, Any] = NO_EXTRAS


class LayerStates(NamedTuple):
    """Last states of all encoder layers, as wide as an annotation.

    Attributes:
        hidden_ble: hidden states
        cell_ble: cells, if the encoder keeps them; see `Encoder.keeps_cells`
    """

    hidden_ble: Float[Tensor, "b l e"]
    cell_ble: Float[Tensor, "b l e"] | None


class Encoded(NamedTuple):
    """A batch of encoded source sentences.

    Attributes:
        states_bse: annotations, zero in padding
        mask_bs: real source positions
        final_state_bx: state of the encoder's top layer after it has read the sentence; that of the
            backward direction if the encoder has two
        layer_states: last states of every layer
        extras: outputs for particular decoders, by names that encoder and decoder agree on;
            pytrees of tensors with b rows
    """

    states_bse: Float[Tensor, "b s e"]
    mask_bs: Bool[Tensor, "b s"]
    final_state_bx: Float[Tensor, "b x"]
    layer_states: LayerStates
    extras: Mapping[str, Any] = NO_EXTRAS


class FusedSupport:
    """Declaration that the fused recurrence computes the same values as a module.

    A subclass that overrides one of `fused_methods` computes something else. It does not inherit
    the declaration and has to repeat it.

    Attributes:
        supports_fused: whether the fused recurrence may replace the module
        fused_methods: names of the methods that it replaces
    """

    supports_fused: bool = False
    fused_methods: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in cls.fused_methods:
            assert hasattr(cls, name), f"{cls.__name__} has no method {name}"
        # `vars` has the attributes of this class alone, without those of its bases.
        overridden = vars(cls).keys() & set(cls.fused_methods)
        if overridden and "supports_fused" not in vars(cls):
            cls.supports_fused = False


class Encoder(nn.Module, ABC):
    """Base of encoders of embedded source sentences, or of images.

    An encoder of images has `image_size` among the parameters of its constructor. Images have no
    padding: all annotations are real, and the mask has no effect.

    Attributes:
        output_size: width e of an annotation
        final_state_size: width of `Encoded.final_state_bx`
        layers: number of layers in `Encoded.layer_states`
        has_cells: whether the layers have cells besides hidden states
        keeps_cells: whether `Encoded.layer_states` contains cells; `build_model` sets it to
            `Decoder.needs_cells`
        grid: rows and columns of the annotations of an image, in row-major order; None for text
    """

    output_size: int
    final_state_size: int
    layers: int
    has_cells: bool = True
    keeps_cells: bool = False
    grid: tuple[int, int] | None = None

    @property
    def sizes(self) -> SourceSizes:
        """Return the sizes of the output."""
        return SourceSizes(self.output_size, self.final_state_size, self.layers, self.has_cells)

    @abstractmethod
    def forward(
        self, embedded_bsm: Float[Tensor, "b s m"], mask_bs: Bool[Tensor, "b s"]
    ) -> Encoded:
        """Compute an annotation of every source position; padding must not affect any."""


@dataclass(slots=True)
class StepOutput(Generic[S]):
    """Output of one decoder step.

    Attributes:
        output_nd: input of the output layer
        weights_ns: attention weights; None from a decoder without attention
        state: the new state
    """

    output_nd: Float[Tensor, "n d"]
    weights_ns: Float[Tensor, "n s"] | None
    state: S


class DecoderOutput(NamedTuple):
    """Output of a decoder under teacher forcing.

    Attributes:
        output_btd: inputs of the output layer at every target position
        auxiliary: arguments of `Decoder.auxiliary_loss`, tensors whose first axes are b t
        weights_bts: attention weights, if they are needed and the decoder has attention
        alignment_bts: weights that align each target token, from `Seq2Seq.forward`, if they are
            needed and the model has an attention for alignments
    """

    output_btd: Float[Tensor, "b t d"]
    auxiliary: tuple[Tensor, ...] = ()
    weights_bts: Float[Tensor, "b t s"] | None = None
    alignment_bts: Float[Tensor, "b t s"] | None = None


class Decoder(nn.Module, ABC, Generic[M, S]):
    """Base of decoders, which predict target tokens from left to right.

    The type parameters are those of the memory and of the state; see `Memory` and `State`.

    Attributes:
        output_size: width of the input of the output layer
        needs_cells: whether `start` reads the cells of `Encoded.layer_states`
        has_attention: whether `step` returns attention weights
    """

    output_size: int
    needs_cells: bool = False
    has_attention: bool = True

    @abstractmethod
    def start(self, source: Encoded) -> tuple[M, S]:
        """Compute the memory and the initial state, with one hypothesis per sentence."""

    @abstractmethod
    def step(self, embedded_nm: Float[Tensor, "n m"], memory: M, state: S) -> StepOutput[S]:
        """Decode one target position of n hypotheses from their last tokens."""

    def forward(
        self, embedded_btm: Float[Tensor, "b t m"], source: Encoded, *, need_weights: bool = False
    ) -> DecoderOutput:
        """Decode known targets (teacher forcing), with the same result as a loop over `step`.

        Args:
            embedded_btm: embeddings of the target tokens
            source: the encoded sources
            need_weights: whether to return the attention weights, with their gradient
        """
        memory, state = self.start(source)
        outputs, weights = [], []
        for embedded_bm in embedded_btm.unbind(dim=1):
            output = self.step(embedded_bm, memory, state)
            outputs.append(output.output_nd)
            if need_weights and output.weights_ns is not None:
                weights.append(output.weights_ns)
            state = output.state
        return DecoderOutput(
            torch.stack(outputs, dim=1),
            weights_bts=torch.stack(weights, dim=1) if weights else None,
        )

    @property
    def has_auxiliary_loss(self) -> bool:
        """Return whether training adds `auxiliary_loss`."""
        return type(self).auxiliary_loss is not Decoder.auxiliary_loss

    def auxiliary_loss(
        self,
        auxiliary: tuple[Tensor, ...],
        nll_bt: Float[Tensor, "b t"],
        mask_bt: Bool[Tensor, "b t"],
    ) -> Float[Tensor, ""] | None:
        """Return an addend of the loss, in nats summed over the batch, or None.

        Args:
            auxiliary: auxiliary outputs of `forward`
            nll_bt: -log p of the target tokens, without gradient, zero in padding
            mask_bt: real target positions
        """
        return None


AnyDecoder: TypeAlias = Decoder[Any, Any]


class OutputTokens(NamedTuple):
    """The target tokens that a distribution is limited to.

    Attributes:
        tokens_bv: tokens of each sentence in ascending order; further entries have a probability
            of zero
        vocabulary: number of all tokens
    """

    tokens_bv: Int[Tensor, "b v"]
    vocabulary: int


class Prediction(NamedTuple):
    """Prediction of the next token of n hypotheses.

    Attributes:
        log_probs_nv: log-probabilities of all tokens, or of those in `outputs`
        weights_ns: attention weights; None from a decoder without attention
        state: the new state
        outputs: the tokens that the distribution is limited to; None for the whole vocabulary
        alignment_ns: weights that align the last token, which this step has read; None from a model
            without an attention for alignments
    """

    log_probs_nv: Float[Tensor, "n v"]
    weights_ns: Float[Tensor, "n s"] | None
    state: State
    outputs: OutputTokens | None = None
    alignment_ns: Float[Tensor, "n s"] | None = None

    def over_vocabulary(self) -> "Prediction":
        """Return the prediction with -inf for all tokens that are not among the outputs."""
        if self.outputs is None:
            return self
        hypotheses = len(self.log_probs_nv) // len(self.outputs.tokens_bv)
        tokens_nv = self.outputs.tokens_bv.repeat_interleave(hypotheses, 0)
        log_probs_nv = self.log_probs_nv.new_full((len(tokens_nv), self.outputs.vocabulary), -inf)
        # The maximum, because entries without probability repeat a token.
        log_probs_nv.scatter_reduce_(1, tokens_nv, self.log_probs_nv, "amax")
        return self._replace(log_probs_nv=log_probs_nv, outputs=None)


def align_read_tokens(weights: Float[Tensor, "*b t s"]) -> Float[Tensor, "*b t s"]:
    """Move the weights of each step to the token that it has read: row t becomes row t - 1.

    The first step reads `<s>`. The last token, `</s>` in a complete sentence, is read by no step;
    its row is zero.
    """
    return pad(weights[..., 1:, :], (0, 0, 0, 1))
