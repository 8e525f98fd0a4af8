#!/usr/bin/env python3
"""Makes the copy task of Graves et al. 2014, section 4.1: a line of random letters, and the same.

    gabbhc  ->  gabbhc

Letters are drawn evenly from a to h. Lines of `train` and `valid` have 1 to 20 letters, each length
as likely as another; those of `test_20`, `test_40` and `test_60` have just as many as the name
says, so that the last two ask for what no training line shows. Short lines repeat: there are 8 of
one letter. One of 20 letters hardly ever does: there are 10^18.

Each part is written as `.text` and `.copy`, which are equal. The same seed gives the same files.
"""

import argparse
import random
from pathlib import Path

LETTERS = "abcdefgh"
LONGEST = 20
"""Letters of a training line at most."""
TESTS = (20, 40, 60)


def line(random_state: random.Random, length: int) -> str:
    """So many random letters."""
    return "".join(random_state.choices(LETTERS, k=length))


def write_part(folder: Path, name: str, lines: list[str]) -> None:
    """Write lines as `name.text` and `name.copy`."""
    for suffix in ("text", "copy"):
        text = "".join(f"{one}\n" for one in lines)
        (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8", newline="\n")


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("data/copy"), help="folder to write")
    for name, size in (("train", 100_000), ("valid", 500), ("test", 200)):
        parser.add_argument(f"--{name}", type=int, default=size, help=f"pairs (default {size})")
    parser.add_argument("--seed", type=int, default=1, help="of the random choices (default 1)")
    options = parser.parse_args(arguments)
    if min(options.train, options.valid, options.test) < 0:
        parser.error("sizes must be 0 or more")
    options.output.mkdir(parents=True, exist_ok=True)
    random_state = random.Random(options.seed)
    for name, size in (("train", options.train), ("valid", options.valid)):
        lengths = [random_state.randint(1, LONGEST) for _ in range(size)]
        write_part(options.output, name, [line(random_state, length) for length in lengths])
    for length in TESTS:
        lines = [line(random_state, length) for _ in range(options.test)]
        write_part(options.output, f"test_{length}", lines)


if __name__ == "__main__":
    main()
