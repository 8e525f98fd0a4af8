"""A run that is interrupted and continued equals the uninterrupted one bit for bit."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from nmt.training.hook import Update
from nmt.training.trainer import Trainer
from nmt.training.validation import Validator
from tests.commands import PHRASES, lines_of, nmt_train, reports, state_of, write_experiment
from tests.conftest import start_command, tiny_experiment

STEPS = 15


class Killed(BaseException):
    """Ends training at once, like a process that is killed."""


def _write(folder: Path) -> Path:
    """Write an experiment that needs every part of a checkpoint; it has 5 updates per epoch."""
    for side in ("de", "en"):
        text = "\n".join(lines_of(PHRASES.with_suffix(f".{side}"))[:6]) + "\n"
        (folder / f"valid.{side}").write_text(text, encoding="utf-8")
    tree = tiny_experiment()
    tree["data"]["valid"] = "valid"
    tree["model"]["embedding_dropout"] = 0.2
    tree["model"]["decoder"]["dropout"] = 0.2
    tree["training"] |= {
        "batch_sentences": 6,
        "accumulate": 2,
        "ema": 0.9,
        "schedule": {"type": "plateau", "patience": 1},
        "early_stopping": {"metric": "exact", "patience": 100},
        "epochs": STEPS // 5,
        "log_every": 2,
        "validate_every": 4,
        "save_every": 3,
        "keep": 3,
    }
    tree["search"] = {"beam_size": 2, "max_length": 8}
    tree["evaluation"] = {"samples": 2, "pictures": 0, "metrics": ["exact"]}
    return write_experiment(folder / "exact.yaml", tree)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of an experiment that was not interrupted."""
    folder = tmp_path_factory.mktemp("exact")
    called = nmt_train(_write(folder), "--run", folder / "run")
    assert called.code == 0, called.err
    return folder / "run"


def _assert_same(run: Path, other: Path) -> None:
    for link in ("last", "best"):
        one, two = run / "checkpoints" / link, other / "checkpoints" / link
        assert one.resolve().name == two.resolve().name
        for name in ("model.safetensors", "training.safetensors"):
            assert (one / name).read_bytes() == (two / name).read_bytes(), name
        assert state_of(one) == state_of(two)
    assert reports(run) == reports(other)
    for sample in (other / "samples").iterdir():
        assert (run / "samples" / sample.name).read_text() == sample.read_text()


@contextmanager
def _disturbed(update: int, disturb: Callable[[], None]) -> Iterator[None]:
    """Call `disturb` before an update."""
    real = Trainer.update

    def disturbed(trainer: Trainer, group: Any) -> Update:
        if trainer.state.step + 1 == update:
            disturb()
        return real(trainer, group)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "update", disturbed)
        yield


@pytest.mark.parametrize(
    ("update", "number"),
    [
        (7, signal.SIGINT),
        # At a validation, and at the end of an epoch.
        pytest.param(8, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(10, signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_run_stopped_by_signal_continues_bit_identically(
    update: int, number: signal.Signals, uninterrupted: Path
) -> None:
    run = uninterrupted.parent / f"signal-{update}"
    with _disturbed(update, partial(signal.raise_signal, number)):
        called = nmt_train(uninterrupted.parent / "exact.yaml", "--run", run)
    assert called.code == 130, called.err
    assert f"interrupted after update {update}" in called.err
    assert (run / "checkpoints" / "last").resolve().name == str(update)
    again = nmt_train(uninterrupted.parent / "exact.yaml", "--run", run)
    assert again.code == 0, again.err
    assert f"continuing after update {update}" in again.err
    _assert_same(run, uninterrupted)


def _rename_weights(checkpoint: Path) -> None:
    """Give the weights of a checkpoint the names that an earlier version wrote."""
    lines = []
    for name in ("model.safetensors", "training.safetensors", "state.json"):
        file = checkpoint / name
        if file.suffix == ".safetensors":
            tensors = load_file(file)
            earlier = {key.replace(".v_a", ".energy_a"): value for key, value in tensors.items()}
            assert earlier.keys() != tensors.keys()
            save_file(earlier, file)
        lines.append(f"{sha256(file.read_bytes()).hexdigest()}  {name}\n")
    (checkpoint / "SHA256SUMS").write_text("".join(lines))


def test_run_with_weight_names_of_an_earlier_version_continues(uninterrupted: Path) -> None:
    run = uninterrupted.parent / "earlier"
    with _disturbed(7, partial(signal.raise_signal, signal.SIGINT)):
        assert nmt_train(uninterrupted.parent / "exact.yaml", "--run", run).code == 130
    _rename_weights(run / "checkpoints" / "7")
    called = nmt_train(uninterrupted.parent / "exact.yaml", "--run", run)
    assert called.code == 0, called.err
    assert "continuing after update 7" in called.err
    _assert_same(run, uninterrupted)


def test_signal_at_last_update_finishes_the_run(uninterrupted: Path) -> None:
    run = uninterrupted.parent / "last"
    with _disturbed(STEPS, partial(signal.raise_signal, signal.SIGTERM)):
        assert nmt_train(uninterrupted.parent / "exact.yaml", "--run", run).code == 0
    _assert_same(run, uninterrupted)


@pytest.mark.slow
def test_signal_during_validation_stops_after_it(
    uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = uninterrupted.parent / "validating"
    real = Validator.evaluate

    def disturbed(validator: Validator) -> Any:
        if validator._trainer.state.step == 12:
            signal.raise_signal(signal.SIGINT)
        return real(validator)

    with monkeypatch.context() as patch:
        patch.setattr(Validator, "evaluate", disturbed)
        called = nmt_train(uninterrupted.parent / "exact.yaml", "--run", run)
    assert called.code == 130
    assert nmt_train(uninterrupted.parent / "exact.yaml", "--run", run).code == 0
    _assert_same(run, uninterrupted)


@pytest.mark.slow
def test_subword_sampling_continues_bit_identically(uninterrupted: Path) -> None:
    folder = uninterrupted.parent
    sampling = "data.vocabulary.sampling.alpha=0.3"
    arguments = [folder / "exact.yaml", sampling, "training.epochs=2", "--run"]
    whole, run = folder / "sampled", folder / "sampled-interrupted"
    assert nmt_train(*arguments, whole).code == 0
    assert reports(whole) != reports(uninterrupted)
    with _disturbed(7, partial(signal.raise_signal, signal.SIGINT)):
        assert nmt_train(*arguments, run).code == 130
    assert nmt_train(*arguments, run).code == 0
    _assert_same(run, whole)


def _finish_in_a_process(folder: Path, *arguments: object) -> str:
    """Finish a run in a process of its own; return its standard error."""
    process = start_command("train", folder / "exact.yaml", *arguments, cwd=folder, stdin=DEVNULL)
    _, err = process.communicate()
    assert process.returncode == 0, err
    return err


@pytest.mark.slow
def test_subword_sampling_is_the_same_in_another_process(uninterrupted: Path) -> None:
    folder = uninterrupted.parent
    options = ["data.vocabulary.sampling.alpha=0.3", "training.epochs=1"]
    run, other = folder / "sampled-here", folder / "sampled-there"
    assert nmt_train(folder / "exact.yaml", *options, "--run", run).code == 0
    _finish_in_a_process(folder, *options, "--run", other)
    _assert_same(run, other)


@pytest.mark.slow
def test_killed_run_repeats_updates_after_last_checkpoint(uninterrupted: Path) -> None:
    def kill() -> None:
        raise Killed

    folder, run = uninterrupted.parent, uninterrupted.parent / "killed"
    with _disturbed(11, kill), pytest.raises(Killed):
        nmt_train(folder / "exact.yaml", "--run", run)
    # In another process, which shares no state with the first.
    assert "continuing after update" in _finish_in_a_process(folder, "--run", run)
    _assert_same(run, uninterrupted)


def test_finished_run_is_not_changed(uninterrupted: Path) -> None:
    def contents() -> dict[Path, bytes]:
        files = [path for path in uninterrupted.rglob("*") if path.is_file()]
        return {path: path.read_bytes() for path in files if path.name != "train.log"}

    before = contents()
    # A run of an earlier version has no shortlist.
    (uninterrupted / "shortlist.safetensors").unlink()
    called = nmt_train(uninterrupted.parent / "exact.yaml", "--run", uninterrupted)
    assert called.code == 0
    assert called.out == ""
    assert "nothing left to do" in called.err
    assert contents() == before


def test_resumed_experiment_uses_plateau_decay(uninterrupted: Path) -> None:
    state = state_of(uninterrupted / "checkpoints" / "last")
    assert state["schedule"]["decays"] >= 1
    rates = [report["learning_rate"] for report in reports(uninterrupted) if "epoch" in report]
    assert rates[0] == 0.01
    assert rates[-1] < 0.01
