"""The search for a batch size by two processes, of which the second has less memory."""

from pathlib import Path
from unittest.mock import patch

import torch

from nmt.config.loader import load_experiment
from nmt.distributed.process_group import join
from nmt.distributed.rank import RankInfo
from nmt.training import batch_size
from nmt.training.datasets import prepare_datasets
from nmt.training.setup import build_trainer
from tests.training.test_batch_size import CUBLAS, _holding


def main(arguments: list[str]) -> None:
    info = RankInfo.from_environment()
    with join(info, "cpu") as group:
        experiment = load_experiment(Path(arguments[0])).experiment
        trainer = build_trainer(
            experiment, prepare_datasets(experiment, None), torch.device("cpu"), group
        )
        small = patch.object(batch_size, "MIN_BATCH_TOKENS", 32)
        with small, _holding((300, 150)[group.rank], CUBLAS):
            found = batch_size.find_batch_tokens(trainer)
        assert group.all_equal(found) and 0.9 * 150 * 7 / 8 - 1 <= found <= 0.9 * 150 + 32
        del trainer
    if info.is_first:
        print("done")
