"""Fuzzing of the reader of experiment files."""

import tempfile
from pathlib import Path

import yaml

from tests.campaigns import fuzzing
from tests.campaigns.runs import EXPERIMENT

SEEDS = [
    yaml.safe_dump(EXPERIMENT).encode(),
    b"data: {train: a, valid: b, source: x, target: y}\ntraining: {steps: 1}\n",
    b"a: &a [1, 1e-3, .inf, 0x1f, 0o7, 2026-11-29, !!int '3', no, ~, true]\nb: *a\n",
    b"include: []\nplugins: []\nsearch: {length_penalty: {type: gnmt, alpha: 0.2}}\n",
    b"model:\n  encoder: bilstm\n  decoder:\n    type: luong\n    layers: 2\n  score: |\n    dot\n",
]


def load() -> fuzzing.Check:
    """Return the function that reads an input as an experiment file."""
    from nmt.config.loader import load_experiment
    from nmt.errors import UserError

    file = Path(tempfile.mkdtemp()) / "fuzz.yaml"

    def check(data: bytes) -> None:
        # Files that the input would name are the campaign's matter.
        if b"include" in data or b"plugins" in data:
            data = data.replace(b"include", b"exclude").replace(b"plugins", b"plugs")
        file.write_bytes(data)
        try:
            load_experiment(file)
        except UserError as error:
            if not all(error.lines):
                raise

    return check


if __name__ == "__main__":
    fuzzing.main(load, SEEDS)
