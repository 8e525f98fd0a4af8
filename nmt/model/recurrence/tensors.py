"""Tensors of a recurrence: inputs, saved activations and gradients.

Row t of a layer's inputs holds [h_{t-1}; r_t]: the layer's previous hidden state and the vector r_t
that enters the layer at step t. The gates of a step are then one matrix product, and the gradient
of the weight is one product over all steps. The forward pass writes h_t and r_t directly into
their rows, so that no step concatenates tensors.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.model.recurrence.torch_ops import AdditiveGradients, AttendedSource


class Inputs(NamedTuple):
    """Tensors that a recurrence reads, in the dtype of its products; cells are at least float32.

    All but the last two are differentiable. Upper layers are all layers but the bottom one. Axis n
    has a row per sentence, or one per head of each sentence.

    Attributes:
        projected_tbg: contribution of the target tokens to the gates of the bottom layer
        keys_nsa: keys of the source
        values_nse: values of the source
        hidden_lbd: initial hidden states
        cell_lbd: initial cells
        bottom_weight_gx: weight of the bottom layer
        upper_weight_lgx: weights of the upper layers
        upper_bias_lg: biases of the upper layers
        query_ad: W of the query projection W h; None if the query is h
        v_a: v of the additive form, [n a] with several heads; None in the bilinear form
        input_feed_bf: h~ that enters the first step; None unless attention follows the recurrence
        combine_fx: C of h~ = tanh(C [c_t; h_t]); None unless attention follows the recurrence
        mask_ns: True for real source positions
        dropout_tlbd: dropout masks between layers, 0 or 1 / (1 - rate); None without dropout
    """

    projected_tbg: Float[Tensor, "t b g"]
    keys_nsa: Float[Tensor, "n s a"]
    values_nse: Float[Tensor, "n s e"]
    hidden_lbd: Float[Tensor, "l b d"]
    cell_lbd: Float[Tensor, "l b d"]
    bottom_weight_gx: Float[Tensor, "g x"]
    upper_weight_lgx: Float[Tensor, "l g x"]
    upper_bias_lg: Float[Tensor, "l g"]
    query_ad: Float[Tensor, "a d"] | None
    v_a: Float[Tensor, "*n a"] | None
    input_feed_bf: Float[Tensor, "b f"] | None
    combine_fx: Float[Tensor, "f x"] | None
    mask_ns: Bool[Tensor, "n s"]
    dropout_tlbd: Float[Tensor, "t l b d"] | None

    @property
    def layers(self) -> int:
        """Return the number of layers."""
        return self.hidden_lbd.size(0)

    @property
    def hidden_size(self) -> int:
        """Return the width d of a hidden state."""
        return self.hidden_lbd.size(2)

    @property
    def heads(self) -> int:
        """Return the number of heads of attention."""
        return self.mask_ns.size(0) // self.hidden_lbd.size(1)

    @property
    def source(self) -> AttendedSource:
        """Return the keys and values that each step attends to."""
        return AttendedSource(self.keys_nsa, self.values_nse, self.mask_ns, self.v_a)

    def weight_gx(self, layer: int) -> Float[Tensor, "g x"]:
        """Return the weight of a layer."""
        return self.upper_weight_lgx[layer - 1] if layer else self.bottom_weight_gx


class SavedActivations(NamedTuple):
    """Activations that the forward pass saves for the backward pass.

    They contain neither tanh(q + k) nor tanh(c_t), which the backward pass recomputes.

    Attributes:
        bottom_inputs_tbx: [h_{t-1}; r_t] of the bottom layer, where r_t is c_t or h~_{t-1}; T + 1
            rows
        upper_inputs_ltbx: [h_{t-1}; r_t] of the upper layers, where r_t is h_t of the layer below
            after dropout; T + 1 rows
        cell_ltbd: c_{t-1}; T + 1 rows
        gates_ltbg: activations of the gates i, f, g, o
        query_tba: projected queries W h; None if the query is h
        weights_tns: attention weights
        combined_tbx: [c_t; h_t]; None unless attention follows the recurrence
    """

    bottom_inputs_tbx: Float[Tensor, "t b x"]
    upper_inputs_ltbx: Float[Tensor, "l t b x"]
    cell_ltbd: Float[Tensor, "l t b d"]
    gates_ltbg: Float[Tensor, "l t b g"]
    query_tba: Float[Tensor, "t b a"] | None
    weights_tns: Float[Tensor, "t n s"]
    combined_tbx: Float[Tensor, "t b x"] | None

    @property
    def steps(self) -> int:
        """Return the number T of steps."""
        return self.weights_tns.size(0)

    def inputs_tbx(self, layer: int) -> Float[Tensor, "t b x"]:
        """Return the inputs [h_{t-1}; r_t] of a layer."""
        return self.upper_inputs_ltbx[layer - 1] if layer else self.bottom_inputs_tbx


class ActivationGradients(NamedTuple):
    """Gradients of saved activations, and of values between them, in the same shapes.

    The gradient of a hidden state h_t is complete when step t is reached: the readout and step
    t + 1 have added their contributions by then.

    Attributes:
        bottom_inputs_tbx: gradient of the bottom layer's inputs
        upper_inputs_ltbx: gradient of the upper layers' inputs
        cell_lbd: gradient of the cells of the step that the backward pass has reached
        gates_ltbg: gradient of the pre-activations of the gates
        query_tba: gradient of the queries
        energies_tns: gradient of the energies
        feed_sum_tbf: gradient of C [c_t; h_t]; None unless attention follows the recurrence
        combined_tbx: gradient of [c_t; h_t]; None unless attention follows the recurrence
        additive: gradients of keys and v; None in the bilinear form
    """

    bottom_inputs_tbx: Float[Tensor, "t b x"]
    upper_inputs_ltbx: Float[Tensor, "l t b x"]
    cell_lbd: Float[Tensor, "l b d"]
    gates_ltbg: Float[Tensor, "l t b g"]
    query_tba: Float[Tensor, "t b a"]
    energies_tns: Float[Tensor, "t n s"]
    feed_sum_tbf: Float[Tensor, "t b f"] | None
    combined_tbx: Float[Tensor, "t b x"] | None
    additive: AdditiveGradients | None

    def inputs_tbx(self, layer: int) -> Float[Tensor, "t b x"]:
        """Return the gradient of a layer's inputs."""
        return self.upper_inputs_ltbx[layer - 1] if layer else self.bottom_inputs_tbx


def allocate(inputs: Inputs) -> SavedActivations:
    """Allocate the activations of a forward pass and fill in the initial states."""
    steps, sentences, gates = inputs.projected_tbg.shape
    layers, d = inputs.layers, inputs.hidden_size

    def empty(*shape: int) -> Tensor:
        return inputs.projected_tbg.new_empty(shape)

    # No memory is initialized but row 0: every other row is written before it is read.
    query_tba, combined_tbx = None, None
    if inputs.query_ad is not None:
        query_tba = empty(steps, sentences, inputs.query_ad.size(0))
    if inputs.combine_fx is not None:
        combined_tbx = empty(steps, sentences, inputs.combine_fx.size(1))
    saved = SavedActivations(
        # Row t is the state before step t, so the state after the last step needs one row more.
        empty(steps + 1, sentences, inputs.bottom_weight_gx.size(1)),
        empty(layers - 1, steps + 1, sentences, 2 * d),
        inputs.cell_lbd.new_empty(layers, steps + 1, sentences, d),
        empty(layers, steps, sentences, gates),
        query_tba,
        # Softmax is in float32 at least, as the cells are.
        inputs.cell_lbd.new_empty(steps, *inputs.mask_ns.shape),
        combined_tbx,
    )
    for layer in range(layers):
        saved.inputs_tbx(layer)[0, :, :d] = inputs.hidden_lbd[layer]
    saved.cell_ltbd[:, 0] = inputs.cell_lbd
    if inputs.input_feed_bf is not None:
        saved.bottom_inputs_tbx[0, :, d:] = inputs.input_feed_bf
    return saved


def head_rows(rows_bx: Float[Tensor, "*t b x"], heads: int) -> Float[Tensor, "*t n y"]:
    """Return a row per head of each sentence.

    It is a view with one head or contiguous rows, and a copy where rows are parts of wider ones.
    """
    return rows_bx.reshape(*rows_bx.shape[:-2], -1, rows_bx.size(-1) // heads)


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of sums over steps: float32, or float64 for float64."""
    return torch.promote_types(dtype, torch.float32)
