"""Standard streams that are closed, full, or without a reader."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.conftest import ROOT, start_command

SPACE = "standard output: cannot write: No space left on device; redirect it to another file"


def shell(command: str, arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell, with redirections among its arguments."""
    line = f'"{sys.executable}" -m nmt.cli.{command} {arguments}'
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["sh", "-c", line], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("translate", "--help"),
        ("train", "--version"),
        ("train", "--list score"),
        ("train", "--schema"),
        ("evaluate", "--alignments links --gold links"),
    ],
)
def test_full_standard_output_is_one_line(command: str, arguments: str, tmp_path: Path) -> None:
    (tmp_path / "links").write_text("0-0\n")
    found = shell(command, f"{arguments} > /dev/full", tmp_path)
    name = {"evaluate": "nmt-eval"}.get(command, f"nmt-{command}")
    assert (found.returncode, found.stderr) == (2, f"{name}: {SPACE}\n")
    found = shell(command, f"{arguments} >&-", tmp_path)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == (
        f"{name}: standard output: is closed; redirect it to a file or to /dev/null\n"
    )


@pytest.mark.parametrize("redirection", ["2>&-", "2> /dev/full"])
def test_lost_messages_do_not_change_the_exit_code(redirection: str, tmp_path: Path) -> None:
    for arguments, code in (("--version", 0), ("-m none none.de", 2), ("--unknown", 2)):
        found = shell("translate", f"{arguments} {redirection}", tmp_path)
        assert (found.returncode, found.stderr) == (code, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("> /dev/full", SPACE),
        (">&-", "standard output: is closed; redirect it to a file or to /dev/null"),
        ("<&-", "standard input: is closed; give INPUT, or redirect a text to it"),
    ],
)
def test_translate_reports_closed_and_full_streams(
    arguments: str, message: str, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.de").write_text("Guten Morgen!\n")
    given = "" if "<" in arguments else "in.de"
    found = shell("translate", f'-m "{trained}" --threads 1 {given} {arguments}', tmp_path)
    assert (found.returncode, found.stderr) == (2, f"nmt-translate: {message}\n")


@pytest.mark.slow
def test_interrupted_twice_leaves_quietly(
    trained: Path, sources: list[str], tmp_path: Path
) -> None:
    (tmp_path / "in.de").write_text("\n".join(sources * 200) + "\n", encoding="utf-8")
    options = ["in.de", "--threads", 1, "--workers", 2, "-o", "out.en"]
    process = start_command("translate", "-m", trained, *options, cwd=tmp_path, stdin=PIPE)
    while not list(tmp_path.glob(".out.en.*.part")):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err in ("", "nmt-translate: interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["in.de"]
