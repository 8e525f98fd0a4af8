"""Base class of decoders with a recurrent state."""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.config.choices import RecurrenceBackend
from nmt.model.attention.mechanism import AttentionState, Mechanism
from nmt.model.interfaces import Decoder, DecoderOutput, Encoded, FusedSupport, M, S, StepOutput
from nmt.model.layers.recurrent import LayerState, RecurrentLayer
from nmt.model.recurrence import fused
from nmt.model.recurrence.spec import RecurrenceSpec


class RecurrentState(NamedTuple):
    """State of a recurrent decoder with attention.

    Attributes:
        layers: state of each recurrent layer, from the bottom up
        attention: state of the attention mechanism, such as its coverage
        input_feed: output of the last step that enters the next one; empty without input feeding
    """

    layers: tuple[LayerState, ...]
    attention: AttentionState
    input_feed: tuple[Tensor, ...]


@dataclass(slots=True)
class RecurrentStep(Generic[S]):
    """Output of one step of the recurrence.

    Attributes:
        readout_inputs: arguments of `RecurrentDecoder.read_out` after the embedding
        weights_ns: attention weights; None in a decoder without attention
        state: the new state
        auxiliary: arguments of the attention mechanism's auxiliary loss
    """

    readout_inputs: tuple[Tensor, ...]
    weights_ns: Float[Tensor, "n s"] | None
    state: S
    auxiliary: tuple[Tensor, ...] = ()


class UnrolledSteps(NamedTuple):
    """Outputs of all steps of a recurrence, with the time axis first.

    Attributes:
        readout_inputs: arguments of `RecurrentDecoder.read_out` after the embedding
        auxiliary: arguments of the attention mechanism's auxiliary loss
        weights_tbs: attention weights, if they are needed
    """

    readout_inputs: tuple[Tensor, ...]
    auxiliary: tuple[Tensor, ...] = ()
    weights_tbs: Float[Tensor, "t b s"] | None = None

    def output(self, output_tbd: Float[Tensor, "t b d"]) -> DecoderOutput:
        """Return the output of the decoder, with the sentences first."""
        return DecoderOutput(
            output_tbd.transpose(0, 1),
            tuple(tensor.transpose(0, 1) for tensor in self.auxiliary),
            None if self.weights_tbs is None else self.weights_tbs.transpose(0, 1),
        )


class RecurrentDecoder(FusedSupport, Decoder[M, S]):
    """Base of decoders in three stages: `project`, `advance`, `read_out`.

    Only `advance` depends on the previous step. Teacher forcing therefore runs `project` and
    `read_out` once over all target positions, as large products, and loops over `advance` alone.

    Attributes:
        attention: attention to the source, in a decoder that has it
        backend: how the loop over known targets runs: `eager`, one call of `advance` per step;
            `fused`, one autograd operation; `auto`, fused where supported
    """

    fused_methods = ("advance",)
    attention: Mechanism
    backend: RecurrenceBackend = "auto"

    @abstractmethod
    def project(self, embedded: Float[Tensor, "*axes m"]) -> Float[Tensor, "*axes g"]:
        """Compute the contribution of the input to the gates of the bottom layer."""

    @abstractmethod
    def advance(self, projected_ng: Float[Tensor, "n g"], memory: M, state: S) -> RecurrentStep[S]:
        """Attend to the source and update the state, in the decoder's order."""

    @abstractmethod
    def read_out(
        self, embedded: Float[Tensor, "*axes m"], *readout_inputs: Float[Tensor, "*axes _"]
    ) -> Float[Tensor, "*axes d"]:
        """Compute the input of the output layer."""

    def step(self, embedded_nm: Float[Tensor, "n m"], memory: M, state: S) -> StepOutput[S]:
        step = self.advance(self.project(embedded_nm), memory, state)
        output_nd = self.read_out(embedded_nm, *step.readout_inputs)
        return StepOutput(output_nd, step.weights_ns, step.state)

    def forward(
        self, embedded_btm: Float[Tensor, "b t m"], source: Encoded, *, need_weights: bool = False
    ) -> DecoderOutput:
        memory, state = self.start(source)
        # Time first: a step of the loop then reads a contiguous block.
        embedded_tbm = embedded_btm.transpose(0, 1)
        projected_tbg = self.project(embedded_tbm)
        steps = self.unroll(projected_tbg, memory, state, need_weights=need_weights)
        return steps.output(self.read_out(embedded_tbm, *steps.readout_inputs))

    def unroll(
        self,
        projected_tbg: Float[Tensor, "t b g"],
        memory: M,
        state: S,
        *,
        need_weights: bool = False,
    ) -> UnrolledSteps:
        """Run the recurrence over all steps; both backends compute the same values."""
        if self.uses_fused:
            # Mechanisms with auxiliary outputs do not support the fused recurrence.
            spec = self.recurrence_spec(memory, state)
            *outputs, weights_tbs = fused.run(spec, projected_tbg, need_weights=need_weights)
            return UnrolledSteps(self.fused_readout_inputs(*outputs), (), weights_tbs)
        steps = []
        for projected_bg in projected_tbg.unbind(0):
            steps.append(self.advance(projected_bg, memory, state))
            # The only dependence between steps.
            state = steps[-1].state
        weights = [one.weights_ns for one in steps if need_weights and one.weights_ns is not None]
        return UnrolledSteps(
            _stack(step.readout_inputs for step in steps),
            _stack(step.auxiliary for step in steps),
            torch.stack(weights) if weights else None,
        )

    @property
    def uses_fused(self) -> bool:
        """Return whether `forward` runs the fused recurrence."""
        return self.supports_fused and self.backend != "eager"

    @property
    def fused_obstacles(self) -> set[str]:
        """Return the options and components that the fused recurrence does not support."""
        layers = [part for part in self.modules() if isinstance(part, RecurrentLayer)]
        found = {layer.fused_obstacle for layer in layers if not layer.supports_fused}
        mechanisms = [part for part in self.modules() if isinstance(part, Mechanism)]
        return found | {"this attention or score" for one in mechanisms if not one.supports_fused}

    def recurrence_spec(self, memory: M, state: S) -> RecurrenceSpec:
        """Return the weights and inputs of the fused recurrence, where it is supported."""
        raise NotImplementedError

    def fused_readout_inputs(
        self, hidden_tbd: Float[Tensor, "t b d"], input_feed_tbf: Float[Tensor, "t b f"]
    ) -> tuple[Tensor, ...]:
        """Return the readout inputs of all steps from the outputs of the fused recurrence.

        Args:
            hidden_tbd: hidden states of the top layer
            input_feed_tbf: vectors that enter the bottom layer besides the embedding: the context
                of the same step, or the attentional state for the next step
        """
        return hidden_tbd, input_feed_tbf

    @property
    def has_auxiliary_loss(self) -> bool:
        is_own = type(self).auxiliary_loss is not RecurrentDecoder.auxiliary_loss
        mechanisms = [part for part in self.modules() if isinstance(part, Mechanism)]
        return is_own or any(one.has_auxiliary_loss for one in mechanisms)

    def auxiliary_loss(
        self,
        auxiliary: tuple[Tensor, ...],
        nll_bt: Float[Tensor, "b t"],
        mask_bt: Bool[Tensor, "b t"],
    ) -> Float[Tensor, ""] | None:
        # Decoders without attention have no auxiliary outputs.
        return self.attention.auxiliary_loss(auxiliary, nll_bt, mask_bt) if auxiliary else None


def _stack(steps: Iterable[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Stack the tensors of all steps, with the time axis first."""
    return tuple(torch.stack(tensors) for tensors in zip(*steps, strict=True))
