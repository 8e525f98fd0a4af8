"""Commands, experiments, Python code and links of the documents."""

import argparse
import importlib
import importlib.util
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from nmt.config.loader import load_experiment
from nmt.data.images import ImageSize
from nmt.model.build import check_model
from tests.commands import write_experiment
from tests.conftest import tiny_experiment
from tests.docs.pages import (
    DOCUMENTS,
    PROGRAMS,
    ROOT,
    Block,
    anchors,
    blocks,
    commands,
    links,
)

COMMANDS = [
    pytest.param(command, id=f"{document.relative_to(ROOT)}:{line}")
    for document in DOCUMENTS
    for line, command in commands(document)
]
MODULES = {
    "nmt-init": "init",
    "nmt-train": "train",
    "nmt-translate": "translate",
    "nmt-eval": "evaluate",
    "nmt-plot": "plot",
    "nmt-export": "export",
    "nmt-serve": "serve",
    "nmt-compare": "compare",
}
DATA = {"train": "t", "valid": "v", "source": "a", "target": "b", "vocabulary": {"size": 100}}
MODEL = {
    "encoder": {"type": "bilstm", "hidden_size": 8},
    "decoder": {"type": "bahdanau", "hidden_size": 8},
}


def untitled(language: str) -> list[Any]:
    """Return blocks that are not files of the guides, which have tests of their own."""
    found = [block for document in DOCUMENTS for block in blocks(document, language)]
    return [pytest.param(block, id=block.location) for block in found if not block.title]


class _Parsed(Exception):
    """The parser has accepted the arguments."""


@pytest.fixture
def parse_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every command end as soon as its arguments are parsed."""
    parse = argparse.ArgumentParser.parse_known_args

    def parse_known_args(self: argparse.ArgumentParser, *given: Any, **more: Any) -> Any:
        parse(self, *given, **more)
        raise _Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", parse_known_args)


def _main(program: str) -> Callable[[list[str]], object]:
    """Return the function of a command or of a script."""
    if program in MODULES:
        return importlib.import_module(f"nmt.cli.{MODULES[program]}").main
    assert (ROOT / program).is_file(), f"{program} does not exist"
    return importlib.import_module(Path(program).stem).main


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("parse_only")
def test_command_is_accepted(command: str) -> None:
    command = re.sub(r"build/\w+/bin/python\b", sys.executable, command)
    words = ["2" if word == "N" else word for word in shlex.split(command, comments=True)]
    if words == [words[0]] and words[0] in PROGRAMS:
        return  # the name of a program in a sentence
    if words[0] == "bash":
        assert (ROOT / words[1]).is_file()
        return
    if words[0] == "torchrun":
        if "-m" not in words:
            return
        module = words.index("-m")
        words = [f"nmt-{words[module + 1].rpartition('.')[2]}", *words[module + 2 :]]
    if words[0] == "python":
        words = words[1:]
    words = words[: next((i for i, word in enumerate(words) if word in "|>"), len(words))]
    with pytest.raises(_Parsed):
        _main(words[0])(words[1:])


TRAININGS = [
    pytest.param(command, id=f"{document.relative_to(ROOT)}:{line}")
    for document in DOCUMENTS
    for line, command in commands(document)
    if command.startswith("nmt-train configs/")
]


@pytest.mark.parametrize("command", TRAININGS)
def test_training_command_names_a_valid_experiment(command: str) -> None:
    _, config, *rest = shlex.split(command)
    overrides = [word for word in rest if "=" in word and not word.startswith("-")]
    assert load_experiment(ROOT / config, overrides)


@pytest.mark.parametrize("block", untitled("yaml"))
def test_yaml_is_a_valid_experiment(block: Block, tmp_path: Path) -> None:
    """A page may show some sections, or some keys of data; the others are filled in."""
    shown = yaml.safe_load(block.text)
    assert shown.keys() <= {"data", "model", "training", "search", "evaluation"}
    filled = {"data": DATA, "model": MODEL, "training": {"epochs": 1}} | shown
    if "pictures" in filled["data"] or "train" not in filled["data"]:
        filled["data"] = DATA | filled["data"]
    file = write_experiment(tmp_path / "shown.yaml", filled)
    experiment = load_experiment(file).experiment
    images = ImageSize.from_config(experiment.data.pictures)
    check_model(experiment.model, joint=True, image_size=images)


@pytest.fixture
def run_of_the_readme(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provide an experiment and its finished run in the current directory."""
    write_experiment(tmp_path / "my.yaml", tiny_experiment())
    shutil.copytree(trained, tmp_path / "runs" / "my", symlinks=True)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("block", untitled("python"))
@pytest.mark.usefixtures("run_of_the_readme", "plugin_dir")
def test_python_block_runs(block: Block) -> None:
    exec(compile(block.text, block.location, "exec"), {"__name__": "shown"})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(document: Path) -> None:
    for link in links(document):
        path, _, anchor = link.partition("#")
        if re.match(r"https?:", link):
            continue
        target = document if not path else (document.parent / path).resolve()
        assert target.is_file(), f"{document.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{document.name}: {link}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_files_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = re.findall(r"`((?:configs|scripts|benchmarks|nmt|docs|tests)/[\w./-]+?)/?`", text)
    named += re.findall(r"`(\w+\.(?:sh|toml|txt|md))`", text)
    for name in (name for name in named if "NAME" not in name):
        assert (ROOT / name).exists() or (document.parent / name).exists(), (
            f"{document.name}: {name}"
        )


def test_quoted_messages_exist() -> None:
    """Each part of a message between placeholders is in the source."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "nmt").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r'^\*\*"(.+?)"\.\*\*', text, re.M)
    assert len(quoted) >= 4
    for message in quoted:
        for part in re.split(r" ?(?:\.\.\.|\bN\b|\bnan\b|\bloss\b) ?", message):
            assert part in source, message
