"""Fixtures of the tests of inference."""

import pytest

from nmt.native import library


@pytest.fixture(params=["kernels in C", "torch"])
def elementwise(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with the kernels in C, if they were compiled, and with torch's operations."""
    if request.param == "torch":
        monkeypatch.setattr(library, "is_available", lambda: False)
    elif not library.is_available():
        pytest.skip("the kernels in C were not compiled")
    return str(request.param)
