"""Two commands on one run, as real processes: one trains it, and others may only read it."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaigns.processes import INTERRUPTED, SUCCESS, USER_ERROR, Commands
from tests.campaigns.runs import checkpoints, copy_inputs, train
from tests.conftest import start_command

SECONDS = 600
ENDLESS = ("training.steps=1000000", "training.keep=2")


@pytest.fixture
def training(shared: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A real nmt-train that has written its first checkpoint and would go on for days."""
    copy_inputs(shared, tmp_path)
    words = ("dates.yaml", *ENDLESS, "--run", "run", "--device", "cpu")
    process = start_command("train", *words, cwd=tmp_path)
    limit = time.monotonic() + SECONDS
    while not (tmp_path / "run" / "checkpoints" / "best").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.05)
    # Stopped, so that it takes no time from the other commands; it holds the run all the same.
    process.send_signal(signal.SIGSTOP)
    yield process
    process.kill()
    process.communicate()


def test_run_in_training_is_refused_to_others_and_can_be_read(
    training: subprocess.Popen[str], commands: Commands, tmp_path: Path
) -> None:
    owner = f"process {training.pid} on host {re.escape(socket.gethostname())}"
    steps = checkpoints(tmp_path / "run")
    for words in ((), ("--restart",), ("training.epochs=1", "--restart")):
        refused = train(tmp_path, commands, "run", (*ENDLESS, *words))
        assert refused.fault([USER_ERROR]) is None, refused.fault([USER_ERROR])
        assert re.search(f"^nmt-train: run: is being trained by {owner};", refused.err), refused.err
    assert checkpoints(tmp_path / "run") == steps
    assert [path.name for path in tmp_path.glob("run*")] == ["run"]  # none was moved aside
    given = (tmp_path / "data" / "valid.text").read_bytes()
    for options in ((), ("--checkpoint", "last")):
        words = ("-m", "run", "-b", "1", *options)
        translated = commands.run("nmt-translate", *words, cwd=tmp_path, given=given)
        assert translated.code == SUCCESS, translated.err
        assert translated.out.count(b"\n") == given.count(b"\n")
    training.send_signal(signal.SIGCONT)
    training.send_signal(signal.SIGTERM)
    _, err = training.communicate(timeout=SECONDS)
    assert training.returncode == INTERRUPTED, err
    step = int(os.readlink(tmp_path / "run" / "checkpoints" / "last"))
    words = (f"training.steps={step + 1}", "training.keep=2")
    again = train(tmp_path, commands, "run", words)
    assert again.code == SUCCESS, again.err
    assert f"continuing after update {step}" in again.err
