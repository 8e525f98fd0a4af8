"""Bits of a sentence's results do not depend on its batch, for every part of a model.

tests/campaigns/test_batch_invariance.py repeats this at all widths and lengths.
"""

from typing import Any

import pytest
import torch

from nmt.inference.linear import supports_prepacking
from nmt.native import library as native
from tests.product_libraries import PRODUCT_LIBRARIES, product_library

from .batch_bits import compiled, differences, results, systems

pytestmark = pytest.mark.skipif(
    not supports_prepacking(), reason="rows may round differently on this CPU"
)
# Other kernels of matrix products run at large widths; every kind of layer is in one of these.
WIDE = {
    "luong additive",
    "luong general coverage",
    "luong local_p location",
    "bahdanau large keys",
    "gru bahdanau",
    "gnmt gnmt",
    "ntm ntm",
    "transformer transformer",
    "lstmn lstmn deep",
}
CASES = [pytest.param(options, 36, id=f"{name}-36") for name, options in systems()] + [
    pytest.param(options, 256, id=f"{name}-256", marks=pytest.mark.slow)
    for name, options in systems()
    if name in WIDE
]


@pytest.mark.skipif(not native.is_available(), reason="the kernels in C were not compiled")
@pytest.mark.parametrize(("options", "width"), CASES)
def test_sources_of_one_token_have_the_same_results_with_and_without_kernels(
    options: dict[str, Any], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = results(compiled(width, **options), [1, 1, 1, 1], row=3, hypotheses=2)
    monkeypatch.setattr(native, "is_available", lambda: False)
    expected = results(compiled(width, **options), [1, 1, 1, 1], row=3, hypotheses=2)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("elementwise")
@pytest.mark.parametrize(("options", "width"), CASES)
def test_results_of_a_sentence_have_the_same_bits_in_every_batch(
    options: dict[str, Any], width: int
) -> None:
    model = compiled(width, **options)
    for library in PRODUCT_LIBRARIES:
        with product_library(library) as is_available:
            lengths = ((1, 5), (7, 1)) if is_available else ()
            found = [d for length, k in lengths for d in differences(model, length, k)]
        assert not found, library
