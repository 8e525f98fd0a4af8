"""Symmetrization of word alignments by hand, by its definition, and as a process."""

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from symmetrize import grow_diag_final_and, main

SCRIPT = Path(__file__).parents[2] / "scripts" / "symmetrize.py"
Links = set[tuple[int, int]]


def _has_words(links: Links, source: int, target: int) -> tuple[bool, bool]:
    return any(s == source for s, _ in links), any(t == target for _, t in links)


def _touches(links: Links, source: int, target: int) -> bool:
    return any(max(abs(s - source), abs(t - target)) == 1 for s, t in links)


@pytest.mark.parametrize(
    ("forward", "reverse", "expected"),
    [
        # 1-1 touches 0-0, diagonally; 1-2 touches 1-1, but both of its words have links then only
        # if 2 is linked.
        ({(0, 0), (1, 1)}, {(0, 0), (1, 2)}, [(0, 0), (1, 1), (1, 2)]),
        # 3-3 touches nothing and has two free words; 0-3 has none left.
        ({(0, 0), (3, 3)}, {(0, 0), (0, 3)}, [(0, 0), (3, 3)]),
        # 1-0 has a free word and touches 0-0; 2-0 touches 1-0.
        ({(0, 0), (1, 0), (2, 0)}, {(0, 0)}, [(0, 0), (1, 0), (2, 0)]),
        # 0-2 has a free word and touches nothing.
        ({(0, 0)}, {(0, 0), (0, 2)}, [(0, 0)]),
        (set(), set(), []),
    ],
)
def test_links_grow_from_those_of_both_directions(
    forward: Links, reverse: Links, expected: list[tuple[int, int]]
) -> None:
    assert grow_diag_final_and(forward, reverse) == expected


def test_no_link_is_missing_and_none_is_added_without_a_reason() -> None:
    random = Random(1)
    for _ in range(200):
        forward, reverse = (
            {(random.randrange(6), random.randrange(6)) for _ in range(random.randrange(9))}
            for _ in range(2)
        )
        found = set(grow_diag_final_and(forward, reverse))
        both, union = forward & reverse, forward | reverse
        assert both <= found <= union
        for link in found - both:
            assert _touches(found, *link) or not any(_has_words(found - {link}, *link))
        for link in union - found:
            has_words = _has_words(found, *link)
            assert any(has_words)
            # Links that were added in the end do not grow.
            assert all(has_words) or not _touches(both, *link)


def test_files_of_two_models_are_combined(tmp_path: Path) -> None:
    forward, reverse, output = (tmp_path / name for name in ("forward", "reverse", "output"))
    forward.write_text("0-0 1-2\n\n")
    reverse.write_text("0-0 2-1\n1-0\n")
    files = [str(file) for file in (forward, reverse)]
    command = [sys.executable, str(SCRIPT), *files, "--swap", "--output", str(output)]
    subprocess.run(command, check=True)
    assert output.read_text() == "0-0 1-2\n0-1\n"
    reverse.write_text("0-0\n")
    with pytest.raises(SystemExit):
        main([*files, "--output", str(output)])
