"""Bits of a sentence's results do not depend on its batch, for every part of a model.

tests/campaigns/test_batch_invariance.py repeats this at all widths and lengths.
"""

from typing import Any

import pytest

from nmt.inference.linear import supports_prepacking

from .batch_bits import compiled, differences, systems

pytestmark = pytest.mark.skipif(
    not supports_prepacking(), reason="rows may round differently on this CPU"
)
SYSTEMS = [pytest.param(options, id=name) for name, options in systems()]


@pytest.mark.parametrize("width", [36, pytest.param(256, marks=pytest.mark.slow)])
@pytest.mark.parametrize("options", SYSTEMS)
def test_results_of_a_sentence_have_the_same_bits_in_every_batch(
    options: dict[str, Any], width: int
) -> None:
    model = compiled(width, **options)
    found = [d for length, k in ((1, 5), (7, 1)) for d in differences(model, length, k)]
    assert not found
