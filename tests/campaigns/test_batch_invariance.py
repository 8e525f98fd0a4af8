"""A sentence's results have the same bits alone and in every batch: all parts, widths, lengths."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
import torch

from nmt.inference.linear import supports_prepacking
from tests.campaigns.rounds import Tally, each
from tests.inference.batch_bits import compiled, differences, systems

pytestmark = pytest.mark.skipif(
    not supports_prepacking(), reason="rows may round differently on this CPU"
)
WIDTHS = (8, 20, 36, 64, 100, 128, 256, 320, 512, 1024)
LENGTHS = ((1, 5), (2, 1), (3, 10), (7, 5), (17, 2), (64, 5))  # with numbers of hypotheses
LONG = ((200, 5), (400, 2), (500, 5))


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def _cases() -> list[tuple[str, Any]]:
    found = []
    for (name, options), width, count in product(systems(), WIDTHS, (1, 2)):
        found.append((f"{name}, width {width}, threads {count}", (options, width, count)))
    return found


@each(_cases(), short=3)
def test_bits_of_a_sentence_do_not_depend_on_its_batch(
    case: tuple[dict[str, Any], int, int],
    threads: Callable[[int], None],
    record_property: Callable[[str, object], None],
) -> None:
    options, width, count = case
    threads(count)
    model, tally = compiled(width, **options), Tally(record_property)
    is_slow = options.get("encoder") in ("ntm", "lstmn") or width > 256
    for length, hypotheses in LENGTHS if is_slow else LENGTHS + LONG:
        found = differences(model, length, hypotheses)
        tally.add("; ".join(found) if found else None)
    tally.check()
