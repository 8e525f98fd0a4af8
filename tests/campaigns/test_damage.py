"""Damaged runs: named or repaired, and never silently another result."""

import shutil
from pathlib import Path

import pytest

from tests.campaigns.damage import Damage, cache_flips, damages
from tests.campaigns.processes import SUCCESS, USER_ERROR, Commands, Ended
from tests.campaigns.rounds import each
from tests.campaigns.runs import checkpoints, copy_inputs, target_of, train

KINDS = [*damages(), *cache_flips()]
NEWEST = {"run": "16", "half": "10"}


def _translate(folder: Path, commands: Commands, *arguments: str) -> Ended:
    """Translate with scores, which differ between the checkpoints of a run."""
    text = folder / "data" / "valid.text"
    return commands.run("nmt-translate", "-m", "run", text, "--scores", *arguments, cwd=folder)


@pytest.fixture(scope="session")
def translations(shared: Path, commands: Commands) -> dict[str, dict[str, bytes]]:
    """The translations of each run by each of its checkpoints."""
    found: dict[str, dict[str, bytes]] = {}
    for run in NEWEST:
        text, found[run] = shared / "data" / "valid.text", {}
        for step in [*checkpoints(shared / run), "best"]:
            arguments = ("-m", run, text, "--scores", "--checkpoint", step)
            ended = commands.run("nmt-translate", *arguments, cwd=shared)
            assert ended.code == SUCCESS
            found[run][step] = ended.out
    assert len(set(found["run"].values())) == len(checkpoints(shared / "run"))
    return found


def _damaged(shared: Path, folder: Path, run: str, case: tuple[str, Damage]) -> None:
    name, damage = case
    copy_inputs(shared, folder)
    shutil.copytree(shared / run, folder / "run", symlinks=True)
    best = target_of(folder / "run" / "checkpoints" / "best") or ""
    damage(folder / "run" / name.replace("LAST", NEWEST[run]).replace("BEST", best))


@each(KINDS, short=4)
def test_translation_of_damaged_run_is_the_same_or_the_damage_is_named(
    case: tuple[str, Damage],
    shared: Path,
    commands: Commands,
    translations: dict[str, dict[str, bytes]],
    tmp_path: Path,
) -> None:
    _damaged(shared, tmp_path, "half", case)
    ended = _translate(tmp_path, commands)
    assert ended.fault() is None, ended.fault()
    if ended.code == USER_ERROR:
        assert ended.out == b""
        return
    known = translations["half"]
    assert ended.out in known.values(), "the result of no checkpoint"
    if ended.out != known["best"]:
        assert any("checkpoint" in line for line in ended.complaints), "silently another one"


@each(KINDS, short=4)
def test_training_of_damaged_run_ends_equal_or_the_damage_is_named(
    case: tuple[str, Damage], shared: Path, commands: Commands, tmp_path: Path
) -> None:
    _damaged(shared, tmp_path, "half", case)
    ended = train(tmp_path, commands)
    assert ended.fault() is None, ended.fault()
    if ended.code == USER_ERROR:
        return
    for name in ("model.safetensors", "training.safetensors"):
        files = [run / "checkpoints" / "16" / name for run in (tmp_path / "run", shared / "run")]
        assert files[0].read_bytes() == files[1].read_bytes(), f"other weights\n{ended.err}"
    links = [shared / "run", tmp_path / "run"]
    for name in ("best", "last"):
        found = [target_of(run / "checkpoints" / name) for run in links]
        assert found[0] == found[1], f"{name}: {found}\n{ended.err}"
