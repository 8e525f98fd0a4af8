"""The worker of Marian trains on the batches of all contenders and translates equally many tokens.

Marian is a large package, so a stand-in is tested where it is not installed.
"""

import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from shutil import copyfile

import numpy as np
import pytest

from harness.text import save_ids
from workers.ids import Sizes
from workers.marian_worker import MarianWorker, _length_factor

FAKE = Path(__file__).with_name("fake_pymarian.py")
SOURCES, TARGETS = [[4], [5, 6], [7, 8, 9], [4, 5, 6, 7]], [[6, 5, 4], [5], [], [9]]


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MarianWorker:
    package = tmp_path / "pymarian"
    package.mkdir()
    for name in ("__init__.py", "__main__.py"):
        copyfile(FAKE, package / name)
    metadata = tmp_path / "pymarian-1.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: pymarian\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, "pymarian", raising=False)
    return MarianWorker()


def prepare(worker: MarianWorker, folder: Path, learning_rate: float = 0.01) -> dict[str, object]:
    batches = np.array([[0, 1], [2, 3]])
    ids = save_ids(folder / "ids.npz", 10, SOURCES, TARGETS, SOURCES[1:], batches)
    sizes = asdict(replace(Sizes(), learning_rate=learning_rate))
    return worker.prepare(sizes, str(ids), "fp32", 1, "cpu", clock="wall")


def test_training_measures_the_updates_after_the_first(
    worker: MarianWorker, tmp_path: Path
) -> None:
    assert prepare(worker, tmp_path) == {
        "parameters": 10,
        "note": "s2s with two cells",
        "versions": {"marian": "1.0"},
    }
    answer = worker.train(first=1, updates=2)
    # Batch 1 has targets of 0 and 1 tokens, and batch 2 is batch 0 again; with </s>.
    assert answer["target_tokens"] == 1 + 2 + 4 + 2
    assert answer["loss"] == pytest.approx((7 + 3) / 2)
    assert answer["seconds"] >= 0
    worker.train(first=0, updates=1)
    # Updates are counted from the first training on, and the batches are those of the ids.
    assert (worker.folder / "log").read_text().splitlines() == [
        "1 4 | 5 6",
        "4 7 8 9 | 4 5 6 7 | 7 8 9 | 4 5 6 7 | 4 | 5 6",
        "6 4 | 5 6 | 4 | 5 6",
    ]


def test_vocabulary_begins_with_the_special_tokens_of_marian(
    worker: MarianWorker, tmp_path: Path
) -> None:
    prepare(worker, tmp_path)
    tokens = (worker.folder / "vocabulary.txt").read_text().split()
    assert tokens[:2] == ["</s>", "<unk>"]
    assert sorted(map(int, tokens[2:])) == [0, 1, 4, 5, 6, 7, 8, 9]


def test_translations_end_only_without_a_length(worker: MarianWorker, tmp_path: Path) -> None:
    prepare(worker, tmp_path)
    worker.save(str(tmp_path / "weights"))
    worker.load(str(tmp_path / "weights"))
    answer = worker.translate(beam=5, sentences=64, first=0, count=3, length=None)
    assert answer["ids"] == [[5], [7], [4]]
    answer = worker.translate(beam=5, sentences=64, first=1, count=2, length=7)
    assert answer["ids"][0][:4] == [9, 8, 7, 9]
    assert answer["sentences"] == 2
    assert answer["target_tokens"] == sum(map(len, answer["ids"]))
    assert answer["target_tokens"] > 7


def test_failed_training_is_reported_with_its_last_line(
    worker: MarianWorker, tmp_path: Path
) -> None:
    prepare(worker, tmp_path, learning_rate=0.5)
    with pytest.raises(RuntimeError, match=r"training ended with code 1: .error. the loss is NaN"):
        worker.train(first=0, updates=1)
    with pytest.raises(ValueError, match="bf16 on cpu is not measured"):
        worker.build("bf16", "cpu", {})


def test_length_factor_gives_the_requested_number_of_tokens() -> None:
    lengths = np.random.default_rng(1).poisson(12, 200) + 1
    test = [np.zeros(length, np.int64) for length in lengths]
    factor = _length_factor(test, 10, 8)
    assert factor is not None
    widths = sorted(int(length) + 1 for length in lengths)
    found = sum(10 * -(-factor * widths[last] // 1) for last in range(9, 200, 10))
    assert found == pytest.approx(8 * 200, rel=0.05)
    assert _length_factor(test, 10, None) is None


def test_cpu_clock_of_another_process_is_its_own_clock(worker: MarianWorker) -> None:
    worker.uses_cpu_time = True
    # Its resolution is that of the scheduler, a hundredth of a second.
    assert worker.clock(os.getpid()) == pytest.approx(time.process_time(), abs=0.5)
    assert worker.clock() == pytest.approx(time.process_time(), abs=0.5)
