r"""Align the words of a text by eflomal, as a reference for a text without an alignment by hand.

    pip install eflomal
    python scripts/align_words.py data/multi30k/train data/multi30k/val --source de --target en \
        --output data/multi30k/val.links

All texts are aligned together, in both directions, and the links of the last one are written. Those
that both directions have are sure, those of one direction are possible (`0?1`), as Och and Ney 2003
combine the links of two annotators. For the aligner words are lower-cased and lose the punctuation
around them, so that rare words are fewer; the links refer to the words of the files.
"""

import argparse
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from experiments import Pair
from nmt.data.corpus import find_corpus
from nmt.data.pharaoh import SentenceLinks, read_pharaoh

MODEL = "3"  # the most accurate of eflomal: HMM with fertilities


def normalize(line: str) -> str:
    """Return a line for the aligner, with the same number of words."""
    words = ((word, re.sub(r"^\W+|\W+$", "", word.lower())) for word in line.split())
    return " ".join(bare or word for word, bare in words)


def combine(forward: SentenceLinks, reverse: SentenceLinks) -> str:
    """Return the links of both directions as a line, those of only one as possible."""
    both = forward.sure & reverse.sure
    return " ".join(
        f"{source}{'-' if (source, target) in both else '?'}{target}"
        for source, target in sorted(forward.sure | reverse.sure)
    )


def align(pairs: Sequence[Pair]) -> list[str]:
    """Return a line of links per pair."""
    with tempfile.TemporaryDirectory() as folder:
        source, target, forward, reverse = (
            Path(folder, name) for name in ("source", "target", "forward", "reverse")
        )
        for side, file in enumerate((source, target)):
            lines = "".join(f"{normalize(pair[side])}\n" for pair in pairs)
            file.write_text(lines, encoding="utf-8", newline="\n")
        command: list[str | Path] = ["eflomal-align", "-m", MODEL, "-s", source, "-t", target]
        subprocess.run([*command, "-f", forward, "-r", reverse], check=True)
        return list(map(combine, read_pharaoh(forward), read_pharaoh(reverse)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Align the texts, and write the links of the last one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("texts", type=Path, nargs="+", metavar="text", help="prefixes of the files to read")
    add("--source", required=True, help="suffix of the source files")
    add("--target", required=True, help="suffix of the target files")
    add("--output", type=Path, required=True, help="Pharaoh file to write")
    options = parser.parse_args(arguments)
    corpora = [
        list(find_corpus(text, options.source, options.target).pairs()) for text in options.texts
    ]
    links = align([pair for corpus in corpora for pair in corpus])
    lines = "".join(f"{line}\n" for line in links[-len(corpora[-1]) :])
    options.output.write_text(lines, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
