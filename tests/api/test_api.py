"""The Python API: experiments, training, runs and evaluation."""

import json
import logging
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

import nmt
from nmt.api.experiment import list_overrides
from nmt.api.process import settings_of_training
from nmt.config import schema
from nmt.errors import UserError, UserErrors
from nmt.evaluation.significance import Comparison
from nmt.training.callback import check_callbacks
from tests.commands import PHRASES, lines_of, nmt_eval, nmt_train, reports, write_experiment
from tests.conftest import tiny_experiment
from tests.training.conftest import quick

log = logging.getLogger("nmt")
PRODUCT = torch.randn(96, 96, generator=torch.Generator().manual_seed(1))


def small() -> dict[str, Any]:
    """Return an experiment of four updates with a report after each."""
    return quick(tiny_experiment(), log_every=1, validate_every=2)


def settings() -> dict[str, object]:
    """Return settings of the process that a training changes and other code depends on."""
    return {
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        "product": hash((PRODUCT @ PRODUCT).numpy().tobytes()),
        "denormal": (torch.tensor([1e-40]) * 1.0).item(),
        "random": torch.get_rng_state().tolist(),
        "log": (log.handlers[:], log.level, log.propagate),
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nmt.Run:
    """A run of four updates that another thread has trained."""
    directory = tmp_path_factory.mktemp("api") / "run"

    def train() -> tuple[nmt.Run, bool]:
        before = settings()
        trained = nmt.train(small(), run=directory, quiet=True)
        return trained, settings() == before

    with ThreadPoolExecutor(1) as pool:
        trained, is_restored = pool.submit(train).result()
    assert is_restored
    return trained


def test_settings_of_a_training_end_with_it(tmp_path: Path) -> None:
    options = schema.TrainingConfig(steps=1, threads=3, deterministic=True)
    torch.set_flush_denormal(False)  # an earlier test of the process may have left it on
    before = settings()
    with settings_of_training(options, torch.device("cpu")):
        torch.manual_seed(7)
        log.addHandler(logging.FileHandler(tmp_path / "log"))
        log.setLevel(logging.INFO)
        log.propagate = False
        during = settings()
    assert settings() == before
    assert {name for name in before if before[name] != during[name]} >= {
        *("threads", "deterministic", "workspace", "denormal", "random", "log")
    }


def test_a_process_does_one_training_at_a_time(tmp_path: Path) -> None:
    # Random states and settings are shared, so that the weights of both would be others.
    with (
        nmt.open_trainer(small(), run=tmp_path / "one", quiet=True),
        ThreadPoolExecutor(1) as pool,
    ):
        for call in (
            lambda: nmt.train(small(), run=tmp_path / "two", quiet=True),
            lambda: nmt.check(small()),
        ):
            with pytest.raises(UserError, match="another training of this process has not ended"):
                pool.submit(call).result()
    assert not (tmp_path / "two").exists()


def test_training_equals_that_of_the_command(run: nmt.Run, tmp_path: Path) -> None:
    file = write_experiment(tmp_path / "a.yaml", small())
    called = nmt_train(file, "--run", tmp_path / "command")
    assert called.code == 0, called.err
    assert reports(run.path) == reports(tmp_path / "command")
    weights = "checkpoints/4/model.safetensors"
    assert (run.path / weights).read_bytes() == (tmp_path / "command" / weights).read_bytes()
    assert run.stop_reason == "4 updates"


def test_run_has_metrics_and_a_translator(run: nmt.Run) -> None:
    assert [(one["kind"], one["step"]) for one in run.metrics] == [
        *(("train", 1), ("train", 2), ("valid", 2), ("train", 3), ("train", 4), ("valid", 4))
    ]
    opened = nmt.Run(run.path)
    assert opened.best == min(run.metrics, key=lambda r: r["loss"] if r["kind"] == "valid" else 99)
    assert opened.stop_reason is None
    assert repr(opened) == f"Run('{run.path}', 4 updates)"
    assert opened.experiment.training.steps == 4
    assert isinstance(opened.translator("last")("Haus"), nmt.Translation)
    figures = [opened.plot("loss"), nmt.plot([run, run.path], x="minutes"), nmt.plot(run.path)]
    for figure in figures:
        assert figure._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="nowhere: not found"):
        nmt.Run(run.path / "nowhere")


def test_translators_are_loaded_from_runs_and_by_the_number_of_an_update(run: nmt.Run) -> None:
    one = str(run.translator(4)("ab"))
    assert str(nmt.Translator.load(run, run, checkpoint=4)("ab")) == one
    with pytest.raises(UserError, match="text 1 has half of a surrogate pair"):
        run.translator()(["a", "\ud800"])


def test_evaluation_equals_that_of_the_command(run: nmt.Run, tmp_path: Path) -> None:
    source, reference = Path(f"{PHRASES}.de"), Path(f"{PHRASES}.en")
    evaluation = nmt.evaluate(source, reference, model=run, metrics=["chrf", "exact"])
    called = nmt_eval(*("-m", run.path, source, reference, "--metrics", "chrf", "exact", "--json"))
    assert {name: r._asdict() for name, r in evaluation.results.items()} == json.loads(called.out)
    again = nmt.evaluate(evaluation.translations, lines_of(reference), metrics="chrf")
    assert again["chrf"] == evaluation["chrf"]
    assert repr(again) == f"Evaluation(chrf {again['chrf'].score:.2f}, 60 sentences)"
    lines = lines_of(reference)
    several: list[Any] = [lines, reference]
    compared = nmt.evaluate(lines, several, metrics="exact", baseline=lines[::-1])
    result = compared["exact"]
    assert isinstance(result, Comparison)
    assert (result.score, result.baseline < 100) == (100.0, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 1}, "beam_size: has no effect without model"),
        ({"metrics": "chrf", "language": "zh"}, "language: has no effect without bleu"),
        ({"metrics": "rouge"}, "unknown metric 'rouge'"),
        ({"references": ["a", "b"]}, "1 hypotheses but 2 lines in reference 1"),
    ],
)
def test_mistakes_in_an_evaluation_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        nmt.evaluate(["a"], **{"references": ["a"], **options})


def test_experiment_from_dictionaries_models_and_a_file_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = small()
    read = nmt.Experiment.load(write_experiment(tmp_path / "a.yaml", tree))
    assert isinstance(read, schema.Experiment)
    tree["data"]["train"] = Path("phrases")
    monkeypatch.chdir(PHRASES.parent)
    described = nmt.Experiment(**tree)
    assert described.to_dict() == read.to_dict()
    paths: dict[str, Any] = {"train": PHRASES, "valid": PHRASES}
    models = nmt.Experiment(
        data=schema.DataConfig(
            **paths,
            source="de",
            target="en",
            vocabulary=schema.VocabularyConfig(size=180),
        ),
        model=read.model,
        training=read.training,
        search={"beam_size": 1, "max_length": 5},
        evaluation=schema.EvaluationConfig(samples=0, pictures=0),
    )
    assert models.to_dict() == read.to_dict()
    (tmp_path / "b.yaml").write_text(read.to_yaml(), encoding="utf-8")
    assert nmt.Experiment.load(tmp_path / "b.yaml") == read == schema.Experiment(**dict(read))
    assert read.updated("training.seed=7") != read
    epochs = {"steps": None, "epochs": 7}
    assert read.updated({"training": epochs}) == read.updated(
        ["training.steps=null", "training.epochs=7"]
    )
    changed = read.updated({"model": {"decoder": "luong"}, "training.epochs": 7})
    assert changed.model.decoder.type == "luong"
    assert changed.model.encoder == read.model.encoder
    assert (read.training.epochs, changed.training.epochs) == (None, 7)
    # Shorthands that the schema expands, in a model of a section.
    tree["data"] |= {"train": [{"path": PHRASES, "weight": 2}, PHRASES], "valid": 0.2}
    described = nmt.Experiment(**tree)
    sections: dict[str, Any] = dict(described)
    assert nmt.Experiment(**sections).to_dict() == described.to_dict()
    assert read.updated("training.epochs=7").training.epochs == 7


@pytest.mark.parametrize(
    ("sections", "messages"),
    [
        (
            {"training": {"epoch": 1}},
            [r"data: is missing", r"training.epoch: unknown key; did you"],
        ),
        ({"trainnig": {}}, [r"did you mean 'training'\?"]),
        ({"model": {"decoder": "luongg"}}, [r"^model.decoder: unknown decoder 'luongg'"]),
    ],
)
def test_all_mistakes_of_an_experiment_are_named(
    sections: dict[str, Any], messages: list[str]
) -> None:
    with pytest.raises(UserErrors) as raised:
        nmt.Experiment(**sections)
    for message in messages:
        assert any(re.search(message, line) for line in raised.value.lines), raised.value.lines


def test_wrong_overrides_and_a_missing_run_directory_are_errors() -> None:
    experiment = nmt.Experiment(**small())
    with pytest.raises(UserErrors) as raised:
        nmt.train(experiment, {"training.steps": 0, "model.decoder.wings": 2}, run="never")
    assert [line.split(";")[0] for line in raised.value.lines] == [
        "overrides: model.decoder.wings: unknown option of 'bahdanau'",
        "overrides: training.steps: must be at least 1, got 0",
    ]
    for overrides in (5, {1: 2}, [{"training.steps": 3}], None):
        with pytest.raises(UserError, match="overrides: expected a dictionary such as"):
            list_overrides(overrides)
    with pytest.raises(UserError, match=r"callbacks: expected a list of objects of nmt\.Callback"):
        check_callbacks(nmt.Callback())
    with pytest.raises(UserError, match="an experiment without a file has no default"):
        nmt.train(experiment)
    with pytest.raises(UserError, match=r"overrides: data\.train: .*nothing\.de: not found"):
        nmt.train(experiment, {"data.train": "nothing"}, run="never")
    assert not Path("never").exists()


def test_check_returns_the_report_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "all of them get a gradient" in nmt.check(small(), device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_every_public_name_is_documented_and_typed() -> None:
    for name in nmt.__all__:
        assert name == "__version__" or getattr(nmt, name).__doc__, name
    assert set(nmt.__all__) <= set(dir(nmt))
    assert (Path(nmt.__file__).parent / "py.typed").is_file()
    with pytest.raises(AttributeError, match="no attribute 'trane'"):
        _ = nmt.trane
