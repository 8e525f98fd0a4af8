"""Reservoir sampling of lines, so that a vocabulary can be trained on part of a long text."""

import sys
from collections.abc import Iterable
from itertools import islice
from math import log, log1p
from random import Random


def sample_lines(lines: Iterable[str], count: int) -> tuple[list[str], int]:
    """Sample lines uniformly without replacement, and count all lines.

    The sample is the same in every call. A text of at most `count` lines is returned completely and
    in order. Of a longer text, only the sample is held in memory. Algorithm L of Li 1994, ACM
    TOMS 20(4).

    Args:
        lines: the text, read once
        count: maximum number of lines to sample

    Returns:
        the sampled lines and the number of lines in the text
    """
    rest = iter(lines)
    sample = list(islice(rest, count))
    total = len(sample)
    random, weight = Random(1), 1.0
    while True:
        weight *= (1 - random.random()) ** (1 / count)
        # A small count may round the weight to 1; then no line is skipped.
        num_skipped = int(log(1 - random.random()) / log1p(-weight)) if weight < 1 else 0
        skipped = sum(1 for _ in islice(rest, min(num_skipped, sys.maxsize)))
        line = next(rest, None)
        total += skipped + (line is not None)
        if line is None:
            return sample, total
        sample[random.randrange(count)] = line
