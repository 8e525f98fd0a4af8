"""Fuzzing of the reader of runs: weights, state, checksums and configuration of a checkpoint."""

import shutil
import tempfile
from pathlib import Path

from tests.campaigns import fuzzing

FILES = ("model.safetensors", "state.json", "SHA256SUMS", "training.safetensors")


def seeds(run: Path) -> list[bytes]:
    """Return the files of a checkpoint; the first byte selects the file and the checksums."""
    checkpoint = run / "checkpoints" / "16"
    found = []
    for number, name in enumerate(FILES):
        data = (checkpoint / name).read_bytes()
        # With checksums that fit, as in a run that its author has made.
        found += [bytes([number + len(FILES) * fits]) + data for fits in (0, 1)]
    return found


def load(run: Path) -> fuzzing.Check:
    """Return the function that reads a copy of a run with one file replaced by an input."""
    from nmt.errors import UserError
    from nmt.inference.saved_model import load_saved_model
    from nmt.storage.checkpoint import read_training_tensors
    from nmt.storage.checksums import write_checksums
    from nmt.storage.run_dir import RunDir

    copy = Path(tempfile.mkdtemp()) / "run"
    shutil.copytree(run, copy, symlinks=True)
    for step in RunDir(copy).steps()[:-1]:
        shutil.rmtree(RunDir(copy).checkpoint(step))
    checkpoint = RunDir(copy).checkpoint(16)
    contents = {name: (checkpoint / name).read_bytes() for name in FILES}

    def check(data: bytes) -> None:
        for name, content in contents.items():
            (checkpoint / name).write_bytes(content)
        selected = data[0] if data else 0
        (checkpoint / FILES[selected % len(FILES)]).write_bytes(data[1:])
        if selected // len(FILES) % 2 and FILES[selected % len(FILES)] != "SHA256SUMS":
            write_checksums(checkpoint, [name for name in FILES if name != "SHA256SUMS"])
        for read in (load_saved_model, lambda _: read_training_tensors(checkpoint)):
            try:
                read(copy)
            except UserError as error:
                if not all(error.lines):
                    raise

    return check


if __name__ == "__main__":
    fuzzing.main_with_run(load, seeds)
