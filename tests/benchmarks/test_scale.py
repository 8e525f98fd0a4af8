"""Simulation of the ranks of a training on a large text."""

from pathlib import Path

import numpy as np
import pytest
import scale

from nmt.distributed.rank import RankInfo


@pytest.mark.parametrize("bucket_pairs", [None, 700])
def test_rank_reads_from_one_epoch_into_the_next(tmp_path: Path, bucket_pairs: int | None) -> None:
    folder = scale.make_corpus(tmp_path, 2000)
    assert len(np.load(folder / "lines.npy")) == 2000
    rank = scale.simulate(
        folder, RankInfo(1, 2), bucket_pairs, batch_tokens=1000, updates=6, seconds=0.0
    )
    assert rank.batches > 0
    assert rank.planned >= 0
