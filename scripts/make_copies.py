#!/usr/bin/env python3
"""Generate the copy task of Graves et al. 2014, section 4.1: lines of random letters.

    gabbhc  ->  gabbhc

Letters are drawn uniformly from a to h. Lines of `train` and `valid` have 1 to 20 letters with
uniform probability; those of `test_20`, `test_40` and `test_60` have exactly that many, so the last
two require generalization beyond the training lengths. Short lines repeat: only 8 have one letter.
Lines of 20 letters almost never repeat: 10^18 exist.

Each part is written as `.text` and `.copy`, which are equal. The same seed gives the same files.
"""

import argparse
import random
from pathlib import Path

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


def main(arguments: list[str] | None = None) -> None:
    """Generate all parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("data/copy"),
        help="directory to write (default: %(default)s)",
    )
    for name, size in (("train", 100_000), ("valid", 500), ("test", 200)):
        parser.add_argument(
            f"--{name}", type=int, default=size, help="pairs (default: %(default)s)"
        )
    parser.add_argument("--seed", type=int, default=1, help="random seed (default: %(default)s)")
    options = parser.parse_args(arguments)
    if min(options.train, options.valid, options.test) < 0:
        parser.error("sizes must be 0 or more")
    options.output.mkdir(parents=True, exist_ok=True)
    random_state = random.Random(options.seed)
    for name, size in (("train", options.train), ("valid", options.valid)):
        lengths = [random_state.randint(1, MAX_LETTERS) for _ in range(size)]
        write_part(options.output, name, [line(random_state, length) for length in lengths])
    for length in TESTS:
        lines = [line(random_state, length) for _ in range(options.test)]
        write_part(options.output, f"test_{length}", lines)


if __name__ == "__main__":
    main()
