"""Entropy of attention, compared with its formula."""

from math import log

import numpy as np
import pytest
import torch

from nmt.evaluation.attention_entropy import attention_entropy
from nmt.search.translation import Translation


def test_entropy_is_the_mean_over_all_target_tokens() -> None:
    rng = np.random.default_rng(1)
    rows = [rng.dirichlet(np.ones(5), size=3), rng.dirichlet(np.ones(7), size=2)]
    entropies = [-sum(p * log(p) for p in row) for weights in rows for row in weights]
    translations = [Translation("", attention=torch.tensor(w, dtype=torch.float32)) for w in rows]
    assert attention_entropy(translations) == pytest.approx(np.mean(entropies), rel=1e-5)


def test_entropy_ignores_the_scale_of_rows_and_rows_without_weights() -> None:
    weights_ts = torch.tensor([[0.2, 0.2, 0.0], [0.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    assert attention_entropy([Translation("", attention=weights_ts)]) == pytest.approx(log(2) / 2)
    assert attention_entropy([Translation("")]) is None
