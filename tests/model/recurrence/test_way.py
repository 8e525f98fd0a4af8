"""Which way a recurrence goes."""

import pytest

from nmt.errors import UserError
from nmt.model.recurrence.way import VARIABLE, goes_fused, going


def test_the_fused_way_is_gone_where_nobody_says_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert goes_fused()


def test_the_environment_says_the_way_and_a_context_says_it_louder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "plain")
    assert not goes_fused()
    with going("fused"):
        assert goes_fused()
        with going("plain"):
            assert not goes_fused()
        assert goes_fused()
    assert not goes_fused()


def test_a_way_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "quick")
    with pytest.raises(UserError, match="RECURRENCE=quick: use auto, plain, fused"):
        goes_fused()
