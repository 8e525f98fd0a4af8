"""Entropy of attention: how many source positions a target token attends to."""

from collections.abc import Iterable

import torch

from nmt.search.translation import Translation


def attention_entropy(translations: Iterable[Translation]) -> float | None:
    """Return the mean entropy of attention per target token, in nats; None without attention.

    H_t = -Σ_s α_ts log α_ts, where the weights of a token are scaled to a sum of 1. It is 0 if
    every token attends to one position, and log S if all S positions have the same weight: exp(H)
    is an effective number of positions. A decoder that ignores its attention stays near log S.
    """
    total, tokens = 0.0, 0
    for translation in translations:
        if translation.attention is None:
            continue
        weights_ts = translation.attention.double()
        sums_t = weights_ts.sum(dim=1)
        # A row of zeros, as beyond the window of local attention, is no distribution.
        weights_ts = weights_ts[sums_t > 0] / sums_t[sums_t > 0, None]
        total -= float(torch.special.xlogy(weights_ts, weights_ts).sum())
        tokens += len(weights_ts)
    return total / tokens if tokens else None
