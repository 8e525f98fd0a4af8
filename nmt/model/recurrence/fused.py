"""The whole loop over a known target as one operation of autograd."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from nmt.device import compiles_kernels
from nmt.model.layers.cell import compute_dtype
from nmt.model.layers.dropout import dropout
from nmt.model.recurrence.buffers import Given, Trail, empty_trail, exact_dtype
from nmt.model.recurrence.gradients import gradients
from nmt.model.recurrence.loop import backward, forward
from nmt.model.recurrence.spec import RecurrenceSpec
from nmt.model.recurrence.steps import Steps, TorchSteps


def run(
    spec: RecurrenceSpec, projected_tbg: Float[Tensor, "t b g"]
) -> tuple[Float[Tensor, "t b d"], Float[Tensor, "t b f"]]:
    """The top layer's states, and what is fed back: the contexts, or h~.

    Equal to the plain loop. Products are in autocast's type where it is on, cells and softmax in
    float32 at least, and the gradient of a weight is one product over all steps.
    """
    given = _give(spec, projected_tbg)
    steps = steps_for(given)
    with torch.autocast(projected_tbg.device.type, enabled=False):
        hidden_tbd, fed_tbf = _Fused.apply(steps, *given)  # type: ignore[no-untyped-call]
    return hidden_tbd, fed_tbf


def _give(recurrence: RecurrenceSpec, projected_tbg: Tensor) -> Given:
    """What the loop reads, in its types. Masks of dropout are drawn for all steps at once."""
    dtype = compute_dtype(projected_tbg)

    def cast(part: Tensor | None) -> Any:
        return None if part is None else part.to(dtype).contiguous()

    feed = recurrence.input_feed
    bottom, *upper = recurrence.layers
    hidden_lbd = torch.stack([state.hidden_nd for state in recurrence.states])
    cells = [state.cell_nd for state in recurrence.states if state.cell_nd is not None]
    gates, units = bottom.weight_gx.size(0), hidden_lbd.size(2)
    upper_lgx = projected_tbg.new_zeros(0, gates, 2 * units)
    upper_bias_lg = projected_tbg.new_zeros(0, gates)
    if upper:
        upper_lgx = torch.stack([layer.weight_gx for layer in upper])
        upper_bias_lg = torch.stack([layer.bias_g for layer in upper if layer.bias_g is not None])
    kept_tlbd = None
    if upper and recurrence.dropout:
        shape = (projected_tbg.size(0), len(upper), *hidden_lbd.shape[1:])
        kept_tlbd = dropout(projected_tbg.new_ones(shape, dtype=dtype), recurrence.dropout)
    return Given(
        cast(projected_tbg),
        cast(recurrence.keys_bsa),
        cast(recurrence.values_bse),
        recurrence.mask_bs.contiguous(),
        cast(hidden_lbd),
        torch.stack(cells).to(exact_dtype(dtype)),
        cast(bottom.weight_gx),
        cast(upper_lgx),
        cast(upper_bias_lg),
        cast(recurrence.query_ad),
        cast(recurrence.v_a),
        None if feed is None else cast(feed.first_bf),
        None if feed is None else cast(feed.weight_fx),
        kept_tlbd,
    )


def steps_for(given: Given) -> Steps:
    """Triton's kernels where they serve, else torch's operations."""
    if compiles_kernels():
        from nmt.model.recurrence.triton_steps import TritonSteps

        if TritonSteps.serves(given):
            return TritonSteps()
    return TorchSteps()


class _Fused(Function):
    """Keeps what `Trail` says, which is less by the tanh of every step than autograd would."""

    @staticmethod
    def forward(ctx: Any, steps: Steps, *tensors: Tensor | None) -> tuple[Tensor, Tensor]:
        given = Given(*tensors)  # type: ignore[arg-type]
        trail = empty_trail(given)
        forward(given, trail, steps)
        ctx.steps = steps
        # The way back asks of the projected inputs only how many steps there were.
        given = given._replace(
            projected_tbg=given.projected_tbg.new_empty(len(trail.weights_tbs), 0, 0)
        )
        ctx.save_for_backward(*given, *trail)
        return trail.hidden_tbd, trail.fed_tbf

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        given, trail = Given(*tensors[: len(Given._fields)]), Trail(*tensors[len(Given._fields) :])
        with torch.autocast(given.projected_tbg.device.type, enabled=False):
            slopes = backward(given, trail, ctx.steps, *d_outputs)
            return None, *gradients(given, trail, slopes, ctx.steps)
