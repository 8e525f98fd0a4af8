"""Too little memory: one line that says what to lower, and a run that continues with more."""

import re
import shutil
from pathlib import Path

from tests.campaigns.processes import SUCCESS, USER_ERROR, Commands, Ended
from tests.campaigns.rounds import Tally
from tests.campaigns.runs import copy_inputs, difference, train

# A model that needs about 300 MB besides the program itself.
LARGE = (
    "model.embedding_size=256",
    "model.encoder.hidden_size=256",
    "model.decoder.hidden_size=256",
    "training.batch_sentences=100",
    "training.steps=2",
)
MEGABYTES = [2, 4, 10, 16, 24, 32, *range(48, 480, 16)]
TRANSLATION_MEGABYTES = [2, 4, 8, 16, 32, *range(64, 513, 16)]
SHORT_STRIDE = 14


def _fault(ended: Ended) -> str | None:
    if (fault := ended.fault([SUCCESS, USER_ERROR])) is not None:
        return fault
    if ended.code == USER_ERROR and not re.search(
        "memory([;:]| for a batch) ", "".join(ended.complaints)
    ):
        return f"not about memory: {ended.complaints}"
    return None


def test_training_without_memory_is_one_line_and_continues_with_more(
    shared: Path, commands: Commands, tmp_path: Path, full: bool, tally: Tally
) -> None:
    copy_inputs(shared, tmp_path)
    codes = set()
    for megabytes in MEGABYTES if full else MEGABYTES[1::SHORT_STRIDE]:
        ended = train(tmp_path, commands, "run", LARGE, free_megabytes=megabytes)
        fault = _fault(ended)
        tally.add(fault and f"{megabytes} MB: {fault}")
        codes.add(ended.code)
    tally.check()
    assert USER_ERROR in codes
    for run in ("run", "expected"):
        ended = train(tmp_path, commands, run, LARGE)
        assert ended.code == SUCCESS, ended.err
    assert (different := difference(tmp_path / "run", tmp_path / "expected")) is None, different


def test_check_without_memory_is_one_line(
    shared: Path, commands: Commands, tmp_path: Path, full: bool, tally: Tally
) -> None:
    copy_inputs(shared, tmp_path)
    for megabytes in MEGABYTES if full else MEGABYTES[2::SHORT_STRIDE]:
        words = ("dates.yaml", *LARGE, "--check")
        ended = commands.run("nmt-train", *words, cwd=tmp_path, free_megabytes=megabytes)
        fault = _fault(ended)
        tally.add(fault and f"{megabytes} MB: {fault}")
    tally.check()


def test_translation_without_memory_is_one_line(
    shared: Path, commands: Commands, tmp_path: Path, full: bool, tally: Tally
) -> None:
    text = tmp_path / "text"
    shutil.copy(shared / "data" / "train.text", text)
    words = ("-m", "run", text, "-b", 20, "--batch-sentences", 400)
    codes = set()
    for megabytes in TRANSLATION_MEGABYTES if full else TRANSLATION_MEGABYTES[1::SHORT_STRIDE]:
        ended = commands.run("nmt-translate", *words, cwd=shared, free_megabytes=megabytes)
        fault = _fault(ended)
        tally.add(fault and f"{megabytes} MB: {fault}")
        codes.add(ended.code)
    tally.check()
    assert USER_ERROR in codes
