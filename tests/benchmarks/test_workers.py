import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from harness.contender import Contender, peer
from harness.text import random_ids, save_ids
from nmt.errors import UserError
from tests.benchmarks.fake_worker import FakeWorker
from workers.ids import Ids, Marks, Sizes, padded
from workers.serve import serve

FAKE = Path(__file__).with_name("fake_worker.py")


@pytest.fixture
def ids(tmp_path: Path) -> Path:
    batches = np.array([[0, 1], [2, -1]])
    sources, targets = [[4], [5, 6], [7, 8, 9]], [[6, 5, 4], [5], []]
    return save_ids(tmp_path / "ids.npz", 10, sources, targets, [[5, 6], [4], [7, 8, 9]], batches)


@pytest.fixture
def contender(tmp_path: Path) -> Iterator[Contender]:
    with Contender("fake", [sys.executable, str(FAKE)], 1, tmp_path / "log") as started:
        yield started


def prepare(contender: Contender, ids: Path, **options: bool) -> dict[str, object]:
    sizes = asdict(Sizes())
    return contender.ask(
        "prepare", sizes=sizes, ids=str(ids), dtype="fp32", threads=1, device="cpu", **options
    )


def test_ids_come_back_as_they_were_written(ids: Path) -> None:
    read = Ids(ids)
    assert (read.vocabulary, read.marks, read.batches) == (10, Marks(0, 1, 2, 3), 2)
    sources, targets = read.batch(0)
    assert [s.tolist() for s in sources] == [[4], [5, 6]]
    assert [t.tolist() for t in targets] == [[6, 5, 4], [5]]


def test_places_without_a_sentence_are_left_out_and_the_first_batch_follows_the_last(
    ids: Path,
) -> None:
    read = Ids(ids)
    assert [s.tolist() for s in read.batch(1)[0]] == [[7, 8, 9]]
    assert [s.tolist() for s in read.batch(2)[0]] == [s.tolist() for s in read.batch(0)[0]]


def test_sentences_are_padded_after_their_marks() -> None:
    rows = padded([np.array([4, 5]), np.array([6])], Marks(0, 1, 2, 3), begin=True)
    assert rows.tolist() == [[1, 4, 5, 2], [1, 6, 2, 0]]


def test_what_a_worker_prints_itself_does_not_reach_the_answers(
    contender: Contender, ids: Path, tmp_path: Path
) -> None:
    told = prepare(contender, ids)
    assert told["parameters"] == 7
    assert told["note"] == "fp32 on cpu"
    contender.stop()
    assert "a line that a system prints" in (tmp_path / "log").read_text(encoding="utf-8")


def test_target_tokens_count_end_marks_and_no_padding(contender: Contender, ids: Path) -> None:
    prepare(contender, ids)
    told = contender.ask("train", first=1, updates=2)
    # Batch 1 is one empty target; batch 2 is batch 0 again, of 3 and 1 pieces: 1 + 4 + 2 tokens.
    assert told["target_tokens"] == 7
    assert told["loss"] == pytest.approx((1 + 2) / 7)
    assert told["seconds"] >= 0


def test_translations_keep_the_order_of_the_text(contender: Contender, ids: Path) -> None:
    prepare(contender, ids)
    told = contender.ask("translate", beam=5, sentences=2, first=0, count=3, length=None)
    assert told["ids"] == [[6, 5], [4], [9, 8, 7]]
    assert (told["sentences"], told["target_pieces"]) == (3, 6)
    cut = contender.ask("translate", beam=5, sentences=2, first=1, count=9, length=1)
    assert cut["ids"] == [[4], [9]]


def test_what_fails_in_a_worker_is_one_line_and_it_goes_on(contender: Contender, ids: Path) -> None:
    with pytest.raises(UserError, match="fake: prepare failed: RuntimeError: no such model"):
        prepare(contender, ids, broken=True)
    with pytest.raises(UserError, match="'dance' is none of prepare, train"):
        contender.ask("dance")
    assert prepare(contender, ids)["parameters"] == 7


def test_a_worker_that_dies_says_its_last_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no module named joey')"]
    with (
        pytest.raises(UserError, match="gone: its process ended, saying: no module named joey"),
        Contender("gone", command, 1, tmp_path / "log") as gone,
    ):
        gone.ask("prepare")


def test_a_peer_is_named_with_its_python(tmp_path: Path) -> None:
    kind = peer(f"eole={sys.executable}")
    assert (kind.system, kind.dtype, kind.python) == ("eole", "fp32", sys.executable)
    with pytest.raises(UserError, match="no worker for 'fairseq'; known: joeynmt, eole"):
        peer("fairseq")
    with pytest.raises(UserError, match="name the peer's python"):
        peer(f"eole={tmp_path / 'nothing'}")


def test_drawn_sentences_have_one_length_and_no_marks(tmp_path: Path) -> None:
    path = random_ids(tmp_path / "a.npz", 20, pairs=5, source=3, target=4, sentences=2)
    read = Ids(path)
    assert read.batches == 2
    sources, targets = read.batch(1)
    assert [len(s) for s in sources] == [3, 3]
    assert [len(t) for t in targets] == [4, 4]
    assert all(4 <= piece < 20 for side in (sources, targets) for s in side for piece in s)


def test_answers_are_lines_of_json_until_told_to_quit() -> None:
    answers = StringIO()
    serve(FakeWorker(), StringIO('{"do": "dance"}\n{"do": "quit"}\n{"do": "dance"}\n'), answers)
    [only] = answers.getvalue().splitlines()
    assert list(json.loads(only)) == ["error"]
