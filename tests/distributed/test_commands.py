"""nmt-translate as several processes that torchrun starts."""

from pathlib import Path
from subprocess import PIPE

import pytest

from tests.commands import lines_of, nmt_translate, tree_of
from tests.conftest import start_ranks


def _translate(cwd: Path, *arguments: object, given: str | None = None) -> tuple[int, str, str]:
    process = start_ranks("nmt.cli.translate", *arguments, "--threads", 1, cwd=cwd, stdin=PIPE)
    out, err = process.communicate(given, timeout=600)
    return process.returncode, out, err


@pytest.mark.slow
def test_two_processes_write_the_same_files_as_one(
    trained: Path, sources: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        text = "\n".join(["", *sources[:4], " ", "Hallo"])
        (folder / "odd.de").write_text(text, encoding="utf-8")
    options = ["-m", trained, "odd.de", "-b", 2, "--n-best", 2, "-o", "out"]
    options += ["--alignments", "links", "--attention", "pictures"]
    assert _translate(two, *options)[:2] == (0, "")
    monkeypatch.chdir(one)
    assert nmt_translate(*options).code == 0
    assert len(lines_of(one / "links")) == 7
    assert tree_of(one) == tree_of(two)


@pytest.mark.slow
def test_sampling_does_not_depend_on_the_number_of_processes(
    trained: Path, sources: list[str], tmp_path: Path
) -> None:
    # One sentence per batch: the last bits of the tiny model's products depend on the batch.
    options = ["-m", trained, "--sample", "--jsonl", "--batch-sentences", 1, "--max-length", 12]
    given = "\n".join(sources[:7]) + "\n"
    code, out, err = _translate(tmp_path, *options, given=given)
    assert code == 0, err
    assert out == nmt_translate(*options, given=given).out


@pytest.mark.slow
def test_a_user_error_is_printed_once(trained: Path, tmp_path: Path) -> None:
    code, out, err = _translate(tmp_path, "-m", trained, "-m", tmp_path, "-", given="x\n")
    assert (code, out) == (1, "")  # torchrun's own
    (message,) = [line for line in err.splitlines() if line.startswith("nmt-")]
    assert message.startswith(f"nmt-translate: {tmp_path}: is not a run")
    assert "exitcode  : 2" in err
