"""The program that checks a GPU, on devices that fail: every result so far is kept."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import gpu_check
from gpu_check import Check

ROOT = Path(__file__).parents[2]
FAKE = Path(__file__).with_name("fake_check.py")
SECONDS = 1.5


def command(check: Check, seconds: float) -> Sequence[str]:
    return [sys.executable, "-S", str(FAKE), check.name]


def results(stem: Path) -> list[dict[str, Any]]:
    lines = stem.with_name(f"{stem.name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def is_running(pid: str) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    ("way", "case", "note"),
    [
        ("raises", "own", "RuntimeError: CUDA error: an illegal memory access was encountered"),
        ("runs_out_of_memory", "own", "MemoryError"),
        ("hangs", "process", "no end after 2 seconds; last line: capturing a graph"),
        ("is_killed", "process", "killed by SIGKILL; it printed nothing"),
        ("loses_results", "process", "ended with exit code 0 before its last result"),
        ("ends_early", "process", "ended with exit code 0 before its last result"),
        ("leaves_a_process", "process", "ended with exit code 7 before its last result"),
        ("prints_without_end", "process", "no end after 2 seconds; last line: warning"),
        ("hangs_at_exit", "process", "no end after 2 seconds; it printed nothing"),
    ],
)
def test_failure_costs_only_the_remaining_results_of_its_check(
    way: str, case: str, note: str, tmp_path: Path
) -> None:
    selected = [Check(way, SECONDS), Check("first", 20.0)]
    assert gpu_check.run(selected, command, tmp_path / "gpu", seconds=60.0) == 1
    found = results(tmp_path / "gpu")
    assert [row["case"] for row in found if row["check"] == "first"] == ["first", "first"]
    own = [row for row in found if row["check"] == way]
    assert (own[0]["case"], own[0]["verdict"], own[0]["value"]) == ("first", "measured", 1.0)
    failures = [row for row in own if row["verdict"] == "FAILED"]
    assert [row["case"] for row in failures] == [case]
    assert note in failures[0]["note"]
    # An exception leaves the process alive, which goes on with the next case.
    assert own[-1]["verdict"] == ("measured" if case == "own" else "FAILED")
    table = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert table.count("| FAILED |") == 1
    assert table.splitlines()[-1].startswith("1 FAILED, ")


def test_process_that_a_check_leaves_behind_is_killed(tmp_path: Path) -> None:
    gpu_check.run([Check("leaves_a_process", 20.0)], command, tmp_path / "gpu", seconds=60.0)
    log = (tmp_path / "gpu.log").read_text(encoding="utf-8")
    _, pid = log.split()
    deadline = time.monotonic() + 10  # a killed process ends when it gets a core
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_no_check_starts_after_the_time_is_used_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_check, "MIN_SECONDS", 0.5)
    selected = [Check("hangs", 60.0), Check("first", 60.0)]
    assert gpu_check.run(selected, command, tmp_path / "gpu", seconds=SECONDS) == 0
    reason = "--seconds are used up"
    assert [(row["verdict"], row.get("note")) for row in results(tmp_path / "gpu")] == [
        ("measured", ""),
        ("not run", f"not completed: {reason}"),
        ("not run", reason),
    ]


def test_nothing_runs_after_a_required_check_has_failed(tmp_path: Path) -> None:
    selected = [Check("raises", 20.0, required=True), Check("first", 20.0)]
    assert gpu_check.run(selected, command, tmp_path / "gpu", seconds=60.0) == 2
    assert results(tmp_path / "gpu")[-1]["note"] == "a required check failed"


def test_parallel_checks_share_the_time(tmp_path: Path) -> None:
    selected = [Check(way, 3.0, parallel=True) for way in ("hangs", "hangs", "first", "is_killed")]
    start = time.monotonic()
    assert gpu_check.run(selected, command, tmp_path / "gpu", seconds=60.0, jobs=4) == 1
    assert time.monotonic() - start < 6.0
    assert len([r for r in results(tmp_path / "gpu") if r["verdict"] == "measured"]) == 5


def test_kill_leaves_all_results_so_far_and_no_process(tmp_path: Path) -> None:
    code = (
        "import signal, sys, gpu_check; from pathlib import Path\n"
        "signal.signal(signal.SIGTERM, gpu_check._stop)\n"
        f"command = lambda check, seconds: [sys.executable, '-S', {str(FAKE)!r}, check.name]\n"
        "gpu_check.run([gpu_check.Check('hangs', 50.0)], command, Path('gpu'), seconds=60.0)\n"
    )
    path = str(ROOT / "scripts")
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}
    )
    log = tmp_path / "gpu.log"
    while not (log.exists() and log.read_text()):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 128 + signal.SIGTERM
    assert [row["case"] for row in results(tmp_path / "gpu")] == ["first"]
    assert "| first | measured |" in (tmp_path / "gpu.md").read_text(encoding="utf-8")


def test_missing_packages_are_named_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = {"jaxtyping": "jaxtyping", "yaml": "pyyaml"}
    monkeypatch.setattr(gpu_check, "find_spec", lambda name: None if name in missing else name)
    assert gpu_check.main(["--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert "has no jaxtyping, pyyaml; run `python3 -m pip install --target DIR" in error
    assert "PYTHONPATH=DIR" in error


def test_unknown_check_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main(["--device", "cpu", "--only", "bahdanu"]) == 2
    assert "--only bahdanu: no check has this name" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is available")
def test_missing_gpu_ends_the_program(tmp_path: Path) -> None:
    assert gpu_check.main(["-o", str(tmp_path / "gpu")]) == 2
    first, *others = results(tmp_path / "gpu")
    assert "finds no GPU" in first["note"]
    assert {row["verdict"] for row in others} == {"not run"}
    assert len(others) == len(gpu_check.checks()) - 1


def test_program_imports_the_standard_library_alone() -> None:
    code = "import sys, gpu_check; print(*{m.split('.')[0] for m in sys.modules})"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "scripts"
    )
    assert not {"torch", "numpy", "nmt", "yaml", "pydantic"} & set(found.stdout.split())


def test_every_check_has_a_module_and_every_config_a_check() -> None:
    from gpu_checks.__main__ import MODULES

    names = [check.name for check in gpu_check.checks()]
    assert {name.partition(":")[0] for name in names} == set(MODULES)
    configs = {path.stem for path in (ROOT / "configs").glob("*.yaml")}
    assert {name.partition(":")[2] for name in names} - {""} == configs
