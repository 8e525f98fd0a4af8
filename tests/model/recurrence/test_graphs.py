"""The room of a bucket, on a CPU: here a captured graph is the work itself."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import backward

from nmt.model.recurrence import graphs
from nmt.model.recurrence.buffers import Given
from nmt.model.recurrence.graphs import Captured, Work, find, replay
from nmt.model.recurrence.steps import TorchSteps
from tests.model.recurrence.drawn import draw, error, results, slopes

STEPS = TorchSteps()
CASES = [
    pytest.param({"additive": additive, "looks_first": looks_first}, id=f"{form}-{order}")
    for additive, form in ((True, "additive"), (False, "bilinear"))
    for looks_first, order in ((True, "look"), (False, "move"))
]


def _same(work: Work) -> Work:
    return work


@pytest.fixture(autouse=True)
def buckets(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    """No buckets at first; and graphs that need no GPU."""
    captured: dict[Any, Any] = {}
    monkeypatch.setattr(graphs, "_captured", captured)
    monkeypatch.setattr(graphs, "_seen", set())
    monkeypatch.setattr(graphs, "capture", _same)
    return captured


def _leaves(given: Given) -> Given:
    """The same numbers, to take gradients."""
    parts = [
        part.clone().requires_grad_() if part is not None and part.is_floating_point() else part
        for part in given
    ]
    return Given(*parts)  # type: ignore[arg-type]


def _replayed(captured: Captured, given: Given) -> dict[str, Tensor]:
    leaves = _leaves(given)._replace(kept_tlbd=given.kept_tlbd)
    hidden_tbd, fed_tbf = replay(captured, leaves)
    d_hidden_tbd, d_fed_tbf = slopes(hidden_tbd, fed_tbf)
    backward((hidden_tbd * d_hidden_tbd).sum() + (fed_tbf * d_fed_tbf).sum())
    found = {"hidden": hidden_tbd.detach(), "fed": fed_tbf.detach()}
    for name, part in zip(Given._fields, leaves, strict=True):
        if part is not None and part.grad is not None and part.numel():
            found[f"d_{name}"] = part.grad
    return found


@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("layers", [1, 2])
def test_what_is_filled_up_takes_no_part(options: dict[str, bool], layers: int) -> None:
    large = draw(**options, layers=layers, steps=5, sentences=6, positions=9)
    captured = Captured(large, STEPS, _same)
    broken = [part if part is None else part * float("nan") for part in large]
    large = Given(*broken)._replace(mask_bs=large.mask_bs)  # type: ignore[arg-type]
    assert _replayed(captured, large)["hidden"].isnan().any(), "left behind for the next batch"
    given = draw(**options, layers=layers)
    expected, found = results(given, STEPS), _replayed(captured, given)
    assert found.keys() == expected.keys() - {"weights", "cells"}
    for name, part in found.items():
        assert part.shape == expected[name].shape
        assert error(part, expected[name]) < 1e-12, name


def test_a_batch_as_large_as_its_bucket_fills_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "GRAIN", {})
    given = draw(additive=True, looks_first=False, layers=2)
    expected, found = results(given, STEPS), _replayed(Captured(given, STEPS, _same), given)
    assert all(error(part, expected[name]) < 1e-12 for name, part in found.items())


def test_a_bucket_is_captured_when_it_comes_again(buckets: dict[Any, Any]) -> None:
    given = draw(additive=True, looks_first=True)
    assert find(given, STEPS) is None
    captured = find(given, STEPS)
    assert captured is not None
    assert find(draw(additive=True, looks_first=True, positions=16), STEPS) is captured
    assert find(draw(additive=True, looks_first=True, positions=17), STEPS) is None
    assert find(draw(additive=True, looks_first=False), STEPS) is None
    assert find(draw(additive=False, looks_first=True), STEPS) is None
    assert list(buckets.values()) == [captured]


def test_there_are_no_more_buckets_than_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "MOST", 1)
    one, other = (draw(additive=form, looks_first=True) for form in (True, False))
    assert find(one, STEPS) is None and find(one, STEPS) is not None
    assert [find(other, STEPS) for _ in range(3)] == [None] * 3
    assert find(one, STEPS) is not None


def test_a_room_is_taken_until_the_way_back_is_gone_or_forgotten() -> None:
    given = _leaves(draw(additive=True, looks_first=True))
    find(given, STEPS)
    captured = find(given, STEPS)
    assert captured is not None
    hidden_tbd, fed_tbf = replay(captured, given)
    assert find(given, STEPS) is None
    backward(hidden_tbd.sum())
    assert find(given, STEPS) is captured
    hidden_tbd, fed_tbf = replay(captured, given)
    assert find(given, STEPS) is None
    del hidden_tbd, fed_tbf
    assert find(given, STEPS) is captured


def test_no_batch_gets_the_gradients_of_another() -> None:
    given = _leaves(draw(additive=True, looks_first=True))
    captured = Captured(given, STEPS, _same)
    first_tbd, _ = replay(captured, given)
    backward(first_tbd.sum(), retain_graph=True)
    second_tbd, _ = replay(captured, given)
    with pytest.raises(RuntimeError, match="overwritten by a later one; set NMT_RECURRENCE=fused"):
        backward(first_tbd.sum())
    backward(second_tbd.sum())


def test_what_cannot_be_captured_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(work: Work) -> Work:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(graphs, "capture", fail)
    given = draw(additive=True, looks_first=True)
    assert find(given, STEPS) is None
    with pytest.warns(UserWarning, match="goes without a CUDA graph: operation not permitted"):
        assert find(given, STEPS) is None
    assert find(given, STEPS) is None, "and is not tried again"


def test_the_room_is_of_its_own() -> None:
    given = draw(additive=True, looks_first=True)
    captured = Captured(given, STEPS, _same)
    first_tbd, _ = replay(captured, given)
    kept_tbd = first_tbd.clone()
    replay(captured, given._replace(projected_tbg=-given.projected_tbg))
    assert torch.equal(first_tbd, kept_tbd), "what the readout got stays as it was"
