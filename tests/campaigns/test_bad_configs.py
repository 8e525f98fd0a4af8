"""Invalid experiment files: one line per mistake, with file and line, and no other exception."""

import random
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from nmt.config.loader import load_experiment
from nmt.errors import UserError, UserErrors
from tests.campaigns.bad_configs import ODD_VALUES, keys, mutations, with_value
from tests.campaigns.processes import LONGEST_LINE, ROOT, SUCCESS, USER_ERROR, Commands
from tests.campaigns.rounds import Tally, each
from tests.campaigns.runs import copy_inputs
from tests.commands import tree_of

SECONDS, MORE_BYTES = 20, 1 << 30
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
MUTATIONS = 40
# Options that extreme values make large, long or unusual, of those that pass the validator.
CHECKED = ["2", "1000000000", "1e-300", "1e300", "null", "[]", "{}", "''", "auto"]


@contextmanager
def limits() -> Iterator[None]:
    """Raise TimeoutError after some seconds, and MemoryError where memory is taken endlessly."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, stop)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MORE_BYTES, memory[1]))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, memory)
        signal.signal(signal.SIGALRM, previous)


def fault_of(file: Path) -> str | None:
    """Load a file; return a description of what is wrong with the way in which it is refused."""
    try:
        with limits():
            load_experiment(file)
    except UserErrors as errors:
        return next(filter(None, map(_fault_of_error, errors.errors)), None)
    except UserError as error:
        return _fault_of_error(error)
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return None


def _fault_of_error(error: UserError) -> str | None:
    if not error.location:
        return f"an error without location: {error.lines[0][:200]}"
    if any("\n" in line or len(line) > LONGEST_LINE for line in error.lines):
        return f"an error of several lines, or a very long one: {error.lines[0][:200]}"
    if not error.message.strip():
        return "an error without message"
    return None


def _checked(count: int) -> list[tuple[str, tuple[tuple[str, ...], str]]]:
    """Return a random choice of keys with values, of which many pass the validator."""
    cases = [(key, value) for key in keys() if key for value in CHECKED]
    chosen = random.Random(1).sample(cases, count)
    return [(f"{'.'.join(key)}={value}", (key, value)) for key, value in chosen]


@each([(".".join(key) or "file", key) for key in keys()], short=3)
def test_odd_value_is_accepted_or_refused_by_location(
    case: tuple[str, ...], tmp_path: Path, tally: Tally
) -> None:
    file = tmp_path / "odd.yaml"
    for value in ODD_VALUES:
        file.write_text(with_value(case, value), encoding="utf-8", errors="surrogatepass")
        fault = fault_of(file)
        tally.add(fault and f"{'.'.join(case)}: {value[:40]}: {fault}")
    tally.check()


@each([(file.stem, file) for file in CONFIGS], short=2)
def test_mutated_config_is_accepted_or_refused_by_location(
    case: Path, tmp_path: Path, tally: Tally
) -> None:
    text = case.read_text(encoding="utf-8")
    file = tmp_path / case.name
    for number, mutated in enumerate(mutations(text, seed=len(text), count=MUTATIONS)):
        # Next to the files that the config includes.
        mutated = mutated.replace("include: ", f"include: {case.parent}/")
        file.write_text(mutated, encoding="utf-8")
        fault = fault_of(file)
        tally.add(fault and f"mutation {number}: {fault}")
    tally.check()


@each([(file.stem, file) for file in CONFIGS], short=1)
def test_unknown_key_is_refused_by_name(case: Path, tmp_path: Path, tally: Tally) -> None:
    lines = case.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines):
        name, colon, _ = line.partition(":")
        if not colon or not name.strip().isidentifier() or name.strip() == "include":
            continue
        file = tmp_path / case.name
        changed = [*lines[:number], line.replace(name, name + "zz", 1), *lines[number + 1 :]]
        text = "".join(changed).replace("include: ", f"include: {case.parent}/")
        file.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=f"{name.strip()}zz") as raised:
            load_experiment(file)
        tally.add(None if f"{file}:{number + 1}" in str(raised.value) else str(raised.value))
    tally.check()


@each(_checked(300), short=2)
def test_check_of_accepted_value_ends_and_writes_nothing(
    case: tuple[tuple[str, ...], str], shared: Path, commands: Commands, tmp_path: Path
) -> None:
    copy_inputs(shared, tmp_path)
    (tmp_path / "odd.yaml").write_text(with_value(*case), encoding="utf-8")
    before = tree_of(tmp_path)
    ended = commands.run("nmt-train", "odd.yaml", "--check", cwd=tmp_path, megabytes=8000)
    assert ended.fault((SUCCESS, USER_ERROR)) is None, ended.fault()
    assert tree_of(tmp_path) == before
