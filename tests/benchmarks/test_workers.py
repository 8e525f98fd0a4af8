import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from harness.text import random_ids, save_ids
from harness.worker_process import WorkerProcess, parse_peer
from nmt.errors import UserError
from tests.benchmarks.fake_worker import FakeWorker
from workers.ids import Ids, Sizes, SpecialTokens, pad
from workers.serve import serve

FAKE = Path(__file__).with_name("fake_worker.py")


@pytest.fixture
def ids(tmp_path: Path) -> Path:
    batches = np.array([[0, 1], [2, -1]])
    sources, targets = [[4], [5, 6], [7, 8, 9]], [[6, 5, 4], [5], []]
    return save_ids(tmp_path / "ids.npz", 10, sources, targets, [[5, 6], [4], [7, 8, 9]], batches)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[WorkerProcess]:
    with WorkerProcess("fake", [sys.executable, str(FAKE)], 1, tmp_path / "log") as started:
        yield started


def prepare(worker: WorkerProcess, ids: Path, **options: bool) -> dict[str, object]:
    sizes = asdict(Sizes())
    return worker.request(
        "prepare", sizes=sizes, ids=str(ids), dtype="fp32", threads=1, device="cpu", **options
    )


def test_ids_are_read_as_written(ids: Path) -> None:
    read = Ids(ids)
    assert (read.vocabulary, read.special_tokens, read.batches) == (
        10,
        SpecialTokens(0, 1, 2, 3),
        2,
    )
    sources, targets = read.batch(0)
    assert [s.tolist() for s in sources] == [[4], [5, 6]]
    assert [t.tolist() for t in targets] == [[6, 5, 4], [5]]


def test_missing_sentences_are_left_out_and_batches_repeat(
    ids: Path,
) -> None:
    read = Ids(ids)
    assert [s.tolist() for s in read.batch(1)[0]] == [[7, 8, 9]]
    assert [s.tolist() for s in read.batch(2)[0]] == [s.tolist() for s in read.batch(0)[0]]


def test_padding_follows_special_tokens() -> None:
    rows = pad([np.array([4, 5]), np.array([6])], SpecialTokens(0, 1, 2, 3), begin=True)
    assert rows.tolist() == [[1, 4, 5, 2], [1, 6, 2, 0]]


def test_prints_of_a_system_go_to_the_log(worker: WorkerProcess, ids: Path, tmp_path: Path) -> None:
    answer = prepare(worker, ids)
    assert answer["parameters"] == 7
    assert answer["note"] == "fp32 on cpu"
    worker.stop()
    assert "a line that a system prints" in (tmp_path / "log").read_text(encoding="utf-8")


def test_target_tokens_count_eos_and_no_padding(worker: WorkerProcess, ids: Path) -> None:
    prepare(worker, ids)
    answer = worker.request("train", first=1, updates=2)
    # Batch 1 is one empty target; batch 2 is batch 0 again, of 3 and 1 tokens: 1 + 4 + 2 tokens.
    assert answer["target_tokens"] == 7
    assert answer["loss"] == pytest.approx((1 + 2) / 7)
    assert answer["seconds"] >= 0


def test_translations_are_in_the_order_of_the_text(worker: WorkerProcess, ids: Path) -> None:
    prepare(worker, ids)
    answer = worker.request("translate", beam=5, sentences=2, first=0, count=3, length=None)
    assert answer["ids"] == [[6, 5], [4], [9, 8, 7]]
    assert (answer["sentences"], answer["target_tokens"]) == (3, 6)
    cut = worker.request("translate", beam=5, sentences=2, first=1, count=9, length=1)
    assert cut["ids"] == [[4], [9]]


def test_failed_task_is_one_line_and_the_worker_continues(worker: WorkerProcess, ids: Path) -> None:
    with pytest.raises(UserError, match="fake: prepare failed: RuntimeError: no such model"):
        prepare(worker, ids, broken=True)
    with pytest.raises(UserError, match="'dance': must be one of prepare, train"):
        worker.request("dance")
    assert prepare(worker, ids)["parameters"] == 7


def test_dead_worker_is_reported_with_its_last_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no module named joey')"]
    with (
        pytest.raises(UserError, match="gone: the process ended: no module named joey"),
        WorkerProcess("gone", command, 1, tmp_path / "log") as gone,
    ):
        gone.request("prepare")


def test_peer_is_parsed_with_its_python(tmp_path: Path) -> None:
    peer = parse_peer(f"eole={sys.executable}")
    assert (peer.system, peer.dtype, peer.python) == ("eole", "fp32", sys.executable)
    with pytest.raises(UserError, match="fairseq: must be one of joeynmt, eole, marian"):
        parse_peer("fairseq")
    with pytest.raises(UserError, match="not found; give the Python that has eole"):
        parse_peer(f"eole={tmp_path / 'nothing'}")


def test_random_sentences_have_one_length_and_no_special_tokens(tmp_path: Path) -> None:
    path = random_ids(tmp_path / "a.npz", 20, pairs=5, source=3, target=4, sentences=2)
    read = Ids(path)
    assert read.batches == 2
    sources, targets = read.batch(1)
    assert [len(s) for s in sources] == [3, 3]
    assert [len(t) for t in targets] == [4, 4]
    assert all(4 <= token < 20 for side in (sources, targets) for s in side for token in s)


def test_answers_are_lines_of_json_until_quit() -> None:
    answers = StringIO()
    serve(FakeWorker(), StringIO('{"do": "dance"}\n{"do": "quit"}\n{"do": "dance"}\n'), answers)
    [only] = answers.getvalue().splitlines()
    assert list(json.loads(only)) == ["error"]
