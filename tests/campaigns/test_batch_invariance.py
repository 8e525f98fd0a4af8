"""A sentence's results have the same bits alone and in every batch: all parts, widths, lengths."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
import torch

from nmt.inference.linear import supports_prepacking
from tests.campaigns.rounds import Tally, each
from tests.inference.batch_bits import compiled, differences, systems
from tests.product_libraries import PRODUCT_LIBRARIES, product_library

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
    return [
        (f"{name}, width {width}", (options, width))
        for (name, options), width in product(systems(), WIDTHS)
    ]


@each(_cases(), short=2)
def test_bits_of_a_sentence_do_not_depend_on_its_batch(
    case: tuple[dict[str, Any], int],
    threads: Callable[[int], None],
    full: bool,
    tally: Tally,
) -> None:
    options, width = case
    model = compiled(width, **options)
    is_slow = options.get("encoder") in ("ntm", "lstmn") or width > 256
    lengths = LENGTHS if is_slow else LENGTHS + LONG
    # Threads that wait for each other take a minute where other tests use the cores.
    for count, chosen in ((1, lengths), (2, lengths if full else lengths[:2])):
        threads(count)
        for library, (length, hypotheses) in product(PRODUCT_LIBRARIES, chosen):
            with product_library(library) as is_available:
                found = differences(model, length, hypotheses) if is_available else []
            name = f"threads {count}, products by {library}"
            tally.add(f"{name}: {'; '.join(found)}" if found else None)
    tally.check()
