"""Fuzzing of the reader of parallel text: tab-separated pairs and two files, plain and packed."""

import gzip
import tempfile
from pathlib import Path

from tests.campaigns import fuzzing

# The first byte selects the form of the files.
NAMES = (("c.tsv",), ("c.tsv.gz",), ("c.a", "c.b"), ("c.a.gz", "c.b.gz"))
PAIRS = b"ein Satz\ta sentence\nzwei\ttwo\n\t\n" + "\ud55c\tkorean\r\n".encode()
SEEDS = [
    b"\0" + PAIRS,
    b"\1" + gzip.compress(PAIRS),
    b"\2" + PAIRS,
    b"\3" + gzip.compress(PAIRS),
    b"\0source\ttarget\n" + PAIRS,
    b'\0"a ""quoted"" text"\tb\n' + PAIRS,
    b"\0\xef\xbb\xbf" + PAIRS,
]


def load() -> fuzzing.Check:
    """Return the function that reads an input as a corpus."""
    from nmt.data.corpus import find_corpus
    from nmt.errors import UserError

    folder = Path(tempfile.mkdtemp())

    def check(data: bytes) -> None:
        names = NAMES[data[0] % len(NAMES)] if data else NAMES[0]
        for old in folder.iterdir():
            old.unlink()
        for name in names:
            (folder / name).write_bytes(data[1:])
        spec = folder / names[0] if len(names) == 1 else folder / "c"
        try:
            pairs = list(find_corpus(spec, "a", "b").pairs())
        except UserError as error:
            if not all(error.lines):
                raise
            return
        assert not any("\n" in text for pair in pairs for text in pair)

    return check


if __name__ == "__main__":
    fuzzing.main(load, SEEDS)
