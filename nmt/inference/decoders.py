"""Decoders for search: the same steps as in training, with products made in advance.

A step multiplies the context c = Σ_s α_s h_s by matrices, such as C of the gates. These products
are linear in c: C c = Σ_s α_s (C h_s). A sentence has fewer annotations than hypotheses times
steps, so its annotations are multiplied once, and attention sums the products. The products of the
input token are looked up in a table of the vocabulary.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from nmt.inference.token_cache import Projections
from nmt.model.attention.mechanism import AttentionMemory, AttentionState
from nmt.model.decoders.bahdanau import BahdanauDecoder, maxout
from nmt.model.decoders.gnmt import GNMTDecoder
from nmt.model.decoders.luong import LuongDecoder
from nmt.model.decoders.recurrent import RecurrentState
from nmt.model.interfaces import AnyDecoder, Decoder, Encoded, M, S, StepOutput


class InferenceDecoder(ABC, Generic[M, S]):
    """Computations of a decoder for search alone."""

    @abstractmethod
    def start(self, source: Encoded) -> tuple[M, S]:
        """Compute the memory and the initial state."""

    @abstractmethod
    def project_tokens(self, embedded_nm: Float[Tensor, "n m"]) -> Projections:
        """Compute everything that depends on the input token alone."""

    @abstractmethod
    def step(self, projections: Projections, memory: M, state: S) -> StepOutput[S]:
        """Decode one token of n hypotheses; equal to `Decoder.step` up to rounding."""


class PlainInference(InferenceDecoder[M, S]):
    """The decoder's own `start` and `step`, for decoders without a faster form."""

    def __init__(self, decoder: Decoder[M, S]) -> None:
        self._decoder = decoder

    def start(self, source: Encoded) -> tuple[M, S]:
        return self._decoder.start(source)

    def project_tokens(self, embedded_nm: Float[Tensor, "n m"]) -> Projections:
        return (embedded_nm,)

    def step(self, projections: Projections, memory: M, state: S) -> StepOutput[S]:
        (embedded_nm,) = projections
        return self._decoder.step(embedded_nm, memory, state)


class ContextProducts(NamedTuple):
    """Output of one attention step.

    Attributes:
        products_nx: products of the context, concatenated
        weights_ns: attention weights
        state: the new state of the mechanism
    """

    products_nx: Float[Tensor, "n x"]
    weights_ns: Float[Tensor, "n s"]
    state: AttentionState


class ContextInference(InferenceDecoder[AttentionMemory, RecurrentState]):
    """Base of decoders with attention whose products of the context can be made in advance.

    Args:
        decoder: a decoder that is used for decoding alone
        precompute: whether to multiply the annotations once per sentence; otherwise the context is
            multiplied at each step
    """

    def __init__(
        self, decoder: BahdanauDecoder | LuongDecoder | GNMTDecoder, precompute: bool
    ) -> None:
        self._attention, self._start = decoder.attention, decoder.start
        # Multi-head attention projects its contexts, so they are not sums of the values.
        self._is_precomputed = precompute and decoder.attention.context_is_linear

    def start(self, source: Encoded) -> tuple[AttentionMemory, RecurrentState]:
        memory, state = self._start(source)
        if self._is_precomputed:
            # Attention then sums products instead of annotations.
            memory = memory._replace(values_bse=self.project_context(memory.values_bse))
        return memory, state

    @abstractmethod
    def project_context(self, context: Float[Tensor, "*axes e"]) -> Float[Tensor, "*axes x"]:
        """Compute all products of a context, concatenated."""

    def attend(
        self, query_nd: Float[Tensor, "n d"], memory: AttentionMemory, state: RecurrentState
    ) -> ContextProducts:
        """Attend with one query per hypothesis."""
        attended = self._attention.attend(query_nd, memory, state.attention)
        products_nx = attended.context_ne
        if not self._is_precomputed:
            products_nx = self.project_context(products_nx)
        return ContextProducts(products_nx, attended.weights_ns, attended.state)


class BahdanauInference(ContextInference):
    """`BahdanauDecoder`, where the context enters the gates and the readout."""

    def __init__(self, decoder: BahdanauDecoder, precompute: bool) -> None:
        super().__init__(decoder, precompute)
        self._stack, self._readout = decoder.stack, decoder.readout

    def project_context(self, context: Float[Tensor, "*axes e"]) -> Float[Tensor, "*axes x"]:
        readout = context if self._readout is None else self._readout.term(1, context)
        return torch.cat([self._stack.bottom.feed(context), readout], dim=-1)

    def project_tokens(self, embedded_nm: Float[Tensor, "n m"]) -> Projections:
        readout_nx = embedded_nm if self._readout is None else self._readout.term(2, embedded_nm)
        return self._stack.bottom.project(embedded_nm), readout_nx

    def step(
        self, projections: Projections, memory: AttentionMemory, state: RecurrentState
    ) -> StepOutput[RecurrentState]:
        token_gates_ng, token_readout_nx = projections
        attended = self.attend(state.layers[-1].hidden_nd, memory, state)
        context_gates_ng, context_readout_nx = attended.products_nx.tensor_split(
            [token_gates_ng.size(1)], dim=1
        )
        # The products of token and context replace projection and feedback.
        hidden_nd, layers = self._stack.step(token_gates_ng + context_gates_ng, state.layers)
        if self._readout is None:
            output_nd = torch.cat([hidden_nd, context_readout_nx, token_readout_nx], dim=-1)
        else:
            hidden_readout_nx = self._readout.term(0, hidden_nd)
            output_nd = maxout(hidden_readout_nx + context_readout_nx + token_readout_nx)
        new_state = RecurrentState(layers, attended.state, ())
        return StepOutput(output_nd, attended.weights_ns, new_state)


class LuongInference(ContextInference):
    """`LuongDecoder`, where the context enters h~_t = tanh(W [c_t; s_t])."""

    def __init__(self, decoder: LuongDecoder, precompute: bool) -> None:
        super().__init__(decoder, precompute)
        self._decoder = decoder

    def project_context(self, context: Float[Tensor, "*axes e"]) -> Float[Tensor, "*axes x"]:
        return self._decoder.combine.term(0, context)

    def project_tokens(self, embedded_nm: Float[Tensor, "n m"]) -> Projections:
        return (self._decoder.project(embedded_nm),)

    def step(
        self, projections: Projections, memory: AttentionMemory, state: RecurrentState
    ) -> StepOutput[RecurrentState]:
        decoder, (token_gates_ng,) = self._decoder, projections
        hidden_nd, layers = decoder.stack.step(token_gates_ng, state.layers, *state.input_feed)
        attended = self.attend(hidden_nd, memory, state)
        attentional_nd = torch.tanh(attended.products_nx + decoder.combine.term(1, hidden_nd))
        output_nd = attentional_nd if decoder.attentional_output else hidden_nd
        if decoder.readout is not None:
            output_nd = decoder.readout(output_nd)
        input_feed = (attentional_nd,) if decoder.input_feeding else ()
        new_state = RecurrentState(layers, attended.state, input_feed)
        return StepOutput(output_nd, attended.weights_ns, new_state)


class GNMTInference(ContextInference):
    """`GNMTDecoder`, where the context enters the gates of every layer."""

    def __init__(self, decoder: GNMTDecoder, precompute: bool) -> None:
        super().__init__(decoder, precompute)
        self._decoder = decoder

    def project_context(self, context: Float[Tensor, "*axes e"]) -> Float[Tensor, "*axes x"]:
        upper = [layer.input.term(1, context) for layer in self._decoder.upper]
        return torch.cat([self._decoder.bottom.feed(context), *upper], dim=-1)

    def project_tokens(self, embedded_nm: Float[Tensor, "n m"]) -> Projections:
        return (self._decoder.project(embedded_nm),)

    def step(
        self, projections: Projections, memory: AttentionMemory, state: RecurrentState
    ) -> StepOutput[RecurrentState]:
        (token_gates_ng,), (bottom, *upper) = projections, state.layers
        attended = self.attend(bottom.hidden_nd, memory, state)
        # All layers have equally many gates.
        bottom_gates_ng, *gates = attended.products_nx.chunk(1 + len(upper), dim=1)
        layers = [self._decoder.bottom.step(token_gates_ng + bottom_gates_ng, bottom)]
        output_nd = layers[0].hidden_nd
        every = zip(self._decoder.upper, gates, upper, strict=True)
        for number, (layer, gates_ng, before) in enumerate(every, start=2):
            layers.append(layer.step(layer.project(output_nd, None) + gates_ng, before))
            is_residual = self._decoder.residual and number > 2
            hidden_nd = layers[-1].hidden_nd
            output_nd = hidden_nd + output_nd if is_residual else hidden_nd
        new_state = RecurrentState(tuple(layers), attended.state, ())
        return StepOutput(output_nd, attended.weights_ns, new_state)


AnyInferenceDecoder: TypeAlias = InferenceDecoder[Any, Any]

FAST_DECODERS: dict[type[AnyDecoder], Callable[[Any, bool], AnyInferenceDecoder]] = {
    BahdanauDecoder: BahdanauInference,
    LuongDecoder: LuongInference,
    GNMTDecoder: GNMTInference,
}
"""Faster forms by the decoder's exact class.

A subclass may override any stage of a step, so it is served by its own `step`: slower but correct.
"""
