"""Which way a recurrence goes."""

import pytest
import torch

from nmt.errors import UserError
from nmt.model.recurrence.way import VARIABLE, goes_captured, goes_fused, going

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_a_gpu_goes_the_fused_way_and_a_cpu_the_plain_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert goes_fused(GPU) and not goes_fused(CPU)
    assert not goes_captured()


def test_graphs_are_for_those_who_ask_for_them() -> None:
    with going("captured"):
        assert goes_fused(CPU) and goes_captured()
    with going("fused"):
        assert goes_fused(CPU) and not goes_captured()


def test_the_environment_says_the_way_and_a_context_says_it_louder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "plain")
    assert not goes_fused(GPU)
    with going("fused"):
        assert goes_fused(CPU)
        with going("auto"):
            assert goes_fused(GPU) and not goes_fused(CPU)
        assert goes_fused(CPU)
    assert not goes_fused(GPU)


def test_a_way_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "quick")
    with pytest.raises(UserError, match="RECURRENCE=quick: use auto, plain, fused, captured"):
        goes_fused(CPU)
