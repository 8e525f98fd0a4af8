"""nmt-translate and nmt-eval with --workers: the same output from several processes."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from nmt.cli import shared_translator
from nmt.cli.shared_translator import ModelArguments, SharedTranslator
from nmt.errors import UserError
from nmt.parallel import WorkerPool
from nmt.search.translator import Translator
from tests.commands import PHRASES, lines_of, nmt_eval, nmt_translate


@pytest.fixture(autouse=True)
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands start as many workers as a test requests."""
    monkeypatch.setattr(shared_translator, "usable_cores", lambda: 8)


def _first_lines(side: str, folder: Path) -> Path:
    file = folder / f"phrases.{side}"
    lines = lines_of(PHRASES.with_suffix(f".{side}"))[:15]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


@pytest.fixture
def de(tmp_path: Path) -> Path:
    """Some of the German phrases."""
    return _first_lines("de", tmp_path)


@pytest.fixture
def en(tmp_path: Path) -> Path:
    """Their English translations."""
    return _first_lines("en", tmp_path)


def test_several_workers_give_the_output_of_one(trained: Path, de: Path) -> None:
    asked = ("-m", trained, de, "--n-best", 2)
    assert nmt_translate(*asked, "--workers", 2) == nmt_translate(*asked)


@pytest.mark.slow
def test_attention_of_worker_processes_is_returned(trained: Path, de: Path) -> None:
    one, two = (
        [json.loads(line) for line in nmt_translate("-m", trained, de, "--jsonl", *more).lines]
        for more in ([], ["--workers", 2])
    )
    assert [tree["id"] for tree in two] == list(range(len(one)))
    for tree, other in zip(one, two, strict=True):
        assert np.asarray(other["attention"]) == pytest.approx(
            np.asarray(tree["attention"]), abs=1e-5
        )


@pytest.mark.slow
def test_samples_do_not_depend_on_the_number_of_workers(trained: Path, de: Path) -> None:
    asked = ("-m", trained, de, "--sample", "--temperature", 2)
    assert nmt_translate(*asked, "--workers", 2).out == nmt_translate(*asked).out


@pytest.mark.slow
def test_score_targets_does_not_depend_on_the_number_of_workers(
    trained: Path, de: Path, en: Path
) -> None:
    asked = ("-m", trained, de, "--score-targets", en, "--scores")
    assert nmt_translate(*asked, "--workers", 2).out == nmt_translate(*asked).out


@pytest.mark.slow
def test_fewer_lines_than_workers_are_translated(trained: Path) -> None:
    asked, given = ("-m", trained), "Guten Morgen!\n"
    assert nmt_translate(*asked, "--workers", 2, given=given) == nmt_translate(*asked, given=given)


@pytest.mark.slow
def test_evaluation_does_not_depend_on_the_number_of_workers(
    trained: Path, de: Path, en: Path
) -> None:
    asked = ("-m", trained, de, en)
    assert nmt_eval(*asked, "--workers", 2) == nmt_eval(*asked)
    assert nmt_eval(de, en, "--workers", 2).code == 2


def test_error_of_several_workers_is_reported_once(trained: Path, de: Path, tmp_path: Path) -> None:
    called = nmt_translate("-m", tmp_path / "none", de, "--workers", 2)
    assert called.code == 2
    assert called.err.count("\n") == 1
    assert nmt_translate("-m", trained, de, "--workers", 0).code == 2


def test_killed_worker_is_reported_with_the_option(
    trained: Path, de: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_translator, "_load", _die)
    called = nmt_translate("-m", trained, de, "--workers", 2)
    assert called.complaint.endswith(
        "was killed by SIGKILL, possibly for lack of memory; use fewer workers (--workers)"
    )


def _die(models: ModelArguments) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_workers_on_a_gpu_are_rejected() -> None:
    translator = object.__new__(Translator)
    translator.device = torch.device("cuda")
    pool: WorkerPool[Translator] = WorkerPool(lambda: translator, 1, "--workers")
    with pytest.raises(UserError, match="--workers: divides the cores of a CPU; remove it"):
        SharedTranslator(translator, pool)


def test_workers_are_at_most_as_many_as_cores(
    trained: Path, expected: list[str], sources: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_translator, "usable_cores", lambda: 1)
    called = nmt_translate("-m", trained, "--workers", 1000, given=f"{sources[0]}\n")
    assert called.lines == expected[:1]
    assert called.err == "nmt-translate: --workers 1000: reduced to 1, the usable cores\n"
