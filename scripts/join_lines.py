r"""Build long lines from short ones: join 2, 3, ..., N neighboring pairs of a text into one pair.

    python scripts/join_lines.py data/multi30k/train --source de --target en --join 4 \
        --output data/multi30k-joined/train

Each pair occurs in one line of 2 pairs, in one of 3, and so on; a remainder that is too short is
left out. Single pairs are not written, because the text contains them, except with --single.

A text of joined lines shows whether a system can store the content of several sentences and
reproduce it in order (Bahdanau et al. 2014, figure 2; Luong et al. 2015, figure 6). Its limits:

- It does not test long-range syntax: the sentences are unrelated, and a system with attention may
  translate them one by one.
- A system that was trained on single captions ends after the first full stop, regardless of its
  capacity. Joined lines must therefore be in the training text too, built from its own pairs, as in
  `configs/lengths_*.yaml`. Then the experiment compares capacity, not training data.
- A pair occurs in the joined text once per size, so lengths are not independent.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments import Pair
from nmt.data.corpus import find_corpus


def join(pairs: Sequence[Pair], size: int) -> list[Pair]:
    """Join groups of `size` neighboring pairs, with spaces between the sentences."""
    starts = range(0, len(pairs) - size + 1, size)
    groups = [pairs[start : start + size] for start in starts]
    return [
        (" ".join(source for source, _ in group), " ".join(target for _, target in group))
        for group in groups
    ]


def join_up_to(pairs: Sequence[Pair], largest: int) -> list[Pair]:
    """Join groups of 2 neighboring pairs, then of 3, up to `largest`."""
    return [joined for size in range(2, largest + 1) for joined in join(pairs, size)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the text and write the joined lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("text", type=Path, help="prefix of the files to read")
    add("--source", required=True, help="suffix of the source file")
    add("--target", required=True, help="suffix of the target file")
    add("--join", type=int, default=4, metavar="N", help="largest group (default: %(default)s)")
    add("--single", action="store_true", help="begin with the single pairs (default: off)")
    add("--output", type=Path, required=True, help="prefix of the files to write")
    options = parser.parse_args(arguments)
    pairs = list(find_corpus(options.text, options.source, options.target).pairs())
    joined = (pairs if options.single else []) + join_up_to(pairs, options.join)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for column, suffix in enumerate((options.source, options.target)):
        lines = "".join(f"{pair[column]}\n" for pair in joined)
        file = options.output.with_name(f"{options.output.name}.{suffix}")
        file.write_text(lines, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
