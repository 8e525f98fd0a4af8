"""Fixtures of the campaigns, and the table of their counts."""

import fcntl
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.campaigns import rounds
from tests.campaigns.processes import Commands
from tests.campaigns.rounds import CASES, FAILURES, Tally
from tests.campaigns.runs import make_runs

HERE = Path(__file__).parent


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize the tests of this directory by the cases of the round."""
    rounds.select(metafunc)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this directory."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("campaign")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the number of cases per test: tried, passed, failed."""
    tried, failed = Counter[str](), Counter[str]()
    for outcome in ("passed", "failed", "error", "xfailed"):
        for report in terminalreporter.getreports(outcome):
            if "tests/campaigns/" not in report.nodeid:
                continue
            name = report.nodeid.removeprefix("tests/campaigns/").partition("[")[0]
            counts = dict(report.user_properties)
            tried[name] += counts.get(CASES, 1)
            failed[name] += 0 if outcome == "passed" else counts.get(FAILURES, 1)
    if not tried:
        return
    width = max(map(len, tried))
    terminalreporter.section("campaign")
    terminalreporter.write_line(f"{'':{width}} {'tried':>7} {'passed':>7} {'failed':>7}")
    for name in sorted(tried):
        row = (tried[name], tried[name] - failed[name], failed[name])
        terminalreporter.write_line(f"{name:{width}} " + " ".join(f"{n:7,}" for n in row))
    total = (tried.total(), tried.total() - failed.total(), failed.total())
    terminalreporter.write_line(f"{'total':{width}} " + " ".join(f"{n:7,}" for n in total))


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Tally:
    """Counter of the cases of a test that has many."""
    return Tally(record_property)


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether this is the full round."""
    return bool(pytestconfig.getoption("campaign") == "full")


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """A server of commands."""
    server = Commands(tmp_path_factory.mktemp("streams"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, commands: Commands) -> Path:
    """The directory of `make_runs`, made once for all worker processes; not to be changed."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "campaign-runs"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            folder.mkdir()
            make_runs(folder, commands)
            (folder / "complete").touch()
    return folder
