"""Trackers: their reports, their continuation, and messages about their failures."""

import csv
import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest

from nmt.config.plugins import import_plugin
from nmt.errors import OptionError, UserError
from nmt.registry import TRACKERS, ComponentConfig
from nmt.storage.run_dir import RunDir
from nmt.training.metrics_log import MetricsLogger
from nmt.training.trackers.tracker import TrackedRun, Tracker
from tests.commands import lines_of, nmt_train, write_experiment
from tests.docs.pages import ROOT, blocks
from tests.training.conftest import quick

OPTIONS = {"model": {"decoder": {"type": "plain"}}, "training": {"steps": 4}}


def _logger(run: Path, step: int, *trackers: ComponentConfig, **options: Any) -> MetricsLogger:
    return MetricsLogger(RunDir(run), step, trackers=trackers, options=OPTIONS, **options)


def _table(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_training_writes_the_reports_as_tables(tmp_path: Path, experiment: dict[str, Any]) -> None:
    tree = quick(experiment, report="csv", log_every=2, validate_every=4)
    called = nmt_train(write_experiment(tmp_path / "a.yaml", tree), "--run", tmp_path / "run")
    assert called.code == 0, called.err
    written = map(json.loads, lines_of(tmp_path / "run" / "metrics.jsonl"))
    for report, kind in zip(written, ("train", "train", "valid"), strict=True):
        assert report.pop("kind") == kind
        rows = _table(tmp_path / "run" / "csv" / f"{kind}.csv")
        assert {name: str(value) for name, value in report.items()} in rows
    assert report.keys() >= {"loss", "attention_entropy"}


def test_tables_of_a_continued_run_lose_undone_rows_and_gain_columns(tmp_path: Path) -> None:
    config = ComponentConfig("csv")
    with _logger(tmp_path, 0, config) as first:
        for step in (2, 4, 6):
            first.add("train", step, {"loss": step / 2})
    with _logger(tmp_path, 4, config) as second:
        second.add("train", 5, {"loss": 2.5})
        second.add("train", 6, {"loss": 3.5, "gpu_memory_gib": 1.0})
        second.add("train", 7, {"loss": 4.5, "gpu_memory_gib": 1.0})
    assert lines_of(tmp_path / "csv" / "train.csv") == [
        "step,loss,gpu_memory_gib",
        *("2,1.0,", "4,2.0,", "5,2.5,", "6,3.5,1.0", "7,4.5,1.0"),
    ]
    assert not (tmp_path / "csv" / "valid.csv").exists()


class _Wandb(ModuleType):
    """The functions of wandb that the tracker calls, which record their arguments."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.calls: list[Any] = []
        self.__spec__ = importlib.util.spec_from_loader("wandb", None)

    def init(self, **options: Any) -> Any:
        self.calls.append(options)
        return SimpleNamespace(
            id=options["id"] or "abc",
            define_metric=lambda name, **axis: self.calls.append((name, axis)),
            log=self.calls.append,
            finish=lambda exit_code: self.calls.append(exit_code),
        )


def test_wandb_gets_options_and_reports_and_continues_by_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = _Wandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    config = ComponentConfig("wandb", {"project": "mine", "group": "seeds"})
    with _logger(tmp_path, 0, config) as metrics:
        metrics.add("valid", 3, {"loss": 1.5, "bleu": 20.0})
    started, *axes, logged, code = wandb.calls
    assert started["config"] == OPTIONS
    assert (started["project"], started["group"], started["id"]) == ("mine", "seeds", None)
    assert started["name"] == tmp_path.name
    assert dict(axes)["valid/*"] == {"step_metric": "step"}
    assert logged == {"step": 3, "valid/loss": 1.5, "valid/bleu": 20.0}
    assert code == 0
    wandb.calls.clear()
    with pytest.raises(KeyboardInterrupt), _logger(tmp_path, 0, config):
        raise KeyboardInterrupt
    assert wandb.calls[0]["id"] == "abc"
    assert wandb.calls[-1] == 1


class _MlflowClient:
    """The methods of MLflow's client that the tracker calls, which record their arguments."""

    calls: list[tuple[Any, ...]]

    def __init__(self, tracking_uri: str | None) -> None:
        self.calls.append(("client", tracking_uri))

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return f"experiment {name}"

    def create_run(self, experiment: str, run_name: str) -> Any:
        self.calls.append(("create", experiment, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id="xyz"))

    def update_run(self, run: str, status: str) -> None:
        self.calls.append(("update", run, status))

    def log_batch(self, run: str, metrics: Any = (), params: Any = ()) -> None:
        self.calls.append(("log", run, [m[:2] + m[3:] for m in metrics], params))

    def set_terminated(self, run: str, status: str) -> None:
        self.calls.append(("end", run, status))


def test_mlflow_gets_options_and_reports_and_continues_by_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []
    client = type("Client", (_MlflowClient,), {"calls": calls})
    mlflow, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    mlflow.__spec__ = importlib.util.spec_from_loader("mlflow", None)
    vars(mlflow).update(MlflowClient=client, entities=entities)
    vars(entities).update(Metric=lambda *one: one, Param=lambda *one: one)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    config = ComponentConfig("mlflow", {"uri": "http://server", "name": "first"})
    for _ in range(2):
        with _logger(tmp_path, 0, config) as metrics:
            metrics.add("train", 2, {"loss": 1.5})
    report, end = ("log", "xyz", [("train/loss", 1.5, 2)], ()), ("end", "xyz", "FINISHED")
    assert calls == [
        ("client", "http://server"),
        ("create", "experiment nmt", "first"),
        ("log", "xyz", [], [("model.decoder.type", "plain"), ("training.steps", "4")]),
        *(report, end),
        ("client", "http://server"),
        ("update", "xyz", "RUNNING"),
        *(report, end),
    ]


def test_tensorboard_hides_the_events_of_undone_updates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []

    class Writer:
        def __init__(self, directory: str, purge_step: int) -> None:
            calls.append((Path(directory).name, purge_step))

        def add_scalar(self, *arguments: object) -> None:
            calls.append(arguments)

        def close(self) -> None:
            calls.append(())

    module = ModuleType("torch.utils.tensorboard")
    vars(module).update(SummaryWriter=Writer)
    board = ModuleType("tensorboard")
    board.__spec__ = importlib.util.spec_from_loader("tensorboard", None)
    monkeypatch.setitem(sys.modules, "tensorboard", board)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    # Without `training.report`, TensorBoard is used where it is installed.
    with MetricsLogger(RunDir(tmp_path), 4, trackers=None) as metrics:
        metrics.add("train", 5, {"loss": 1.5})
    assert calls == [("tensorboard", 5), ("train/loss", 1.5, 5), ()]


class _Broken(Tracker):
    """A tracker whose server is unreachable at the start or after some reports."""

    def __init__(self, run: TrackedRun, *, at_start: bool = False) -> None:
        if at_start:
            raise ConnectionError("no route\nto host")

    def add(self, kind: str, step: int, values: Mapping[str, int | float]) -> None:
        if step > 1:
            raise ConnectionError("no route to host")


@pytest.fixture
def _broken(plugin_dir: Path) -> None:
    TRACKERS.register("broken")(_Broken)


@pytest.mark.usefixtures("_broken")
def test_a_tracker_that_fails_is_reported_once_and_training_goes_on(
    tmp_path: Path, log_text: pytest.LogCaptureFixture
) -> None:
    with _logger(tmp_path, 0, ComponentConfig("broken"), ComponentConfig("csv")) as metrics:
        for step in (1, 2, 3):
            metrics.add("train", step, {"loss": 1.0})
    (record,) = log_text.records
    assert record.getMessage().startswith(
        "training.report: broken failed after update 2 (ConnectionError: no route to host)"
    )
    assert [json.loads(line)["step"] for line in lines_of(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    assert len(_table(tmp_path / "csv" / "train.csv")) == 3


@pytest.mark.usefixtures("_broken")
def test_a_tracker_that_cannot_start_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(OptionError) as error:
        _logger(tmp_path, 0, ComponentConfig("broken", {"at_start": True}))
    assert error.value.location == "training.report"
    assert error.value.message.startswith("broken cannot be started: no route to host; ")


def test_a_full_disk_ends_training(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("requires /dev/full")
    with _logger(tmp_path, 0, ComponentConfig("csv")) as metrics:
        metrics.add("train", 1, {"loss": 1.0})
        (tmp_path / "csv" / "train.csv").unlink()
        (tmp_path / "csv" / "train.csv").symlink_to("/dev/full")
        with pytest.raises(UserError, match=r"train\.csv: cannot be written: No space left"):
            metrics.add("train", 2, {"loss": 1.0})


class _Unwritten(Tracker):
    """A tracker that writes when it is closed, to a full disk."""

    closed: ClassVar[list[bool]] = []

    def __init__(self, run: TrackedRun) -> None:
        pass

    def add(self, kind: str, step: int, values: Mapping[str, int | float]) -> None:
        pass

    def close(self, *, failed: bool) -> None:
        self.closed.append(failed)
        raise UserError("cannot be written: No space left on device", "events")


def test_a_disk_that_is_full_at_the_end_is_an_error_but_hides_no_other(
    tmp_path: Path, plugin_dir: Path, log_text: pytest.LogCaptureFixture
) -> None:
    TRACKERS.register("one")(_Unwritten)
    TRACKERS.register("two")(type("Two", (_Unwritten,), {}))
    trackers = ComponentConfig("one"), ComponentConfig("two")
    with pytest.raises(UserError, match="events: cannot be written"):
        _logger(tmp_path, 0, *trackers).__exit__(None)
    with pytest.raises(KeyError), _logger(tmp_path, 0, *trackers):
        raise KeyError
    assert _Unwritten.closed == [False, False, True, True]
    assert "two cannot be closed: events: cannot be written" in log_text.text


def test_the_tracker_of_the_documentation_works(
    tmp_path: Path, plugin_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = [b for b in blocks(ROOT / "docs" / "learning-curves.md", "python") if b.title]
    (plugin_dir / block.title).write_text(block.text, encoding="utf-8")
    import_plugin(plugin_dir / block.title, "plugins")
    with _logger(tmp_path, 0, ComponentConfig("print", {"every": 2})) as metrics:
        for step in (1, 2, 3, 4):
            metrics.add("valid", step, {"loss": step / 8})
    assert capsys.readouterr().out == "2 0.25\n4 0.5\n"


def test_a_missing_library_is_reported_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, experiment: dict[str, Any]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    file = write_experiment(tmp_path / "a.yaml", quick(experiment, report=["csv", "wandb"]))
    called = nmt_train(file, "--check")
    assert called.code == 2
    line = "training.report: 'wandb' requires the package wandb, which is not installed; "
    assert called.complaint.startswith(f"nmt-train: {file}:")
    assert f"{line}run pip install" in called.complaint
    assert "[wandb]'" in called.complaint
