"""The recurrence over all steps of a known target as one autograd operation.

Autograd would save the result of every operation of every step. The manual backward pass needs
only `SavedActivations`: among others, it recomputes the tanh of the additive score, the largest
tensor of a step. It also computes the gradient of each weight in one product over all steps.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from nmt.kernels import compiles_kernels, run_or_fall_back
from nmt.model.layers.dropout import dropout
from nmt.model.layers.recurrent import compute_dtype
from nmt.model.recurrence.loop import Recurrence
from nmt.model.recurrence.native_ops import NativeCellOps
from nmt.model.recurrence.spec import AttentionOrder, LayerWeights, RecurrenceSpec
from nmt.model.recurrence.tensors import (
    ActivationGradients,
    Inputs,
    SavedActivations,
    accumulation_dtype,
    allocate,
    head_rows,
)
from nmt.model.recurrence.torch_ops import AttendedSource, CellOps, TorchCellOps
from nmt.native.library import supports_training

Result = TypeVar("Result")


def run(
    spec: RecurrenceSpec, projected_tbg: Float[Tensor, "t b g"], *, need_weights: bool = False
) -> tuple[Float[Tensor, "t b d"], Float[Tensor, "t b f"], Float[Tensor, "t b s"] | None]:
    """Compute a recurrence over all steps; equals the loop over `RecurrentDecoder.advance`.

    Under autocast the products are in autocast's dtype. Cells and softmax are at least float32.

    Args:
        spec: the recurrence
        projected_tbg: contribution of the target tokens to the gates of the bottom layer
        need_weights: whether the attention weights are an output too

    Returns:
        hidden states of the top layer; contexts c_t or, where attention follows the recurrence,
        h~_t; attention weights if they are needed, the mean over the heads
    """
    inputs = _collect_inputs(spec, projected_tbg)
    # All tensors have their final dtype, and autocast would convert some of them at every step.
    with torch.autocast(projected_tbg.device.type, enabled=False):
        hidden_tbd, input_feed_tbf, weights_tbs = _FusedRecurrence.apply(  # type: ignore[no-untyped-call]
            spec.order, choose_ops(inputs), need_weights, *inputs
        )
    if weights_tbs is not None and spec.heads > 1:
        weights_tbs = weights_tbs.unflatten(1, (-1, spec.heads)).mean(dim=2)
    return hidden_tbd, input_feed_tbf, weights_tbs


def choose_ops(inputs: Inputs) -> CellOps:
    """Return Triton kernels or C kernels if they support these tensors, else torch's operations."""
    if compiles_kernels(inputs.keys_nsa.device):
        # Triton is an optional dependency, and its import takes time.
        from nmt.model.recurrence.triton_ops import TritonCellOps

        if TritonCellOps.supports(inputs.source):
            return TritonCellOps()
    return NativeCellOps() if supports_training(inputs.keys_nsa) else TorchCellOps()


def _collect_inputs(spec: RecurrenceSpec, projected_tbg: Tensor) -> Inputs:
    """Convert the tensors of a recurrence to the dtype of its products."""
    dtype = compute_dtype(projected_tbg)

    # Contiguous once, instead of a copy in the products of every step.
    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(dtype).contiguous()

    def cast_optional(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else cast(tensor)

    bottom, *upper = spec.layers
    hidden_lbd = torch.stack([state.hidden_nd for state in spec.states])
    cells = [state.cell_nd for state in spec.states if state.cell_nd is not None]
    upper_weight_lgx, upper_bias_lg = _stack_upper(upper, bottom, hidden_lbd.size(2))
    feed = spec.input_feed
    source = _split_source(spec)
    return Inputs(
        projected_tbg=cast(projected_tbg),
        keys_nsa=cast(source.keys_bsa),
        values_nse=cast(source.values_bse),
        hidden_lbd=cast(hidden_lbd),
        cell_lbd=torch.stack(cells).to(accumulation_dtype(dtype)),
        bottom_weight_gx=cast(bottom.weight_gx),
        upper_weight_lgx=cast(upper_weight_lgx),
        upper_bias_lg=cast(upper_bias_lg),
        query_ad=cast_optional(spec.query_ad),
        v_a=cast_optional(source.v_a),
        input_feed_bf=None if feed is None else cast(feed.first_bf),
        combine_fx=None if feed is None else cast(feed.weight_fx),
        mask_ns=source.mask_bs.contiguous(),
        dropout_tlbd=_draw_dropout(spec, projected_tbg.size(0), hidden_lbd[1:].to(dtype)),
    )


def _split_source(spec: RecurrenceSpec) -> AttendedSource:
    """Divide keys, values and v by heads; the heads of a sentence are neighboring rows."""
    heads, mask_bs, v_a = spec.heads, spec.mask_bs, spec.v_a
    if heads == 1:
        return AttendedSource(spec.keys_bsa, spec.values_bse, mask_bs, v_a)

    def split(states_bsx: Tensor) -> Tensor:
        parts_bshy: Tensor = states_bsx.unflatten(2, (heads, -1))  # type: ignore[no-untyped-call]
        return parts_bshy.transpose(1, 2).flatten(0, 1)

    return AttendedSource(
        split(spec.keys_bsa),
        split(spec.values_bse),
        mask_bs.repeat_interleave(heads, dim=0),
        None if v_a is None else v_a.view(heads, -1).repeat(len(mask_bs), 1),
    )


def _stack_upper(
    upper: list[LayerWeights], bottom: LayerWeights, hidden_size: int
) -> tuple[Float[Tensor, "l g x"], Float[Tensor, "l g"]]:
    """Stack weights and biases of the layers above the bottom one, of which there may be none."""
    if not upper:
        gates = bottom.weight_gx.size(0)
        empty = bottom.weight_gx.new_zeros
        return empty(0, gates, 2 * hidden_size), empty(0, gates)
    biases = [layer.bias_g for layer in upper if layer.bias_g is not None]
    # The upper layers have equal sizes: the width of a layer and of the one below are the same.
    return torch.stack([layer.weight_gx for layer in upper]), torch.stack(biases)


def _draw_dropout(
    spec: RecurrenceSpec, steps: int, upper_lbd: Float[Tensor, "l b d"]
) -> Float[Tensor, "t l b d"] | None:
    """Draw the dropout masks of all steps at once; None without dropout."""
    if not upper_lbd.size(0) or not spec.dropout:
        return None
    # A draw per step would launch a kernel per step. On a CPU both consume the same random numbers
    # if a step has a multiple of four units: `dropout` takes four units' bits from one number.
    return dropout(upper_lbd.new_ones(steps, *upper_lbd.shape), spec.dropout)


class _FusedRecurrence(Function):
    """A recurrence with a manual backward pass."""

    @staticmethod
    def forward(
        ctx: Any, order: AttentionOrder, ops: CellOps, need_weights: bool, *tensors: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        # Autograd does not track tensors inside tuples, so they are passed one by one.
        inputs = Inputs(*tensors)  # type: ignore[arg-type]
        recurrence = Recurrence(inputs, allocate(inputs), order, ops)
        _run(recurrence, lambda chosen: chosen.forward())
        ctx.order, ctx.ops = order, ops
        # The backward pass does not read the projected inputs, so they are not kept alive.
        inputs = inputs._replace(projected_tbg=inputs.projected_tbg.new_empty(0, 0, 0))
        # Some are None, such as v of a bilinear score, which autograd permits.
        ctx.save_for_backward(*inputs, *recurrence.saved)
        weights_tbs = recurrence.saved.weights_tns if need_weights else None
        return recurrence.hidden_tbd, recurrence.input_feed_tbf, weights_tbs

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_hidden_tbd: Tensor, d_input_feed_tbf: Tensor, d_weights_tbs: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        tensors, count = ctx.saved_tensors, len(Inputs._fields)
        inputs, saved = Inputs(*tensors[:count]), SavedActivations(*tensors[count:])
        recurrence = Recurrence(inputs, saved, ctx.order, ctx.ops)
        with torch.autocast(inputs.keys_nsa.device.type, enabled=False):
            gradients = _run(
                recurrence,
                lambda chosen: input_gradients(
                    chosen, chosen.backward(d_hidden_tbd, d_input_feed_tbf, d_weights_tbs)
                ),
            )
        # Order, ops, need_weights and the two masks at the end of `Inputs` have no gradient.
        return (None, None, None, *gradients, None, None)


def _run(recurrence: Recurrence, compute: Callable[[Recurrence], Result]) -> Result:
    """Compute a pass; if the launch of a kernel fails, compute all of it by torch's operations."""
    plain = replace(recurrence, ops=TorchCellOps())
    return run_or_fall_back(lambda: compute(recurrence), lambda: compute(plain))


class InputGradients(NamedTuple):
    """Gradients of the differentiable `Inputs`, in the same order."""

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


def input_gradients(recurrence: Recurrence, gradients: ActivationGradients) -> InputGradients:
    """Compute the gradients of all inputs, with one product over all steps for each weight."""
    inputs, saved, d = recurrence.inputs, recurrence.saved, recurrence.inputs.hidden_size
    d_bottom_tbx = gradients.bottom_inputs_tbx
    # The context is r_t of the bottom layer, or, in the other order, the first part of [c_t; h_t].
    d_context_tbe = d_bottom_tbx[:-1, :, d:]
    d_combine_fx = d_input_feed_bf = None
    if recurrence.order is AttentionOrder.AFTER:
        assert gradients.combined_tbx is not None and gradients.feed_sum_tbf is not None
        assert saved.combined_tbx is not None
        d_context_tbe = gradients.combined_tbx[:, :, :-d]
        d_input_feed_bf = d_bottom_tbx[0, :, d:]  # h~ of the first step is an input
        d_combine_fx = _weight_gradient(gradients.feed_sum_tbf, saved.combined_tbx)
    # Row t of the inputs enters step t; the last row is the state after the last step.
    d_weights = [
        _weight_gradient(gradients.gates_ltbg[layer], saved.inputs_tbx(layer)[:-1])
        for layer in range(inputs.layers)
    ]
    d_keys_nsa, d_query_ad, d_v_a = _score_gradients(recurrence, gradients)
    values_dtype = saved.bottom_inputs_tbx.dtype
    return InputGradients(
        # The projection is an addend of the gates, so it has their gradient.
        projected_tbg=gradients.gates_ltbg[0],
        keys_nsa=d_keys_nsa,
        values_nse=_sum_outer_products(
            saved.weights_tns.to(values_dtype), head_rows(d_context_tbe, inputs.heads)
        ),
        hidden_lbd=torch.stack(
            [gradients.inputs_tbx(layer)[0, :, :d] for layer in range(inputs.layers)]
        ),
        cell_lbd=gradients.cell_lbd,
        bottom_weight_gx=d_weights[0],
        upper_weight_lgx=torch.stack(d_weights[1:])
        if inputs.layers > 1
        else torch.zeros_like(inputs.upper_weight_lgx),
        upper_bias_lg=gradients.gates_ltbg[1:].sum(dim=(1, 2)),
        query_ad=d_query_ad,
        v_a=d_v_a,
        input_feed_bf=d_input_feed_bf,
        combine_fx=d_combine_fx,
    )


def _score_gradients(
    recurrence: Recurrence, gradients: ActivationGradients
) -> tuple[Float[Tensor, "n s y"], Float[Tensor, "a d"] | None, Float[Tensor, "*n y"] | None]:
    """Compute the gradients of the keys, of W and of v; y is a head's share of a."""
    inputs, states_tbd = recurrence.inputs, recurrence.query_states_tbd
    queries_tba, d_query_ad = states_tbd, None
    if inputs.query_ad is not None:
        assert recurrence.saved.query_tba is not None
        queries_tba = recurrence.saved.query_tba
        d_query_ad = _weight_gradient(gradients.query_tba, states_tbd)
    queries_tba = head_rows(queries_tba, inputs.heads)
    if gradients.additive is None:
        # q·k: the gradient of the keys is a product over all steps, as that of the values is.
        narrow_tns = gradients.energies_tns.to(states_tbd.dtype)
        return _sum_outer_products(narrow_tns, queries_tba), d_query_ad, None
    recurrence.ops.finish_additive(
        queries_tba.contiguous(), inputs.source, gradients.energies_tns, gradients.additive
    )
    d_keys_nsa, d_v_a = (total.to(inputs.keys_nsa.dtype) for total in gradients.additive)
    return d_keys_nsa, d_query_ad, d_v_a


def _weight_gradient(
    d_outputs_tbg: Float[Tensor, "t b g"], inputs_tbx: Float[Tensor, "t b x"]
) -> Float[Tensor, "g x"]:
    """Compute the gradient of a weight that is shared by all steps."""
    return d_outputs_tbg.flatten(0, 1).mT @ inputs_tbx.flatten(0, 1)


def _sum_outer_products(
    weights_tns: Float[Tensor, "t n s"], vectors_tne: Float[Tensor, "t n e"]
) -> Float[Tensor, "n s e"]:
    """Compute Σ_t α_ts x_t for each sentence: the gradient of its values or keys."""
    return torch.bmm(weights_tns.permute(1, 2, 0), vectors_tne.transpose(0, 1))
