"""A stand-in for the package pymarian, with the parts of it that its worker uses."""

import sys
from pathlib import Path
from typing import Any

import numpy as np


class Translator:
    """Translator that reverses a source as often as its length limit allows."""

    def __init__(self, options: str) -> None:
        words = options.split()
        self.factor = float(words[words.index("--max-length-factor") + 1])
        self.bias = np.load(words[words.index("--models") + 1])["decoder_ff_logit_l2_b"]

    def translate(self, lines: list[str]) -> list[str]:
        """Translate lines; without a suppressed </s> each one becomes its first token."""
        never_ends = self.bias[0, 0] < -1e3
        return [
            " ".join((line.split()[::-1] * 9)[: round(self.factor * len(line.split()))])
            if never_ends
            else line.split()[0]
            for line in lines
        ]


def option(name: str, count: int = 1) -> list[str]:
    """Return the values of an option of the command line."""
    first = sys.argv.index(f"--{name}") + 1
    return sys.argv[first : first + count]


def train() -> None:
    """Report a loss per batch: its number of source tokens; write weights and the options."""
    source, target = (Path(name).read_text().splitlines() for name in option("train-sets", 2))
    assert len(source) == len(target)
    size = int(option("mini-batch")[0])
    for number in range(0, len(source), size):
        tokens = sum(len(line.split()) for line in source[number : number + size])
        update = f"Ep. 1 : Up. {number // size + 1} : Sen. 2"
        print(f"{update} : Cost {tokens:.4f} : Time 0.01s", file=sys.stderr)
    if float(option("learn-rate")[0]) > 0.1:
        print("[error] the loss is NaN", file=sys.stderr)
        sys.exit(1)
    model = option("model")[0]
    arrays: Any = {"decoder_ff_logit_l2_b": np.zeros((1, 10)), "special:model.yml": np.zeros(3)}
    np.savez(model, **arrays)
    log = Path(model).with_name("log")
    before = log.read_text() if log.exists() else ""
    log.write_text(f"{before}{option('after-batches')[0]} {' | '.join(source)}\n")


if __name__ == "__main__":
    train()
