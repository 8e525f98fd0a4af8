r"""Check and measure every code path of a GPU in one command, without installing anything.

    python3 scripts/gpu_check.py -o gpu                     # writes gpu.jsonl, gpu.md and gpu.log
    python3 scripts/gpu_check.py --only device system:dates
    python3 scripts/gpu_check.py --device cpu               # tests this program

Every check is a process of its own (`gpu_checks`) with a time limit, the most important ones first.
Each result is on disk before the next one is computed, so a check that raises, crashes, hangs or
runs out of memory costs only its own remaining results. `--seconds` bounds the whole run.

Needs torch, Triton, NumPy, jaxtyping, PyYAML and Pillow; `nmt` need not be installed. The exit code
is 1 if a check failed, and 2 if packages or the GPU are missing.
"""

import argparse
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fnmatch import fnmatch
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TextIO

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "torch": "torch",
    "triton": "triton",
    "numpy": "numpy",
    "jaxtyping": "jaxtyping",
    "yaml": "pyyaml",
    "PIL": "pillow",
}
"""Modules that the checks import, and the packages that contain them."""
FIRST = ("dates", "dates_luong", "dates_gnmt")
"""Small systems with all shapes of the fused recurrence."""
MIN_SECONDS = 5.0
"""Without this much time left, no check starts: importing torch takes as long."""
COLUMNS = ("check", "case", "verdict", "value", "limit", "unit", "seconds", "note")

Result = dict[str, Any]
"""`case`, `verdict` (passed, FAILED, measured or not run), `value`, `limit`, `unit`, `note`."""


class Check(NamedTuple):
    """A check, which runs in a process of its own.

    Attributes:
        name: NAME or NAME:CONFIG
        seconds: time limit
        parallel: whether it may run next to others; it measures no time
        required: whether no other check is worth a try after it has failed
    """

    name: str
    seconds: float
    parallel: bool = False
    required: bool = False


def checks() -> list[Check]:
    """Return all checks in their order."""
    rest = sorted(path.stem for path in (ROOT / "configs").glob("*.yaml") if path.stem not in FIRST)
    return [
        Check("device", 90, required=True),
        Check("encoder", 60),
        *(Check(f"system:{name}", 120) for name in FIRST),
        Check("loss", 60),
        Check("bahdanau", 120),
        Check("repeat", 90),
        Check("nonfinite", 60),
        Check("gnmt", 120),
        Check("search", 90),
        *(Check(f"brief:{name}", 120, parallel=True) for name in rest),
    ]


Command = Callable[[Check, float], Sequence[str]]
"""Returns the command of a check that has a number of seconds."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parse(arguments)
    error = _missing_packages(options.device)
    for pattern in options.only:
        if not any(fnmatch(check.name, pattern) for check in checks()):
            error = error or f"--only {pattern}: no check has this name"
    if error:
        print(f"gpu_check: {error}", file=sys.stderr)
        return 2

    def command(check: Check, seconds: float) -> list[str]:
        own = ["-m", "gpu_checks", check.name, "--device", options.device]
        return [sys.executable, *own, "--seconds", f"{seconds:.0f}"]

    selected = [c for c in checks() if c.required or _is_selected(c.name, options.only)]
    return run(selected, command, options.output, seconds=options.seconds, jobs=options.jobs)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device", choices=["cuda", "cpu"], default="cuda", help="default: cuda")
    add(
        "--only", nargs="+", default=[], metavar="NAME", help="checks to run; * stands for any text"
    )
    add("--seconds", type=float, default=540.0, help="end after so many (default: 540)")
    add("--jobs", type=int, default=4, help="processes that share the GPU at the end (default: 4)")
    add(
        "-o",
        "--output",
        type=Path,
        default=ROOT / "build" / "gpu_check",
        metavar="STEM",
        help="writes STEM.jsonl, STEM.md and STEM.log (default: build/gpu_check)",
    )
    return parser.parse_args(arguments)


def _missing_packages(device: str) -> str:
    """Return an error that names all missing packages; empty if none is missing."""
    needed = {m: p for m, p in PACKAGES.items() if m != "triton" or device == "cuda"}
    missing = [package for module, package in needed.items() if find_spec(module) is None]
    if not missing:
        return ""
    names = " ".join(missing)
    return (
        f"{sys.executable} has no {', '.join(missing)}; run `python3 -m pip install --target DIR "
        f"--no-deps {names}` where there is a network, and this command with PYTHONPATH=DIR"
    )


def _is_selected(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatch(name, pattern) for pattern in patterns)


def run(
    selected: Sequence[Check], command: Command, stem: Path, *, seconds: float, jobs: int = 1
) -> int:
    """Run checks, write their results as they come, and return the exit code.

    Args:
        selected: the checks, in order
        command: returns the command of a check
        stem: path of the files without suffix
        seconds: time for everything
        jobs: number of parallel checks at a time
    """
    end = time.monotonic() + seconds
    stem.parent.mkdir(parents=True, exist_ok=True)
    with Report(stem) as report:
        for parallel, group in groupby(selected, key=lambda check: check.parallel):
            with ThreadPoolExecutor(jobs if parallel else 1) as pool:
                futures = [pool.submit(_run_check, c, command, end, report) for c in group]
                for future in futures:
                    future.result()  # an error of this program, such as a full disk
        return report.finish()


def _run_check(check: Check, command: Command, end: float, report: "Report") -> None:
    left = end - time.monotonic()
    if report.is_hopeless or left < min(MIN_SECONDS, check.seconds):
        reason = "a required check failed" if report.is_hopeless else "--seconds are used up"
        report.add(check, {"case": "", "verdict": "not run", "note": reason})
        return
    limit = min(left, check.seconds)
    for result in Process(command(check, limit), limit, report.log).results():
        # A limit that the end of the whole run has shortened says nothing about the GPU.
        if result.get("timed_out") and limit < check.seconds:
            result |= {"verdict": "not run", "note": "not completed: --seconds are used up"}
        report.add(check, result)


class Process:
    """A check in a process group of its own, which writes results as lines of JSON.

    Args:
        command: starts the process
        seconds: time limit
        log: receives the standard error of the process
    """

    def __init__(
        self, command: Sequence[str], seconds: float, log: Callable[[bytes], None]
    ) -> None:
        paths = [str(ROOT), str(ROOT / "scripts"), os.environ.get("PYTHONPATH", "")]
        self._log, self._seconds = log, seconds
        self._deadline = time.monotonic() + seconds
        self._text = {"out": b"", "err": b""}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            # Several processes share the cores, and models on the CPU are small.
            env={"OMP_NUM_THREADS": "4"}
            | os.environ
            | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
        LIVE.add(self._process)

    def results(self) -> Iterator[Result]:
        """Yield the results as they come; at last a failed one if the process did not complete."""
        complete = False
        try:
            for line in self._lines():
                try:
                    result = json.loads(line)
                    complete = result["verdict"] == "end"
                except (ValueError, KeyError, TypeError):
                    yield _failure(f"not a result: {line[:200].decode(errors='replace')}")
                    continue
                if not complete:
                    yield result
            timed_out = not self._wait()
        finally:
            self._kill()
        if timed_out:
            note = f"no end after {self._seconds:.0f} seconds; {self._last_line()}"
            yield _failure(note) | {"timed_out": True}
        elif self._process.returncode != 0 or not complete or self._text["out"]:
            yield _failure(f"{_ending(self._process.returncode)}; {self._last_line()}")

    def _lines(self) -> Iterator[bytes]:
        """Yield complete lines until both pipes are closed, the process or its time ended."""
        process = self._process
        assert process.stdout is not None and process.stderr is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ, "out")
            selector.register(process.stderr, selectors.EVENT_READ, "err")
            while selector.get_map() and time.monotonic() < self._deadline:
                ended = process.poll() is not None
                ready = selector.select(0 if ended else 0.1)
                if ended and not ready:
                    return  # a process that it started may still hold the pipes
                for key, _ in ready:
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        selector.unregister(key.fileobj)
                    if key.data == "err":
                        self._log(data)
                        self._text["err"] = (self._text["err"] + data)[-4000:]
                        continue
                    *lines, self._text["out"] = (self._text["out"] + data).split(b"\n")
                    yield from lines

    def _wait(self) -> bool:
        """Return whether the process ends in time."""
        try:
            self._process.wait(max(0.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        # A process that hangs in a driver may survive, which must not hold up the others.
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        LIVE.discard(self._process)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _last_line(self) -> str:
        lines = self._text["err"].decode(errors="replace").strip().splitlines()
        return f"last line: {lines[-1].strip()[:300]}" if lines else "it printed nothing"


LIVE: set[subprocess.Popen[bytes]] = set()
"""Processes that end with this one."""


def _failure(note: str) -> Result:
    return {"case": "process", "verdict": "FAILED", "note": note}


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code} before its last result"
    with suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"


class Report:
    """The results in STEM.jsonl and STEM.md, each on disk before the next; a context manager."""

    def __init__(self, stem: Path) -> None:
        self._start, self._lock = time.monotonic(), Lock()
        self._counts: dict[str, int] = {}
        self.is_hopeless = False
        self._json, self._table, self._log = (
            stem.with_name(f"{stem.name}.{suffix}").open("w", encoding="utf-8", errors="replace")
            for suffix in ("jsonl", "md", "log")
        )
        _write(self._table, f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}\n")

    def add(self, check: Check, result: Result) -> None:
        """Write a result, and print it."""
        with self._lock:
            seconds = round(time.monotonic() - self._start, 1)
            row = {"check": check.name, "seconds": seconds} | result
            verdict = str(row.get("verdict"))
            self._counts[verdict] = self._counts.get(verdict, 0) + 1
            self.is_hopeless |= check.required and verdict == "FAILED"
            _write(self._json, json.dumps(row) + "\n")
            _write(self._table, f"| {' | '.join(_cell(row.get(name)) for name in COLUMNS)} |\n")
            texts = [_cell(row.get(name)) for name in ("verdict", *COLUMNS[:2], *COLUMNS[3:])]
            print(" ".join(filter(None, texts)), flush=True)

    def log(self, data: bytes) -> None:
        """Keep the standard error of a process."""
        with self._lock:
            self._log.write(data.decode(errors="replace"))
            self._log.flush()

    def finish(self) -> int:
        """Write the numbers of results; return the exit code."""
        seconds = time.monotonic() - self._start
        counts = ", ".join(f"{n} {verdict}" for verdict, n in sorted(self._counts.items()))
        text = f"{counts}; {seconds:.0f} seconds"
        _write(self._table, f"\n{text}\n")
        print(text, flush=True)
        if self.is_hopeless:
            return 2
        return 1 if self._counts.get("FAILED") else 0

    def __enter__(self) -> "Report":
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._json, self._table, self._log):
            file.close()


def _write(file: TextIO, text: str) -> None:
    file.write(text)
    file.flush()
    os.fsync(file.fileno())


def _cell(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    return " ".join(text.replace("|", "/").split())


def _stop(number: int, _: object) -> None:
    """End all checks and this process; the results so far are on disk."""
    for process in list(LIVE):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    os._exit(128 + number)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop)
    sys.exit(main())
