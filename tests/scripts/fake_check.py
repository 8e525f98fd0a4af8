"""A check of a device that fails: `python fake_check.py WAY` behaves as WAY says."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from gpu_checks.results import Case, Result, measured, write_results


def first() -> Iterator[Result]:
    yield measured("first", 1.0, "s")


def raises() -> Iterator[Result]:
    yield from first()
    raise RuntimeError("CUDA error: an illegal memory access\nwas encountered")


def runs_out_of_memory() -> Iterator[Result]:
    yield from first()
    resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))
    bytearray(1 << 30)


def hangs() -> Iterator[Result]:
    yield from first()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("capturing a graph", file=sys.stderr, flush=True)
    time.sleep(60)


def is_killed() -> Iterator[Result]:
    yield from first()
    os.kill(os.getpid(), signal.SIGKILL)


def loses_results() -> Iterator[Result]:
    yield from first()
    os.write(1, b'{"case": "second", "verdict": "pas')
    os._exit(0)


def ends_early() -> Iterator[Result]:
    yield from first()
    os._exit(0)


def leaves_a_process() -> Iterator[Result]:
    yield from first()
    # It inherits the pipes, and would keep them open.
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(f"process {process.pid}", file=sys.stderr, flush=True)
    os._exit(7)


def prints_without_end() -> Iterator[Result]:
    yield from first()
    while True:
        print("warning", file=sys.stderr)


def hangs_at_exit() -> Iterator[Result]:
    import atexit

    atexit.register(time.sleep, 60)
    yield from first()


if __name__ == "__main__":
    write_results([Case("own", globals()[sys.argv[1]]), Case("next", first)], sys.stdout)
