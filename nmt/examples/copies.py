"""Copy task of Graves et al. 2014, section 4.1: lines of random letters.

    gabbhc  ->  gabbhc

Letters are drawn uniformly from a to h. Lines of `train` and `valid` have 1 to 20 letters with
uniform probability; those of `test_20`, `test_40` and `test_60` have exactly that many, so the last
two require generalization beyond the training lengths. Short lines repeat: only 8 have one letter.
Lines of 20 letters almost never repeat: 10^18 exist.

Each part is written as `.text` and `.copy`, which are equal. The same seed gives the same files.
"""

import random
from collections.abc import Mapping
from pathlib import Path

from nmt.examples.sizes import check_sizes

SIZES = {"train": 100_000, "valid": 500, "test": 200}
LETTERS = "abcdefgh"
MAX_LETTERS = 20  # of a training line
TESTS = (20, 40, 60)


def line(random_state: random.Random, length: int) -> str:
    """Draw a line of `length` random letters."""
    return "".join(random_state.choices(LETTERS, k=length))


def write_part(folder: Path, name: str, lines: list[str]) -> None:
    """Write lines as `name.text` and `name.copy`."""
    for suffix in ("text", "copy"):
        text = "".join(f"{one}\n" for one in lines)
        (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8", newline="\n")


def write(folder: Path, sizes: Mapping[str, int] = SIZES, seed: int = 1) -> None:
    """Write all parts into an existing directory.

    Args:
        folder: the directory
        sizes: number of pairs of each of `SIZES`; every test part has that of `test`
        seed: random seed

    Raises:
        ValueError: if a size is negative
    """
    check_sizes(sizes)
    random_state = random.Random(seed)
    for name in ("train", "valid"):
        lengths = [random_state.randint(1, MAX_LETTERS) for _ in range(sizes[name])]
        write_part(folder, name, [line(random_state, length) for length in lengths])
    for length in TESTS:
        lines = [line(random_state, length) for _ in range(sizes["test"])]
        write_part(folder, f"test_{length}", lines)
