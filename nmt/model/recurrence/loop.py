"""The loop over a known target, there and back, on given room."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from nmt.model.recurrence.buffers import Given, Trail, exact_dtype
from nmt.model.recurrence.steps import KeySums, Steps


def forward(given: Given, trail: Trail, steps: Steps) -> None:
    """Go the way, and write it down.

    A step is one product a layer, one for W q, and what `Steps` has. `trail` holds the first
    states.
    """
    for time in range(given.projected_tbg.size(0)):
        if given.looks_first:
            _look(time, time, given, trail, steps)
            _move(time, given, trail, steps)
        else:
            _move(time, given, trail, steps)
            _look(time, time + 1, given, trail, steps)
            _combine(time, given, trail)


def _move(time: int, given: Given, trail: Trail, steps: Steps) -> None:
    """All layers, from the bottom one up."""
    units = given.hidden_lbd.size(2)
    for layer in range(given.layers):
        rows_tbx, gates_bg = trail.rows_tbx(layer), trail.gates_ltbg[layer, time]
        start = given.upper_bias_lg[layer - 1] if layer else given.projected_tbg[time]
        torch.addmm(start, rows_tbx[time], given.weight_gx(layer).mT, out=gates_bg)
        hidden_bd = rows_tbx[time + 1, :, :units]
        cell_tbd = trail.cell_ltbd[layer]
        steps.move(gates_bg, cell_tbd[time], cell_tbd[time + 1], hidden_bd)
        if layer + 1 < given.layers:
            entering_bd = trail.rows_tbx(layer + 1)[time, :, units:]
            if given.kept_tlbd is None:
                entering_bd.copy_(hidden_bd)
            else:
                torch.mul(hidden_bd, given.kept_tlbd[time, layer], out=entering_bd)


def _look(time: int, row: int, given: Given, trail: Trail, steps: Steps) -> None:
    """With the top layer's state of this row."""
    units = given.hidden_lbd.size(2)
    query_ba = trail.rows_tbx(given.layers - 1)[row, :, :units]
    if given.query_ad is not None:
        assert trail.query_tba is not None
        query_ba = torch.mm(query_ba, given.query_ad.mT, out=trail.query_tba[time])
    if trail.seen_tbx is None:
        context_be = trail.bottom_tbx[time, :, units:]
    else:
        context_be = trail.seen_tbx[time, :, :-units]
    steps.look(query_ba, given, trail.weights_tbs[time], context_be)


def _combine(time: int, given: Given, trail: Trail) -> None:
    """What is fed back, from the context and the state that has looked."""
    units = given.hidden_lbd.size(2)
    assert trail.seen_tbx is not None and given.combine_fx is not None
    seen_bx = trail.seen_tbx[time]
    seen_bx[:, -units:] = trail.hidden_tbd[time]
    fed_bf = trail.bottom_tbx[time + 1, :, units:]
    fed_bf.copy_(torch.mm(seen_bx, given.combine_fx.mT).tanh_())


class Slopes(NamedTuple):
    """Gradients along a trail; each has the shape of what it belongs to.

    Those of the rows take up, one after the other, what the readout, the steps after and the same
    step have to say.
    """

    bottom_tbx: Float[Tensor, "t b x"]
    upper_ltbx: Float[Tensor, "l t b x"]
    cell_lbd: Float[Tensor, "l b d"]
    gates_ltbg: Float[Tensor, "l t b g"]
    query_tba: Float[Tensor, "t b a"]
    energies_tbs: Float[Tensor, "t b s"]
    combined_tbf: Float[Tensor, "t b f"] | None
    seen_tbx: Float[Tensor, "t b x"] | None
    sums: KeySums | None

    def rows_tbx(self, layer: int) -> Float[Tensor, "t b x"]:
        """Those of a layer's rows."""
        return self.upper_ltbx[layer - 1] if layer else self.bottom_tbx


def backward(
    given: Given,
    trail: Trail,
    steps: Steps,
    d_hidden_tbd: Float[Tensor, "t b d"],
    d_fed_tbf: Float[Tensor, "t b f"],
) -> Slopes:
    """Go the way back, from the gradients of what the readout has seen.

    What does not wait for the step after is left for when the loop is over: the gradients of
    weights and annotations.
    """
    slopes = _begin_back(given, trail, d_hidden_tbd, d_fed_tbf)
    for time in reversed(range(given.projected_tbg.size(0))):
        if given.looks_first:
            _move_back(time, given, trail, slopes, steps)
            d_context_be = slopes.bottom_tbx[time, :, given.hidden_lbd.size(2) :]
            _look_back(time, time, given, trail, slopes, steps, d_context_be)
        else:
            d_context_be = _combine_back(time, given, trail, slopes)
            _look_back(time, time + 1, given, trail, slopes, steps, d_context_be)
            _move_back(time, given, trail, slopes, steps)
    return slopes


def _begin_back(given: Given, trail: Trail, d_hidden_tbd: Tensor, d_fed_tbf: Tensor) -> Slopes:
    seen, units = trail.seen_tbx, given.hidden_lbd.size(2)
    query_tba = trail.hidden_tbd if trail.query_tba is None else trail.query_tba
    slopes = Slopes(
        torch.zeros_like(trail.bottom_tbx),
        torch.zeros_like(trail.upper_ltbx),
        torch.zeros_like(given.cell_lbd),
        torch.empty_like(trail.gates_ltbg),
        # Kernels want rows without gaps, and what comes from the readout may lie in any order.
        d_hidden_tbd.new_empty(query_tba.shape),
        torch.empty_like(trail.weights_tbs),
        None if seen is None else d_fed_tbf.new_empty(d_fed_tbf.shape),
        None if seen is None else torch.empty_like(seen),
        _begin_sums(given),
    )
    slopes.rows_tbx(given.layers - 1)[1:, :, :units] = d_hidden_tbd
    d_rows_tbf = slopes.bottom_tbx[:, :, units:]
    (d_rows_tbf[:-1] if given.looks_first else d_rows_tbf[1:]).copy_(d_fed_tbf)
    return slopes


def _begin_sums(given: Given) -> KeySums | None:
    if given.energy_a is None:
        return None
    parts = (given.keys_bsa, given.energy_a)
    return KeySums(*(torch.zeros_like(p, dtype=exact_dtype(p.dtype)) for p in parts))


def _move_back(time: int, given: Given, trail: Trail, slopes: Slopes, steps: Steps) -> None:
    """All layers, from the top one down."""
    units = given.hidden_lbd.size(2)
    for layer in reversed(range(given.layers)):
        d_rows_tbx, d_gates_bg = slopes.rows_tbx(layer), slopes.gates_ltbg[layer, time]
        cell_tbd = trail.cell_ltbd[layer]
        steps.move_back(
            trail.gates_ltbg[layer, time],
            cell_tbd[time],
            cell_tbd[time + 1],
            d_rows_tbx[time + 1, :, :units],
            slopes.cell_lbd[layer],
            d_gates_bg,
        )
        d_rows_tbx[time].addmm_(d_gates_bg, given.weight_gx(layer))
        if layer:
            d_below_bd = slopes.rows_tbx(layer - 1)[time + 1, :, :units]
            d_entering_bd = d_rows_tbx[time, :, units:]
            if given.kept_tlbd is None:
                d_below_bd.add_(d_entering_bd)
            else:
                d_below_bd.addcmul_(d_entering_bd, given.kept_tlbd[time, layer - 1])


def _look_back(
    time: int,
    row: int,
    given: Given,
    trail: Trail,
    slopes: Slopes,
    steps: Steps,
    d_context_be: Float[Tensor, "b e"],
) -> None:
    units, top = given.hidden_lbd.size(2), given.layers - 1
    state_bd, d_state_bd = (own.rows_tbx(top)[row, :, :units] for own in (trail, slopes))
    query_ba = state_bd if trail.query_tba is None else trail.query_tba[time]
    d_query_ba = slopes.query_tba[time]
    weights_bs, d_energies_bs = trail.weights_tbs[time], slopes.energies_tbs[time]
    steps.look_back(
        query_ba, given, weights_bs, d_context_be, d_energies_bs, d_query_ba, slopes.sums
    )
    if given.query_ad is None:
        d_state_bd.add_(d_query_ba)
    else:
        d_state_bd.addmm_(d_query_ba, given.query_ad)


def _combine_back(time: int, given: Given, trail: Trail, slopes: Slopes) -> Float[Tensor, "b e"]:
    """Hands the state its part, and gives back the context's."""
    units = given.hidden_lbd.size(2)
    assert slopes.combined_tbf is not None and slopes.seen_tbx is not None
    assert given.combine_fx is not None
    fed_bf, d_fed_bf = (own.bottom_tbx[time + 1, :, units:] for own in (trail, slopes))
    d_sum_bf = torch.mul(d_fed_bf, 1 - fed_bf.square(), out=slopes.combined_tbf[time])
    d_seen_bx = torch.mm(d_sum_bf, given.combine_fx, out=slopes.seen_tbx[time])
    slopes.rows_tbx(given.layers - 1)[time + 1, :, :units].add_(d_seen_bx[:, -units:])
    return d_seen_bx[:, :-units]
