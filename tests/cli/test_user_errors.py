"""User errors of every command: one line, exit code 2, and no file is changed."""

from pathlib import Path
from typing import Any

import pytest

from nmt.registry import DECODERS
from nmt.search.line_translator import LineTranslator
from tests.commands import (
    PHRASES,
    nmt_eval,
    nmt_train,
    nmt_translate,
    tree_of,
    write_experiment,
)
from tests.model.minimal import BlindDecoder


@pytest.fixture
def files(here: Path, experiment: dict[str, Any]) -> Path:
    """A directory with an experiment and with files that are no valid input."""
    text = write_experiment(here / "good.yaml", experiment).read_text(encoding="utf-8")
    for name, content in {
        "empty.yaml": b"",
        "tabs.yaml": b"data:\n\ttrain: a\n",
        "latin.yaml": "# phrases\n# M\xe4dchen\n".encode("latin-1") + text.encode(),
        "windows.yaml": text.encode("utf-16"),
        "zeros.yaml": b"data: \0\0\0\n",
        "section.yaml": f"{text}serch: {{}}\n".encode(),
        "list.yaml": b"- data\n- model\n",
        "circle.yaml": b"data: &all [*all]\n",
        "one.txt": b"one\n",
        "nothing.txt": b"",
    }.items():
        (here / name).write_bytes(content)
    (here / "folder").mkdir()
    return here


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["folder"], "folder: cannot be read: is a directory; give a file"),
        (["good.yaml/x"], "good.yaml/x: not found"),
        (["tabs.yaml"], "tabs.yaml:2: invalid YAML: found character '\\t'"),
        (["latin.yaml"], "latin.yaml:2: is not UTF-8"),
        (["windows.yaml"], "windows.yaml:1: is not UTF-8"),
        (["zeros.yaml"], "zeros.yaml: invalid YAML: unacceptable character"),
        (["section.yaml"], "serch: unknown key; did you mean 'search'?"),
        (["list.yaml"], "list.yaml:1: an experiment file must be a mapping of sections"),
        (["circle.yaml"], "circle.yaml:1: recursive YAML alias; write the value out"),
        (["good.yaml", "tabs.yaml"], "'tabs.yaml' is not an override"),
        (["good.yaml", "data.train=1"], "data.train: expected a file name, got 1"),
        (["good.yaml", "data.train=folder"], "folder.de: not found"),
        (["good.yaml", "training.seed=-1"], "training.seed: must be at least 0, got -1"),
        (["good.yaml", "evaluation.tokenize=letters"], "unknown tokenizer 'letters'"),
        (["good.yaml", "evaluation.metrics=[]"], "no metric is given"),
        (["good.yaml", "training.start_from=folder"], "folder: is not a run: it has no config"),
        (["good.yaml", "training.start_from=x.nmt"], "x.nmt: not found; check the name"),
        (
            ["good.yaml", "training.start_from=empty.yaml"],
            "empty.yaml: is a file or a bundle",
        ),
    ],
)
def test_errors_of_train(arguments: list[str], words: str, check: bool, files: Path) -> None:
    before = tree_of(files)
    called = nmt_train(*arguments, *["--check"] * check)
    assert words in called.complaint
    assert (called.out, tree_of(files)) == ("", before)


@pytest.mark.usefixtures("files")
def test_an_empty_file_is_reported_with_all_missing_sections() -> None:
    called = nmt_train("empty.yaml")
    assert called.code == 2
    assert called.err.splitlines() == [
        "nmt-train: empty.yaml: data: is missing; add a section 'data'",
        "nmt-train: empty.yaml: training: is missing; add a section 'training'",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["folder"], "folder: cannot read: Is a directory"),
        (["-o", "folder"], "folder: cannot write: Is a directory"),
        (["-o", "one.txt/out"], "one.txt/out: cannot write: Not a directory"),
        (
            ["-o", "out", "--alignments", "out"],
            "out: is the output of both translations and alignments",
        ),
        (["--attention", "one.txt"], "one.txt: cannot be created: File exists"),
        (["--force", "folder"], "folder: cannot read: Is a directory"),
        (["-m", "folder"], "folder: is not a run"),
        (["-m", "one.txt"], "one.txt: is not a bundle; give a run"),
        (["--n-best", 0], "must be at least 1"),
        (["one.txt", "nothing.txt"], "unrecognized arguments: nothing.txt"),
    ],
)
@pytest.mark.usefixtures("files")
def test_errors_of_translate(arguments: list[object], words: str, trained: Path) -> None:
    called = nmt_translate("-m", trained, *arguments, given="Guten Morgen!\n")
    assert words in called.complaint
    assert called.out == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["one.txt", "nothing.txt"], "1 hypotheses but 0 lines in reference 1"),
        (["nothing.txt", "nothing.txt"], "the hypotheses are empty"),
        (["folder", "one.txt"], "folder: cannot read: Is a directory"),
        (["one.txt", "latin.yaml"], "latin.yaml:2: byte 4 is not UTF-8"),
        (["one.txt", "one.txt", "--metrics", "blue"], "invalid choice: 'blue'"),
        (["--alignments", "folder", "--gold", "one.txt"], "folder: cannot read: Is a directory"),
    ],
)
@pytest.mark.usefixtures("files")
def test_errors_of_eval(arguments: list[object], words: str) -> None:
    called = nmt_eval(*arguments)
    assert words in called.complaint
    assert called.out == ""


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("arguments", [["one.txt"], [f"{PHRASES}.en", "--tokenize", "letters"]])
def test_eval_checks_the_references_before_it_translates(
    arguments: list[object], trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(LineTranslator, "translate_lines")
    assert nmt_eval("-m", trained, f"{PHRASES}.de", *arguments).complaint


@pytest.mark.usefixtures("plugin_dir")
def test_attention_plots_require_a_model_with_attention(
    experiment: dict[str, Any], here: Path
) -> None:
    DECODERS.register("blind")(BlindDecoder)
    experiment["model"]["decoder"] = "blind"
    experiment["training"] |= {"epochs": None, "steps": 1}
    experiment["evaluation"] = {"samples": 0, "pictures": 0}
    assert nmt_train(write_experiment(here / "blind.yaml", experiment)).code == 0
    called = nmt_translate("-m", "runs/blind", "--attention", "drawn", given="Guten Morgen!\n")
    assert "--attention requires a model with attention; remove --attention" in called.complaint
