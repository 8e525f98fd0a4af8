"""Detection of sides that are shifted against each other, by correlation at several lags."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmt.data.examination.measurements import Measurements, Property

MAX_LAG = 2
BLOCK_PAIRS = 1_000
MIN_PAIRS = 50
# Advantage of a lag over lag 0, and its distance from chance in standard deviations.
MIN_ADVANTAGE, MIN_DEVIATIONS = 0.12, 5.0

Feature = tuple[NDArray[np.float64], NDArray[np.float64]]
"""A value per line of source and target, of which translations have similar ones."""


class Shift(NamedTuple):
    """Lines of the target that are shifted.

    Attributes:
        lag: source line i and target line i + lag are translations
        first: index of the first pair of a block of shifted pairs
    """

    lag: int
    first: int


def find_shift(measured: Measurements) -> Shift | None:
    """Return the shift of the target against the source, or None.

    A line that is missing on one side shifts all lines below it, so blocks are examined separately.
    """
    features = _features(measured)
    size = max(MIN_PAIRS, min(BLOCK_PAIRS, len(measured) // 4))
    starts = range(0, max(1, len(measured) - size + 1), size)
    lags = [
        _best_lag([(source[i : i + size], target[i : i + size]) for source, target in features])
        for i in starts
    ]
    for start, lag, following in zip(starts, lags, [*lags[1:], lags[-1]], strict=True):
        if lag and lag == following:
            return Shift(lag, start)
    # A short text has too few lines per block.
    lag = _best_lag(features)
    return Shift(lag, 0) if lag else None


def _features(measured: Measurements) -> list[Feature]:
    lengths = np.log1p(measured.characters.astype(np.float64))
    # Differences of neighbors, because texts that are sorted by length correlate at every lag.
    changes = np.diff(lengths, axis=0, prepend=lengths[:1])
    questions = [
        measured.having(Property.SOURCE_QUESTION),
        measured.having(Property.TARGET_QUESTION),
    ]
    return [
        (changes[:, 0], changes[:, 1]),
        (questions[0].astype(np.float64), questions[1].astype(np.float64)),
    ]


def _best_lag(features: list[Feature]) -> int:
    """Return the lag of the highest correlation, or 0 if none is clearly above that of lag 0."""
    rows = len(features[0][0])
    if rows < MIN_PAIRS:
        return 0
    informative = [pair for pair in features if min(np.std(pair[0]), np.std(pair[1])) > 1e-9]
    if not informative:
        return 0
    lags = range(-MAX_LAG, MAX_LAG + 1)
    scores = {
        lag: float(np.mean([_correlation(*pair, lag) for pair in informative])) for lag in lags
    }
    best = max(lags, key=lambda lag: scores[lag])
    threshold = max(MIN_DEVIATIONS / np.sqrt(rows), scores[0] + MIN_ADVANTAGE)
    return best if scores[best] > threshold else 0


def _correlation(source: NDArray[np.float64], target: NDArray[np.float64], lag: int) -> float:
    if lag > 0:
        source, target = source[:-lag], target[lag:]
    elif lag < 0:
        source, target = source[-lag:], target[:lag]
    source, target = source - source.mean(), target - target.mean()
    scale = np.sqrt((source @ source) * (target @ target))
    return float(source @ target / scale) if scale > 0 else 0.0
