"""A new experiment from examined texts: their division, the settings, and the YAML file."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from os.path import relpath
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmt.config.loader import load_experiment
from nmt.config.presets import VALIDATIONS, Choice, Facts, choose, reduce_vocabulary, set_duration
from nmt.config.writing import write_yaml
from nmt.data.examination.faults import Mask, removal_reasons
from nmt.data.examination.report import Examination
from nmt.data.examination.split import MIN_PAIRS, TEST, VALID, divide, part_size
from nmt.data.examination.writing import NOWHERE, REMOVED, Copy, remove
from nmt.data.readers.pair_text import PairText, TwoFiles
from nmt.data.text import is_blank, read_lines
from nmt.device import has_fast_bf16, resolve_device
from nmt.errors import OptionError, UserError
from nmt.evaluation.baselines import MAX_LINES, MAX_PAIRS, Baseline, score_baselines
from nmt.files import exists
from nmt.storage.atomic import publish_dir, replace_file, staging_dir
from nmt.training.probe import Probe, probe

PARTS = ("train", "valid", "test")
# A longer training is no advice.
MAX_ADVISABLE_MINUTES = 24 * 60
UNKNOWN_LANGUAGES = ("source", "target")


@dataclass
class Texts:
    """Text files of an experiment.

    Attributes:
        suffixes: suffixes of source and target files
        prefixes: path of each part without the suffix of the language
        counts: pairs of each part
        removed: pairs that cleaning has removed
        folder: directory that was written; None if all texts stay in their place
    """

    suffixes: tuple[str, str]
    prefixes: dict[str, Path] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    removed: int = 0
    folder: Path | None = None

    def pairs(self, part: str, limit: int | None = None) -> list[tuple[str, str]]:
        """Read the pairs of a part whose sides both have text."""
        sides = (read_lines(Path(f"{self.prefixes[part]}.{one}")) for one in self.suffixes)
        pairs = islice(zip(*sides, strict=True), limit)
        return [(one, other) for one, other in pairs if not is_blank(one) and not is_blank(other)]


def name_languages(
    examined: Mapping[str, Examination[PairText]], given: tuple[str, str] | None
) -> tuple[str, str]:
    """Return the suffixes of source and target: given, of the file names, or identified."""
    if given is not None:
        return given
    train = examined["train"]
    found = [
        named or language.code
        for named, language in zip(train.text.languages, train.measured.languages, strict=True)
    ]
    source, target = (one or default for one, default in zip(found, UNKNOWN_LANGUAGES, strict=True))
    return UNKNOWN_LANGUAGES if source == target else (source, target)


def prepare_texts(
    examined: Mapping[str, Examination[PairText]],
    suffixes: tuple[str, str],
    folder: Path,
    *,
    clean: bool,
    seed: int,
) -> Texts:
    """Divide, clean and write the texts of an experiment, where that is necessary.

    Plain text files that are complete as they are stay in their place.

    Args:
        examined: the parts; validation and test are split off unless they are given
        suffixes: suffixes of the written files
        folder: directory to write to
        clean: remove faulty training pairs, and normalize text
        seed: selects the pairs of the parts

    Raises:
        UserError: if the text is too short, or the folder exists or cannot be written to
    """
    train = examined["train"]
    reasons = removal_reasons(train.faults, len(train.measured))
    rows = np.zeros(len(train.measured), np.int8)
    if "valid" not in examined:
        rows = _divide(train, reasons, seed, needs_test="test" not in examined)
    if clean:
        rows = remove(rows, reasons)
    texts = Texts(suffixes, removed=int((rows == NOWHERE).sum()))
    copies: list[Copy] = []
    for name, one in examined.items():
        if name == "train" and (clean or rows.any()):
            copies.append(Copy(one, rows, PARTS, reasons, normalize=clean))
        elif (prefix := _plain_prefix(one.text, suffixes)) is not None:
            texts.prefixes[name], texts.counts[name] = prefix, len(one.measured)
        else:
            copies.append(Copy(one, np.zeros(len(one.measured), np.int8), (name,), {}))
    if not copies:
        return texts
    texts.folder = folder
    if exists(folder):
        message = "already exists; remove it, or choose another output with -o"
        raise UserError(message, str(folder))
    with staging_dir(folder.parent, folder.name) as staging:
        for copy in copies:
            copy.write(staging, suffixes)
        publish_dir(staging, folder)
    for copy in copies:
        for name, count in copy.counts().items():
            texts.prefixes[name], texts.counts[name] = folder / name, count
    return texts


def _divide(
    train: Examination[PairText], reasons: Mapping[str, Mask], seed: int, *, needs_test: bool
) -> NDArray[np.int8]:
    usable = np.ones(len(train.measured), np.bool_)
    for mask in reasons.values():
        usable &= ~mask
    count = int(usable.sum())
    if count < MIN_PAIRS:
        message = f"has {count} usable pairs; at least {MIN_PAIRS} are needed for three parts"
        raise UserError(message, train.text.name)
    size = part_size(count)
    sizes = (size, size if needs_test else 0)
    parts = divide(train.measured.hashes, usable, sizes, seed).parts
    needed = (VALID, TEST) if needs_test else (VALID,)
    if not all((parts == part).any() for part in needed):
        message = "almost all pairs share sentences, so no part can be split off; give --valid"
        raise UserError(message, train.text.name)
    return parts


def _plain_prefix(text: PairText, suffixes: tuple[str, str]) -> Path | None:
    """Return the prefix of two text files that training can read as they are."""
    reader = text.readers[0]
    if len(text.readers) > 1 or not isinstance(reader, TwoFiles):
        return None
    prefixes = set()
    for file, suffix in zip(reader.files, suffixes, strict=True):
        if file.stem.suffix != f".{suffix}" or not file.path.is_file() or file.is_utf16():
            return None
        prefixes.add(file.stem.with_suffix(""))
    return prefixes.pop() if len(prefixes) == 1 else None


def collect_facts(
    examined: Mapping[str, Examination[PairText]], texts: Texts, device: str
) -> Facts:
    """Collect the facts about the training text and the machine that decide on the settings."""
    measured = examined["train"].measured
    source, target = (set(alphabet) for alphabet in measured.alphabets)
    scripts = [set(language.scripts) for language in measured.languages]
    has_gpu = resolve_device(device).type == "cuda"
    return Facts(
        pairs=texts.counts["train"],
        characters=(len(source), len(target)),
        joint_characters=len(source | target),
        shares_letters=not scripts[0].isdisjoint(scripts[1]) or not all(scripts),
        longest=int(np.percentile(measured.characters.max(axis=1), 99)),
        has_gpu=has_gpu,
        has_fast_bf16=not has_gpu and has_fast_bf16(),
    )


@contextmanager
def removed_on_error(texts: Texts, output: Path) -> Iterator[None]:
    """Remove the written texts and the unfinished experiment file if the body fails."""
    try:
        yield
    except BaseException:
        output.unlink(missing_ok=True)
        if texts.folder is not None:
            shutil.rmtree(texts.folder, ignore_errors=True)
        raise


class Plan(NamedTuple):
    """A chosen experiment.

    Attributes:
        choice: its settings
        speed: the measured updates
        minutes: expected duration of the training
    """

    choice: Choice
    speed: Probe
    minutes: float


def plan(
    facts: Facts,
    texts: Texts,
    output: Path,
    *,
    minutes: float | None,
    device: str,
    threads: int | None = None,
    seed: int = 1,
) -> Plan:
    """Choose the settings, and measure the speed of a training with them.

    Args:
        facts: facts about text and machine
        texts: the written texts
        output: path of the experiment file
        minutes: budget of the user; None for the advice of the presets
        device: auto, cpu or cuda
        threads: CPU threads; None for the default of training
        seed: seed of the training

    Raises:
        UserError: if the texts do not suit any settings
    """
    choice = choose(facts, minutes)
    data = choice.settings["data"]
    choice.settings["data"] = {
        **{part: _path_from(output.parent, texts.prefixes[part]) for part in ("train", "valid")},
        "source": texts.suffixes[0],
        "target": texts.suffixes[1],
        **data,
    }
    if threads is not None:
        choice.settings["training"]["threads"] = threads
    choice.settings["training"]["seed"] = seed
    set_duration(choice, 1000, 1.0, None)  # preliminary, for a valid file
    while True:
        replace_file(output, write_yaml(choice.settings, {}, "unfinished"))
        loaded = load_experiment(output)
        with loaded.located():
            try:
                speed = probe(loaded.experiment, pairs=facts.pairs, device=device)
                break
            except OptionError as error:
                is_size = error.location == "data.vocabulary.size"
                if not is_size or not reduce_vocabulary(choice):
                    raise
    epochs = choice.preset.epochs
    seconds = speed.seconds_per_epoch(VALIDATIONS / epochs)
    return Plan(choice, speed, set_duration(choice, speed.updates_per_epoch, seconds, minutes))


def baselines(texts: Texts) -> list[Baseline]:
    """Return the chrF of trivial translations of the test part; empty for long texts."""
    if texts.counts["train"] > MAX_PAIRS:
        return []
    part = "test" if "test" in texts.prefixes else "valid"
    sources, references = zip(*texts.pairs(part, MAX_LINES), strict=True)
    return score_baselines(texts.counts["train"], lambda: texts.pairs("train"), sources, references)


def describe(planned: Plan, texts: Texts, scores: Sequence[Baseline]) -> list[str]:
    """Return the summary of an experiment as sentences, for the YAML file and the terminal."""
    counts = ", ".join(f"{texts.counts[part]:,} {part}" for part in PARTS if part in texts.counts)
    removed = f"; {texts.removed:,} removed, see {REMOVED}" if texts.removed else ""
    lines = [
        f"{texts.suffixes[0]} to {texts.suffixes[1]}; pairs: {counts}{removed}.",
        f"{planned.choice.preset.name[0].upper()}{planned.choice.preset.name[1:]}, "
        f"{planned.speed.parameters / 1e6:.2f} M parameters.",
        f"Expected time of training: {_duration(planned.minutes)}, from {planned.speed.updates} "
        f"measured updates of {planned.speed.seconds_per_update:.2g} s.",
    ]
    if scores:
        part = "test" if "test" in texts.prefixes else "valid"
        shown = ", ".join(f"{name} {value:.1f}" for name, value in scores)
        lines.append(f"A useful model must exceed these chrF on {part}: {shown}.")
    else:
        lines.append(f"Trivial baselines are not scored: more than {MAX_PAIRS:,} pairs.")
    return lines


def finish(planned: Plan, texts: Texts, output: Path, summary: Sequence[str], command: str) -> None:
    """Write the experiment file with its reasons.

    Raises:
        UserError: if the file cannot be written
    """
    choice = planned.choice
    part = "test" if "test" in texts.prefixes else "valid"
    prefix = relpath(texts.prefixes[part])
    files = " ".join(f"{prefix}.{suffix}" for suffix in texts.suffixes)
    header = [*summary, f"Written by: {command}", "", f"  nmt-train {output}"]
    header.append(f"  nmt-eval -m runs/{output.stem} {files} --metrics chrf bleu")
    replace_file(output, write_yaml(choice.settings, choice.reasons, "\n".join(header)))
    load_experiment(output)  # a mistake in the presets must not reach the user


def _path_from(folder: Path, path: Path) -> str:
    """Return a path relative to a folder, or an absolute one if they have little in common."""
    relative = relpath(path, folder)
    return str(path.absolute()) if relative.startswith(os.path.join("..", "..", "..")) else relative


def _duration(minutes: float) -> str:
    if minutes < 90:
        return f"{max(1, ceil(minutes))} minutes"
    if minutes < MAX_ADVISABLE_MINUTES:
        return f"{minutes / 60:.1f} hours"
    return f"{minutes / 60:,.0f} hours (use a GPU, or a smaller experiment by --minutes)"
