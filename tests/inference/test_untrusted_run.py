"""Runs of unknown origin: nothing that they contain or name runs, and no link is followed."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from nmt.config.loader import load_experiment
from nmt.data.vocabularies.saved import load_vocabularies
from nmt.errors import UserError
from nmt.inference.saved_model import load_saved_model
from nmt.search.translator import Translator
from nmt.storage.checkpoint import read_weights
from nmt.storage.plugins import save_plugins
from nmt.storage.run_dir import RunDir
from tests.commands import nmt_eval, nmt_train, nmt_translate, write_experiment

EVIL = """\
from pathlib import Path
from nmt.model.attention.scores.additive import AdditiveScore
from nmt.registry import SCORES

Path(__file__).with_name("touched").touch()


@SCORES.register("mine")
class Mine(AdditiveScore):
    pass
"""
Edit = Callable[..., Path]


@pytest.fixture
def stranger(trained: Path, plugin_dir: Path) -> Path:
    """A copy of a trained run, for a test to change."""
    shutil.copytree(trained, plugin_dir / "stranger", symlinks=True)
    return plugin_dir / "stranger"


def edit(run: Path, **changes: object) -> None:
    """Set top-level keys of the config of a run."""
    tree = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    write_experiment(run / "config.yaml", tree | changes)


def with_plugin(run: Path) -> Path:
    """Add a plugin to the config of a run, and its copy."""
    plugin = run.parent / "mine.py"
    plugin.write_text(EVIL, encoding="utf-8")
    save_plugins(run / "plugins", [plugin])
    plugin.unlink()
    edit(run, plugins=[str(plugin)])
    return run / "plugins" / "mine.py"


def refusals(run: Path) -> list[str]:
    """Return the errors of everything that loads a run."""
    phrases = run.parent / "phrases"
    phrases.write_text("eins\n", encoding="utf-8")
    messages = [
        nmt_translate("-m", run, phrases).complaint.removeprefix("nmt-translate: "),
        nmt_eval("-m", run, phrases, phrases).complaint.removeprefix("nmt-eval: "),
    ]
    for load in (Translator.load, load_saved_model):
        with pytest.raises(UserError) as error:
            load(run)
        messages += error.value.lines
    return messages


def test_plugins_of_a_run_are_not_run(stranger: Path) -> None:
    plugin = with_plugin(stranger)
    for message in refusals(stranger):
        assert message.startswith(f"{stranger}/config.yaml:")
        assert f"plugins: the run contains code; read {plugin}; if you trust it" in message
        assert "--trust-plugins" in message
        assert "trust_plugins=True" in message
    assert not plugin.with_name("touched").exists()


def test_a_plugin_without_a_copy_is_named_by_its_path(stranger: Path) -> None:
    edit(stranger, plugins=["/somewhere/mine.py"])
    assert all("read /somewhere/mine.py;" in message for message in refusals(stranger))


def test_trusted_plugins_are_run_from_their_copies(stranger: Path) -> None:
    plugin = with_plugin(stranger)
    phrases = stranger.parent / "phrases"
    phrases.write_text("eins\n", encoding="utf-8")
    called = nmt_translate("-m", stranger, phrases, "--trust-plugins")
    assert called.code == 0, called.err
    assert plugin.with_name("touched").exists()
    assert load_saved_model(stranger, trust_plugins=True).experiment.plugins == [plugin]
    # A compiled file would be run in place of a copy that was read and compared.
    assert not (stranger / "plugins" / "__pycache__").exists()


def test_a_changed_copy_of_a_plugin_is_not_run(stranger: Path) -> None:
    plugin = with_plugin(stranger)
    with plugin.open("a", encoding="utf-8") as stream:
        stream.write("# changed\n")
    with pytest.raises(UserError, match=r"mine\.py: does not match its checksum in .*SHA256SUMS"):
        load_saved_model(stranger, trust_plugins=True)
    plugin.unlink()
    with pytest.raises(UserError, match=r"mine\.py: not found"):
        load_saved_model(stranger, trust_plugins=True)
    plugin.with_name("SHA256SUMS").write_text("0  ../mine.py\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"lists '\.\./mine\.py', which is not"):
        load_saved_model(stranger, trust_plugins=True)
    assert not plugin.with_name("touched").exists()


def test_a_dotted_type_of_a_run_is_not_imported(
    stranger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (stranger.parent / "payload.py").write_text(EVIL, encoding="utf-8")
    monkeypatch.syspath_prepend(stranger.parent)
    model = yaml.safe_load((stranger / "config.yaml").read_text(encoding="utf-8"))["model"]
    edit(stranger, model=model | {"score": {"type": "payload.Mine", "hidden_size": None}})
    for message in refusals(stranger):
        assert "model.score: 'payload.Mine' imports code; read the module payload; if" in message
    assert not (stranger.parent / "touched").exists()
    # Its code runs, and then the config is found not to be that of the training.
    with pytest.raises(UserError, match=r"\+ model\.score\.type: payload\.Mine"):
        load_saved_model(stranger, trust_plugins=True)
    assert (stranger.parent / "touched").exists()
    edit(stranger, model=model, search={"length_penalty": "os.abort"})
    assert all("search.length_penalty: 'os.abort'" in message for message in refusals(stranger))
    training = {"epochs": 1, "report": ["csv", {"type": "os.abort"}]}
    edit(stranger, search={}, training=training)
    assert all("training.report: 'os.abort' imports" in message for message in refusals(stranger))


def test_a_run_includes_no_file(stranger: Path) -> None:
    (stranger / "more.yaml").write_text(f"plugins: [{stranger}/evil.py]\n", encoding="utf-8")
    (stranger / "evil.py").write_text(EVIL, encoding="utf-8")
    for included in ("more.yaml", "/etc/passwd", "/dev/zero"):
        edit(stranger, include=included)
        for message in refusals(stranger):
            assert "include: the configuration of a run contains all options; remove" in message
    with pytest.raises(UserError, match="include: the configuration of a run"):
        load_saved_model(stranger, trust_plugins=True)
    assert not (stranger / "touched").exists()


@pytest.mark.parametrize(
    "name",
    [
        *("config.yaml", "vocabulary", "vocabulary/joint.model", "checkpoints"),
        *("checkpoints/150", "checkpoints/150/model.safetensors"),
    ],
)
def test_links_out_of_a_run_are_not_followed(stranger: Path, name: str) -> None:
    outside = stranger.parent / "outside"
    os.rename(stranger / name, outside)
    (stranger / name).symlink_to(outside)
    for message in refusals(stranger):
        # A link to the checkpoint leads out of the run as well.
        assert message.startswith(f"{stranger / name.partition('/')[0]}")
        assert ": is a link that leads out of the run" in message
        assert "--trust-plugins" in message
    load_saved_model(stranger, trust_plugins=True)


def test_link_to_the_best_checkpoint_is_never_followed(stranger: Path) -> None:
    shutil.copytree(stranger / "checkpoints" / "100", stranger.parent / "150")
    (stranger / "checkpoints" / "best").unlink()
    (stranger / "checkpoints" / "best").symlink_to(stranger.parent / "150")
    saved = load_saved_model(stranger)
    (warning,) = saved.warnings
    assert "using update 150, the best one according to the training state" in warning
    best = read_weights(stranger / "checkpoints" / "150")
    assert all(value.equal(best[name]) for name, value in saved.model.named_parameters())


def test_a_run_may_be_a_link_itself(stranger: Path) -> None:
    link = stranger.parent / "link"
    link.symlink_to(stranger)
    load_saved_model(link)


@pytest.mark.slow
def test_start_from_reads_data_only(stranger: Path, experiment: dict[str, object]) -> None:
    plugin = with_plugin(stranger)
    training = experiment["training"]
    assert isinstance(training, dict) and isinstance(experiment["data"], dict)
    del experiment["data"]["vocabulary"]
    experiment["training"] = training | {"start_from": str(stranger), "epochs": None, "steps": 1}
    experiment["evaluation"] = {"samples": 0, "pictures": 0}
    file = write_experiment(stranger.parent / "next.yaml", experiment)
    called = nmt_train(file, "--run", stranger.parent / "next")
    assert called.code == 0, called.err
    assert not plugin.with_name("touched").exists()


@pytest.mark.parametrize("name", ["config.yaml", "vocabulary/joint.model"])
def test_special_files_of_a_run_are_not_opened(stranger: Path, name: str) -> None:
    (stranger / name).unlink()
    os.mkfifo(stranger / name)
    for message in refusals(stranger):
        assert str(stranger) in message
    (stranger / name).unlink()
    (stranger / name).symlink_to("/dev/zero")
    assert all(str(stranger / name) in message for message in refusals(stranger))
    with pytest.raises(UserError, match=str(stranger)):
        load_saved_model(stranger, trust_plugins=True)


@pytest.mark.slow
def test_training_copies_the_plugins_into_the_run(
    plugin_dir: Path, experiment: dict[str, object]
) -> None:
    plugin = plugin_dir / "mine.py"
    plugin.write_text(EVIL, encoding="utf-8")
    model, training = experiment["model"], experiment["training"]
    assert isinstance(model, dict)
    assert isinstance(training, dict)
    experiment |= {
        "plugins": ["mine.py"],
        "model": model | {"score": "mine"},
        "training": training | {"epochs": None, "steps": 2, "validate_every": 1},
        "evaluation": {"samples": 0, "pictures": 0},
    }
    file, run = write_experiment(plugin_dir / "mine.yaml", experiment), plugin_dir / "run"
    called = nmt_train(file, "--run", run)
    assert called.code == 0, called.err
    assert (run / "plugins" / "mine.py").read_text(encoding="utf-8") == EVIL
    # The same command continues the run: the config of the user is trusted.
    called = nmt_train(file, "--run", run)
    assert called.code == 0, called.err
    # The model needs only its run.
    plugin.unlink()
    load_saved_model(run, trust_plugins=True)
    with pytest.raises(UserError, match=f"the run contains code; read {run}/plugins/mine.py"):
        load_saved_model(run)


def test_two_plugins_of_one_name_are_refused(plugin_dir: Path) -> None:
    for folder in ("one", "two"):
        (plugin_dir / folder).mkdir()
        (plugin_dir / folder / "mine.py").write_text("", encoding="utf-8")
    file = plugin_dir / "e.yaml"
    file.write_text("plugins: [one/mine.py, two/mine.py]\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"e\.yaml:1: plugins: two files are named mine\.py"):
        load_experiment(file)


def test_vocabularies_of_captions_need_no_trust(stranger: Path) -> None:
    plugin = with_plugin(stranger)
    (stranger / "vocabulary" / "joint.model").rename(stranger / "vocabulary" / "target.model")
    (stranger / "vocabulary" / "source.model").unlink()
    tree = yaml.safe_load((stranger / "config.yaml").read_text(encoding="utf-8"))
    edit(stranger, data=tree["data"] | {"pictures": {"size": 16}})
    source, _ = load_vocabularies(RunDir(stranger))
    assert source is None
    assert not plugin.with_name("touched").exists()
