"""nmt-init: from files to a report and a trainable experiment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nmt.cli import init, train
from tests.commands import PHRASES, Called, call, lines_of

ROOT = Path(__file__).parents[2]
SIDES = [lines_of(Path(f"{PHRASES}.{side}")) for side in ("de", "en")]


@pytest.fixture(autouse=True)
def few_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the duration of updates by four of them."""
    monkeypatch.setattr("nmt.training.probe.MAX_UPDATES", 4)


def _table(folder: Path, extra: str = "") -> Path:
    pairs = zip(*SIDES, strict=True)
    rows = "".join(f"{de}\t{en}\tCC-BY #{i}\n" for i, (de, en) in enumerate(pairs))
    file = folder / "phrases.tsv"
    file.write_text(rows + extra, encoding="utf-8")
    return file


def _process(*arguments: object) -> Called:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "nmt.cli.init", *map(str, arguments)]
    found = subprocess.run(command, capture_output=True, text=True, env=environment)
    return Called(found.returncode, found.stdout, found.stderr)


def test_config_of_joeynmt_is_converted(here: Path) -> None:
    for part in ("train", "dev"):
        for side, lines in zip(("de", "en"), SIDES, strict=True):
            (here / f"{part}.{side}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    size = "{type: recurrent, hidden_size: 8, embeddings: {embedding_dim: 8}}"
    (here / "joey.yaml").write_text(
        "data: {train: train, dev: dev, src: {lang: de, level: char}, trg: {lang: en, level: char}}"
        f"\nmodel: {{encoder: {size}, decoder: {size}}}\n"
        "training: {epochs: 1, use_cuda: False, frobnicate: 3}\n",
        encoding="utf-8",
    )
    converted = call(init.main, "--from", "joey.yaml", "-o", "my.yaml")
    note = "training.frobnicate: has no counterpart and is left out"
    assert converted.lines == [note, "my.yaml is written; next: nmt-train my.yaml --check"]
    assert f"# {note}" in lines_of(here / "my.yaml")
    checked = call(train.main, "my.yaml", "--check", "data.max_length=500")
    assert checked.code == 0, checked.err


def test_report_alone_writes_nothing(here: Path) -> None:
    file = _table(here, "\tone side\tCC-BY #99\n")
    found = _process(file.name)
    assert found.code == 0, found.err
    assert found.lines[1].split() == ["train", str(len(SIDES[0]) + 1), "pairs"]
    assert any("empty" in line and "1 pair" in line for line in found.lines)
    assert [path.name for path in here.iterdir()] == [file.name]


@pytest.mark.slow
def test_experiment_of_a_table_can_be_checked_and_trained(here: Path) -> None:
    file = _table(here, "das <b>\tthe <b>\tCC-BY #99\n")
    languages = ("--languages", "de", "en")
    words = (file.name, "-o", "my.yaml", "--clean", *languages, "--threads", 1)
    found = call(init.main, *words)
    assert found.code == 0, found.err
    text = (here / "my.yaml").read_text(encoding="utf-8")
    experiment = yaml.safe_load(text)
    assert experiment["data"]["train"] == "my-data/train"
    assert f"nmt-init {file.name} -o my.yaml --clean --languages de en --threads 1" in text
    assert "nearest training sentences" in found.out
    assert found.lines[-1] == "my.yaml is written; next: nmt-train my.yaml"
    written = [lines_of(here / "my-data" / f"{part}.de") for part in ("train", "valid", "test")]
    assert sorted(line for lines in written for line in lines) == sorted(SIDES[0])
    assert lines_of(here / "my-data" / "removed.tsv") == [
        f"{file.name}:{len(SIDES[0]) + 1}\tmarkup\tdas <b>\tthe <b>"
    ]
    assert call(train.main, "my.yaml", "--check").code == 0
    short = ["training.steps=2", "training.validate_every=2", "search.max_length=5"]
    trained = call(train.main, "my.yaml", *short)
    assert trained.code == 0, trained.err
    # Nothing that a user may have changed is overwritten.
    again = call(init.main, file, "-o", "my.yaml")
    assert again.complaint == "nmt-init: my.yaml: already exists; choose another name, or remove it"
    other = call(init.main, file, "-o", "my.yml", *languages)
    assert "my-data: already exists" in other.complaint


@pytest.mark.slow
def test_given_parts_stay_in_their_place(here: Path) -> None:
    for part in ("train", "dev"):
        for lines, suffix in zip(SIDES, ("de", "en"), strict=True):
            (here / f"{part}.{suffix}").write_text("".join(f"{line}\n" for line in lines))
    found = call(init.main, here, "-o", here / "my.yaml", "--minutes", 1, "--threads", 1)
    assert found.code == 0, found.err
    data = yaml.safe_load((here / "my.yaml").read_text(encoding="utf-8"))["data"]
    assert (data["train"], data["valid"]) == ("train", "dev")
    assert not (here / "my-data").exists()
    assert f"{len(SIDES[0])} pairs (100 %)" in found.out  # all of them leak


def test_pairs_that_all_share_a_side_cannot_be_divided(here: Path) -> None:
    text = "".join(f"line number {i}\tyes\n" for i in range(100))
    (here / "a.tsv").write_text(text, encoding="utf-8")
    found = call(init.main, "a.tsv", "-o", "a.yaml")
    assert "a.tsv: almost all pairs share sentences" in found.complaint
    assert [path.name for path in here.iterdir()] == ["a.tsv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.tsv"], "none.tsv: not found"),
        (["few.tsv", "-o", "a.yaml"], "few.tsv: has 3 usable pairs; at least 40 are needed"),
        (["few.tsv", "--clean"], "--clean has no effect without -o"),
        ([], "no text is given; name a file, or a config with --from"),
        (["--from", "few.tsv"], "--from requires -o"),
        (["--from", "few.tsv", "few.tsv", "-o", "x.yaml"], "FILE has no effect with --from"),
        (["--from", "few.tsv", "--seed", "2", "-o", "x.yaml"], "--seed has no effect with --from"),
        (["few.tsv", "--minutes", "5"], "--minutes has no effect without -o"),
        (["few.tsv", "-o", "a.txt"], "a.txt: is not the name of an experiment file; use .yaml"),
        (["few.tsv", "-o", "a.yaml", "--minutes", "0"], "--minutes: must be more than 0"),
        (["few.tsv", "--columns", "1", "9"], "few.tsv: no column 9; the file has 2"),
        (["few.tsv", "--languages", "../x", "de"], "'../x' is no code of a language, such as de"),
        (["a.de", "b.en", "c.en"], "more than two files"),
    ],
)
def test_mistake_is_one_line(arguments: list[str], message: str, here: Path) -> None:
    (here / "few.tsv").write_text("one a\teins a\ntwo b\tzwei b\nthree\tdrei\n", encoding="utf-8")
    found = call(init.main, *arguments)
    assert message in found.complaint
    assert [path.name for path in here.iterdir()] == ["few.tsv"]
