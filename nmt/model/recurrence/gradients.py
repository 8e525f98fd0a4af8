"""From a whole way back to the gradients of all that was given, in one product each."""

import torch
from jaxtyping import Float
from torch import Tensor

from nmt.model.recurrence.buffers import Given, Trail
from nmt.model.recurrence.loop import Slopes
from nmt.model.recurrence.steps import Steps


def gradients(
    given: Given, trail: Trail, slopes: Slopes, steps: Steps
) -> tuple[Tensor | None, ...]:
    """Gradients in the order of `Given`; None for masks."""
    units, looks_first = given.hidden_lbd.size(2), given.looks_first
    d_keys_bsa, d_query_ad, d_energy_a = _of_looking(given, trail, slopes, steps)
    rows, d_rows = trail.bottom_tbx, slopes.bottom_tbx
    d_context_tbe = d_rows[:-1, :, units:]
    d_combine_fx = d_fed_bf = None
    if not looks_first:
        assert slopes.seen_tbx is not None and slopes.combined_tbf is not None
        assert trail.seen_tbx is not None
        d_context_tbe, d_fed_bf = slopes.seen_tbx[:, :, :-units], d_rows[0, :, units:]
        d_combine_fx = _weight(slopes.combined_tbf, trail.seen_tbx)
    upper = range(1, given.layers)
    uppers = [_weight(slopes.gates_ltbg[n], trail.rows_tbx(n)[:-1]) for n in upper]
    result = Given(
        projected_tbg=slopes.gates_ltbg[0],
        keys_bsa=d_keys_bsa,
        values_bse=_outer(trail.weights_tbs.to(rows.dtype), d_context_tbe),
        mask_bs=given.mask_bs,
        hidden_lbd=torch.stack([slopes.rows_tbx(n)[0, :, :units] for n in range(given.layers)]),
        cell_lbd=slopes.cell_lbd,
        bottom_gx=_weight(slopes.gates_ltbg[0], rows[:-1]),
        upper_lgx=torch.stack(uppers) if uppers else torch.zeros_like(given.upper_lgx),
        upper_bias_lg=slopes.gates_ltbg[1:].sum(dim=(1, 2)),
        query_ad=d_query_ad,
        energy_a=d_energy_a,
        fed_bf=d_fed_bf,
        combine_fx=d_combine_fx,
        kept_tlbd=None,
    )
    return tuple(None if part is given.mask_bs else part for part in result)


def _of_looking(
    given: Given, trail: Trail, slopes: Slopes, steps: Steps
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Those of the keys, of W and of v."""
    units = given.hidden_lbd.size(2)
    state_tbd = trail.hidden_tbd
    if given.looks_first:
        state_tbd = trail.rows_tbx(given.layers - 1)[:-1, :, :units]
    if given.query_ad is None:
        narrow_tbs = slopes.energies_tbs.to(state_tbd.dtype)
        return _outer(narrow_tbs, state_tbd), None, None
    assert trail.query_tba is not None and given.energy_a is not None and slopes.sums is not None
    steps.keys_back(trail.query_tba, given, slopes.energies_tbs, slopes.sums)
    d_keys_bsa, d_energy_a = (sum_.to(given.keys_bsa.dtype) for sum_ in slopes.sums)
    return d_keys_bsa, _weight(slopes.query_tba, state_tbd), d_energy_a


def _weight(
    d_outputs_tby: Float[Tensor, "t b y"], inputs_tbx: Float[Tensor, "t b x"]
) -> Float[Tensor, "y x"]:
    """The gradient of a weight that every step was multiplied with."""
    return d_outputs_tby.flatten(0, 1).mT @ inputs_tbx.flatten(0, 1)


def _outer(
    weights_tbs: Float[Tensor, "t b s"], values_tbe: Float[Tensor, "t b e"]
) -> Float[Tensor, "b s e"]:
    """Outer products of every sentence, summed over its steps."""
    return torch.bmm(weights_tbs.permute(1, 2, 0), values_tbe.transpose(0, 1))
