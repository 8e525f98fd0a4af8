"""Odd lines through nmt-translate: one line out per line in, and the same bytes however it runs."""

import random
from pathlib import Path

import pytest

from tests.campaigns.odd_text import odd_lines
from tests.campaigns.processes import SUCCESS, Commands
from tests.campaigns.rounds import Tally

# Lines of the full round; of the variations, fewer, since a batch of one takes the most time.
LINES, SHORT_LINES = 100_000, 250
OPTIONS = ("-m", "run", "-b", "1", "--max-length", "6", "--scores")
VARIATIONS = [
    ("--batch-sentences", "1"),
    ("--batch-sentences", "7"),
    ("--batch-sentences", "64"),
    ("--workers", "2"),
    ("--workers", "2", "--batch-sentences", "7"),
]
HOURS = 3600.0 * 3
# Growth of resident memory from a tenth of the lines to all of them.
MAX_GROWTH = 1.25


@pytest.fixture(scope="module")
def lines(full: bool) -> list[str]:
    """The odd lines of the round."""
    return list(odd_lines(LINES if full else SHORT_LINES))


def _write(file: Path, lines: list[str]) -> Path:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    return file


def _translate(
    commands: Commands, shared: Path, text: Path, *options: str
) -> tuple[list[bytes], float]:
    out = text.with_suffix(".out")
    out.unlink(missing_ok=True)
    words = (*OPTIONS, text, "-o", out, "--threads", "1", *options)
    # Two workers are three processes of about 2 GiB of addresses each.
    ended = commands.run("nmt-translate", *words, cwd=shared, seconds=HOURS, megabytes=8000)
    assert ended.fault([SUCCESS]) is None, ended.fault([SUCCESS])
    data = out.read_bytes()
    assert data.endswith(b"\n")
    return data[:-1].split(b"\n"), ended.megabytes


@pytest.fixture(scope="module")
def expected(
    lines: list[str], shared: Path, commands: Commands, tmp_path_factory: pytest.TempPathFactory
) -> list[bytes]:
    """The translations of all lines by one process."""
    folder = tmp_path_factory.mktemp("odd")
    found, megabytes = _translate(commands, shared, _write(folder / "all.text", lines))
    assert len(found) == len(lines)
    if len(lines) == LINES:
        part = _write(folder / "part.text", lines[: LINES // 10])
        _, least = _translate(commands, shared, part)
        print(f"resident memory: {least:.0f} MiB after a tenth, {megabytes:.0f} MiB after all")
        assert megabytes < MAX_GROWTH * least, f"{megabytes:.0f} MiB, {least:.0f} MiB after a tenth"
    return found


def test_every_odd_line_gives_one_line(
    lines: list[str], expected: list[bytes], tally: Tally
) -> None:
    for line, translation in zip(lines, expected, strict=True):
        text = translation.decode().partition("\t")[0]
        tally.add(f"text from spaces: {line!r}" if text and not line.strip() else None)
    tally.check()


@pytest.mark.parametrize("options", VARIATIONS, ids=" ".join)
def test_odd_lines_have_the_same_bytes_in_other_batches_and_processes(
    options: tuple[str, ...],
    lines: list[str],
    expected: list[bytes],
    shared: Path,
    commands: Commands,
    tmp_path: Path,
    tally: Tally,
) -> None:
    if len(lines) < LINES and options != ("--batch-sentences", "7"):
        pytest.skip("full round only")
    found, _ = _translate(commands, shared, _write(tmp_path / "all.text", lines), *options)
    _compare(lines, found, expected, tally)


def test_shuffled_odd_lines_have_the_same_bytes(
    lines: list[str],
    expected: list[bytes],
    shared: Path,
    commands: Commands,
    tmp_path: Path,
    tally: Tally,
) -> None:
    order = list(range(len(lines)))
    random.Random(1).shuffle(order)
    text = _write(tmp_path / "all.text", [lines[n] for n in order])
    found, _ = _translate(commands, shared, text)
    _compare([lines[n] for n in order], found, [expected[n] for n in order], tally)


def _compare(lines: list[str], found: list[bytes], expected: list[bytes], tally: Tally) -> None:
    assert len(found) == len(lines)
    for line, one, other in zip(lines, found, expected, strict=True):
        tally.add(None if one == other else f"{line!r}: {one!r} and not {other!r}")
    tally.check()
