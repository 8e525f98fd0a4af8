"""Commands called inside a test, and readers of the files that they write."""

import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple
from unittest.mock import patch

import yaml

from nmt.cli import evaluate, export, train, translate

PHRASES = Path(__file__).parent / "data_files" / "phrases"

Main = Callable[[Sequence[str] | None], int]


class Called(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of standard output; fails if the last one is incomplete."""
        assert self.out.endswith("\n")
        return self.out[:-1].split("\n")

    @property
    def complaint(self) -> str:
        """The error line of a user error; fails if there is none or more than one."""
        lines = [line for line in self.err.splitlines() if line.startswith("nmt-")]
        assert self.code == 2
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


def call(main: Main, *arguments: object, given: bytes = b"") -> Called:
    """Run a command in this process with the given standard input."""
    out, err = _stream(), _stream()
    with TemporaryFile() as standard_input:
        standard_input.write(given)
        standard_input.seek(0)
        replaced = patch.object(sys, "stdin", standard_input)
        with redirect_stdout(out), redirect_stderr(err), replaced:
            code = _code(main, [str(argument) for argument in arguments])
    return Called(code, _text(out), _text(err))


def _code(main: Main, arguments: list[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as left:
        return int(left.code or 0)


def nmt_train(*arguments: object) -> Called:
    """Run nmt-train."""
    return call(train.main, *arguments)


def nmt_translate(*arguments: object, given: str | bytes = b"") -> Called:
    """Run nmt-translate with one thread."""
    data = given.encode() if isinstance(given, str) else given
    return call(translate.main, *arguments, "--threads", 1, given=data)


def nmt_export(*arguments: object) -> Called:
    """Run nmt-export."""
    return call(export.main, *arguments)


def nmt_eval(*arguments: object) -> Called:
    """Run nmt-eval."""
    return call(evaluate.main, *arguments)


def _stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


def write_experiment(file: Path, tree: dict[str, Any]) -> Path:
    """Write an experiment file."""
    file.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    return file


def lines_of(file: Path) -> list[str]:
    """Return the lines of a text file, which end with LF only."""
    return file.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def reports(run: Path) -> list[dict[str, Any]]:
    """Return the objects of metrics.jsonl without the values that depend on time."""
    found = [json.loads(line) for line in lines_of(run / "metrics.jsonl")]
    timed = ("minutes", "target_tokens_per_second")
    return [{k: v for k, v in one.items() if k not in timed} for one in found]


def state_of(checkpoint: Path) -> dict[str, Any]:
    """Return the content of state.json without the minutes."""
    state: dict[str, Any] = json.loads((checkpoint / "state.json").read_text())
    del state["minutes"]
    return state


def tree_of(folder: Path) -> dict[str, bytes | str]:
    """Return every file below a directory by name: its bytes, or the target of a link."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def forget_inputs(run: Path) -> None:
    """Rewrite the checkpoints of a run as a version without recorded inputs wrote them."""
    for checkpoint in (run / "checkpoints").iterdir():
        if not checkpoint.name.isdecimal():
            continue
        state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
        del state["inputs"]
        for name in ("record", "losses"):
            del state["watch"][name]
        (checkpoint / "state.json").write_text(json.dumps(state), encoding="utf-8")
        names = ("model.safetensors", "training.safetensors", "state.json")
        sums = [f"{sha256((checkpoint / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
        (checkpoint / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
