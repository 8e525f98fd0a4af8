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
    k  hypothesis of a sentence
    l  layer
    m  width of an embedding
    n  hypothesis of any sentence: row n = b * hypotheses + k
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
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

Memory = Any
"""What a decoder reads: a pytree of tensors with b rows.

A row is fixed for its sentence and shared by the sentence's hypotheses.
"""

State = Any
"""What a decoder remembers: a pytree of tensors with n rows, new at every step, one a hypothesis.

Rows of one sentence are neighbours: row = sentence * k + hypothesis.
"""

Tree = TypeVar("Tree")


def select_rows(tree: Tree, rows_n: Int[Tensor, "n"]) -> Tree:
    """Return the pytree with these rows of every tensor, in this order."""
    selected: Tree = tree_map_only(
        Tensor, lambda tensor: tensor.index_select(0, rows_n.to(tensor.device)), tree
    )
    return selected


class SourceSizes(NamedTuple):
    """What a decoder is told of its encoder before there is a sentence.

    Attributes:
        annotation: width e of an annotation
        final_state: width of `Encoded.final_state_bh`
        layers: layers whose last states are in `Encoded.layer_states`
        cells: whether these layers can hand out cells
        tape: whether `Encoded.cells_bse` is there
        machine: sizes of the memory in `Encoded.machine`, if there is one
    """

    annotation: int
    final_state: int
    layers: int
    cells: bool = True
    tape: bool = False
    machine: "MachineSizes | None" = None


class MachineSizes(NamedTuple):
    """An external memory: how many slots, how wide one is, and how many heads read and write."""

    slots: int
    width: int
    read_heads: int
    write_heads: int

    @property
    def heads(self) -> int:
        """All heads."""
        return self.read_heads + self.write_heads


class LayerStates(NamedTuple):
    """Last states of every layer, as wide as the annotations; cells only where asked for."""

    hidden_ble: Float[Tensor, "b l e"]
    cell_ble: Float[Tensor, "b l e"] | None


class Encoded(NamedTuple):
    """A batch of encoded source sentences.

    Attributes:
        states_bse: annotations, zero where the mask is False
        mask_bs: real source positions
        final_state_bh: state of the encoder's top layer after it has read the sentence; that of the
            backward direction if there is one
        layer_states: last states of every layer
        cells_bse: memory cells that belong to the annotations, in encoders with a memory tape
        machine: external memory after the source was written to it, a pytree with b rows
    """

    states_bse: Float[Tensor, "b s e"]
    mask_bs: Bool[Tensor, "b s"]
    final_state_bh: Float[Tensor, "b h"]
    layer_states: LayerStates
    cells_bse: Float[Tensor, "b s e"] | None = None
    machine: Any = None


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
        overridden = vars(cls).keys() & set(cls.fused_methods)
        if overridden and "supports_fused" not in vars(cls):
            cls.supports_fused = False


class Encoder(nn.Module, ABC):
    """Reads embedded source sentences; or images, if its constructor has `image_size`.

    A picture has no padding: its annotations are all real, whatever mask comes with it.

    Attributes:
        output_size: width e of an annotation
        final_state_size: width of `Encoded.final_state_bh`
        layers: number of layers in `Encoded.layer_states`
        has_cells: whether its layers have cells besides hidden states
        keeps_cells: whether `Encoded.layer_states` holds cells; the builder sets it when a decoder
            needs them
        grid: rows and columns of the annotations of a picture, which come row by row; None for text
    """

    output_size: int
    final_state_size: int
    layers: int
    has_cells: bool = True
    keeps_cells: bool = False
    grid: tuple[int, int] | None = None

    @property
    def sizes(self) -> SourceSizes:
        """What a decoder has to know."""
        return SourceSizes(self.output_size, self.final_state_size, self.layers, self.has_cells)

    @abstractmethod
    def forward(
        self, embedded_bsm: Float[Tensor, "b s m"], mask_bs: Bool[Tensor, "b s"]
    ) -> Encoded:
        """Annotations of every source position; nothing in the padding reaches them."""


class StepOutput(NamedTuple):
    """One step of a decoder: what the output layer reads, where it looked, what it remembers."""

    output_nd: Float[Tensor, "n d"]
    weights_ns: Float[Tensor, "n s"] | None
    state: State


class DecoderOutput(NamedTuple):
    """Outputs of a decoder under teacher forcing.

    Attributes:
        output_btd: inputs of the output layer at every target position
        auxiliary: arguments of `Decoder.auxiliary_loss`, tensors whose first axes are b t
    """

    output_btd: Float[Tensor, "b t d"]
    auxiliary: tuple[Tensor, ...] = ()


class Decoder(nn.Module, ABC):
    """Predicts target tokens left to right from an encoded source.

    Attributes:
        output_size: width of what `step` and `forward` give to the output layer
        needs_cells: whether `start` reads the cells of `Encoded.layer_states`
    """

    output_size: int
    needs_cells: bool = False

    @abstractmethod
    def start(self, source: Encoded) -> tuple[Memory, State]:
        """Everything that is done once a sentence; the state has one hypothesis a sentence."""

    @abstractmethod
    def step(self, embedded_nm: Float[Tensor, "n m"], memory: Memory, state: State) -> StepOutput:
        """One target position for n hypotheses."""

    def auxiliary_loss(
        self,
        auxiliary: tuple[Tensor, ...],
        nll_bt: Float[Tensor, "b t"],
        mask_bt: Bool[Tensor, "b t"],
    ) -> Float[Tensor, ""] | None:
        """What is added to the loss of a batch, in nats summed over it; None as a rule.

        Args:
            auxiliary: from `forward`
            nll_bt: -log p of the tokens to predict, without gradient, zero in the padding
            mask_bt: real target positions
        """
        return None

    def forward(self, embedded_btm: Float[Tensor, "b t m"], source: Encoded) -> DecoderOutput:
        """Teacher forcing: the outputs for a known target. Equal to a loop over `step`."""
        memory, state = self.start(source)
        outputs = []
        for embedded_bm in embedded_btm.unbind(dim=1):
            output_bd, _, state = self.step(embedded_bm, memory, state)
            outputs.append(output_bd)
        return DecoderOutput(torch.stack(outputs, dim=1))


class Prediction(NamedTuple):
    """What search is told each step: log p(next token), where the model looked, its new state."""

    log_probs_nv: Float[Tensor, "n v"]
    weights_ns: Float[Tensor, "n s"] | None
    state: State
