"""Fuzzing of a reader: guided by coverage if atheris is installed, else by plain mutation.

    pip install atheris
    python -m tests.campaigns.fuzz_yaml --seconds 600

Every input either is read or raises UserError. A finding is saved to a file; once it is mended, it
belongs in `findings/`, whose files a test reads.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

Check: TypeAlias = Callable[[bytes], None]
"""Reads an input; raises whatever the reader raises, except UserError."""

FINDINGS = Path(__file__).parent / "findings"
PIECES = (
    b"\0",
    b"\xff",
    b"\n",
    b"\r\n",
    b"\t",
    b'"',
    b"{",
    b"}",
    b"[",
    b":",
    b"9" * 20,
    b"-1",
    b"1e999",
)
TIMEOUT_SECONDS, MEMORY_MEGABYTES = 20, 4000


def mutate(data: bytes, chosen: random.Random) -> bytes:
    """Return a random change of an input."""
    changed = bytearray(data)
    for _ in range(chosen.choice((1, 1, 2, 4))):
        at = chosen.randrange(len(changed) + 1)
        kind = chosen.randrange(5)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << chosen.randrange(8)
        elif kind == 1:
            changed[at:at] = chosen.choice(PIECES)
        elif kind == 2:
            del changed[at : at + chosen.randrange(1, 16)]
        elif kind == 3:
            start = chosen.randrange(len(changed) + 1)
            changed[at:at] = changed[start : start + chosen.randrange(1, 32)]
        elif at < len(changed):
            changed[at] = chosen.randrange(256)
    return bytes(changed)


def mutation_round(check: Check, seeds: Sequence[bytes], count: int, seed: int) -> int:
    """Check inputs that are mutations of seeds; return their number."""
    chosen = random.Random(seed)
    for _ in range(count):
        data = mutate(chosen.choice(seeds), chosen)
        try:
            check(data)
        except BaseException as error:
            _save(data)
            raise AssertionError(f"{type(error).__name__} for {data[:2000]!r}") from error
    return count


def main(load: Callable[[], Check], seeds: Sequence[bytes]) -> None:
    """Fuzz a reader for the seconds of the command line.

    Args:
        load: imports the reader, and returns the function that reads an input
        seeds: valid inputs
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="duration (default: 600)")
    seconds = parser.parse_args().seconds
    try:
        import atheris
    except ImportError:
        _mutate_for(load(), seeds, seconds)
        return
    with tempfile.TemporaryDirectory() as corpus:
        for number, data in enumerate(seeds):
            (Path(corpus) / f"seed{number}").write_bytes(data)
        # Their branches guide the search; torch would be too large.
        with atheris.instrument_imports(include=["nmt", "yaml"]):
            check = load()
        limits = [f"-max_total_time={seconds}", f"-timeout={TIMEOUT_SECONDS}"]
        limits += [f"-rss_limit_mb={MEMORY_MEGABYTES}", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *limits, corpus], check)
        atheris.Fuzz()


def main_with_run(load: Callable[[Path], Check], seeds: Callable[[Path], Sequence[bytes]]) -> None:
    """Train the small run of the campaigns, and fuzz a reader of runs as `main` does.

    Args:
        load: receives the run; imports the reader, and returns the function that reads an input
        seeds: receives the run; returns valid inputs
    """
    from tests.campaigns.processes import Commands
    from tests.campaigns.runs import make_runs

    folder = Path(tempfile.mkdtemp())
    commands = Commands(folder)
    make_runs(folder, commands)
    commands.close()
    main(lambda: load(folder / "run"), seeds(folder / "run"))


def _mutate_for(check: Check, seeds: Sequence[bytes], seconds: int) -> None:
    start, done = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        done += mutation_round(check, seeds, 100, seed=done)
    print(f"{done} inputs, no finding")


def _save(data: bytes) -> None:
    file = Path(tempfile.gettempdir()) / "finding"
    file.write_bytes(data)
    print(f"saved to {file}", file=sys.stderr)
