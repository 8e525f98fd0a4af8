"""Wrong and contradictory options: one line, exit code 2, and all files as before."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaigns.bad_options import LINKS, OUTPUT, REFERENCE, TEXT, command_lines
from tests.campaigns.processes import ROOT, SUCCESS, USER_ERROR, Commands
from tests.campaigns.rounds import each
from tests.campaigns.runs import copy_inputs
from tests.campaigns.server import COMMANDS

KEPT = "an earlier result\n"
PER_COMMAND = 150


@pytest.fixture
def folder(shared: Path, tmp_path: Path) -> Path:
    """A working directory with two runs, five lines of text and an earlier output."""
    copy_inputs(shared, tmp_path)
    for run in ("run", "half"):
        shutil.copytree(shared / run, tmp_path / run, symlinks=True)
    for name, source in ((TEXT, "text"), (REFERENCE, "iso")):
        lines = (tmp_path / "data" / f"valid.{source}").read_text(encoding="utf-8").splitlines(True)
        (tmp_path / name).write_text("".join(lines[:5]), encoding="utf-8")
    (tmp_path / LINKS).write_text("0-0\n" * 5)
    return tmp_path


@each(command_lines(PER_COMMAND), short=12)
def test_odd_options_work_or_are_refused_and_leave_the_output(
    case: tuple[str, list[str]], folder: Path, commands: Commands
) -> None:
    command, words = case
    if command == "nmt-translate":
        (folder / OUTPUT).write_text(KEPT)
    ended = commands.run(command, *words, cwd=folder)
    assert ended.fault() is None, ended.fault()
    assert ended.code in (SUCCESS, USER_ERROR)
    if ended.code == USER_ERROR and command == "nmt-translate":
        assert (folder / OUTPUT).read_text() == KEPT, ended.err
    for text in (TEXT, REFERENCE, LINKS):
        assert len((folder / text).read_bytes().splitlines()) == 5, f"{text} was overwritten"


@each(command_lines(7, seed=2), short=1)
def test_odd_options_of_a_real_process(case: tuple[str, list[str]], folder: Path) -> None:
    command, words = case
    try:
        ended = subprocess.run(
            [sys.executable, "-m", f"nmt.cli.{COMMANDS[command]}", *words],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=600,
        )
    except OSError as error:  # the system refuses some arguments
        pytest.skip(str(error))
    assert ended.returncode in (SUCCESS, USER_ERROR), ended.stderr.decode(errors="replace")
    assert b"Traceback" not in ended.stderr


@each(
    [
        (f"{command} {name}", (command, arguments, closed))
        for command, arguments in (
            ("translate", ["-m", "run", TEXT]),
            ("translate", ["-m", "run"]),
            ("evaluate", [TEXT, REFERENCE]),
            ("train", ["dates.yaml", "--check"]),
            ("train", ["--list"]),
            ("train", ["--schema"]),
            ("train", ["--help"]),
            ("translate", ["--help"]),
            ("translate", ["--version"]),
        )
        for name, closed in (
            ("stdin closed", "<&-"),
            ("stdout closed", ">&-"),
            ("stderr closed", "2>&-"),
            ("stdout full", ">/dev/full"),
            ("all closed", "<&- >&- 2>&-"),
        )
        if not (len(arguments) == 1 and closed == "<&-")
    ],
    short=0,
)
def test_closed_or_full_standard_streams_are_one_line(
    case: tuple[str, list[str], str], folder: Path
) -> None:
    command, arguments, closed = case
    line = f"exec {sys.executable} -m nmt.cli.{command} {' '.join(arguments)} {closed}"
    with contextlib.ExitStack() as stack:
        given = stack.enter_context((folder / TEXT).open("rb"))
        ended = subprocess.run(
            ["sh", "-c", line],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdin=given,
            capture_output=True,
            timeout=600,
        )
    err = ended.stderr.decode()
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    assert ended.returncode in (SUCCESS, USER_ERROR), f"{ended.returncode}: {err}"
    if "/dev/full" in closed:
        assert ended.returncode == USER_ERROR, err
        assert err.count("\n") <= 1 + (command == "train" and arguments[0] == "dates.yaml") * 20
