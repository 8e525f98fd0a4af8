"""Everything that decides how a run continues, recorded in its checkpoints and compared later.

A checkpoint records the options that decide the weights, and checksums of the vocabularies and the
plugins. Limits and reports may change between two starts of a run, and files may move, as long as
their content is the same. Checkpoints of earlier versions record nothing and are not compared.
"""

import json
import logging
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nmt.config.loader import load_resolved
from nmt.config.schema import Experiment, VocabularyConfig
from nmt.config.validation import validate
from nmt.config.yaml_source import Key, leaves, read_yaml
from nmt.errors import UserError
from nmt.files import MAX_VOCABULARY_BYTES, read_regular
from nmt.storage.atomic import JsonObject, file_errors, is_regular
from nmt.storage.checkpoint import weights_checksum
from nmt.storage.checksums import sha256
from nmt.storage.run_checkpoints import find_checkpoint, newest_state
from nmt.storage.run_dir import RunDir

log = logging.getLogger("nmt")

# Limits, reports and the use of the machine, which decide the end of training, its output and its
# rounding errors, but nothing else about the weights.
FREE_OPTIONS = frozenset(
    {
        "training.epochs",
        "training.steps",
        "training.minutes",
        "training.early_stopping.patience",
        "training.log_every",
        "training.log_seconds",
        "training.report",
        "training.validate_every",
        "training.save_every",
        "training.keep",
        "training.at_end",
        "training.threads",
        "training.output_chunk",
        "evaluation.metrics",
        "evaluation.samples",
        "evaluation.pictures",
        "evaluation.alignments",
        "evaluation.alignments.gold",
        "evaluation.alignments.text",
    }
)
# Files that are compared by content.
FILE_OPTIONS = frozenset(
    {
        "data.train",
        "data.valid",
        "data.alignments",
        "data.cache",
        "data.vocabulary.model",
        "data.vocabulary.codes",
        "training.start_from",
        "training.start_from.run",
        "plugins",
    }
)

# Options that act before the first update only, with their defaults in earlier versions. A run of
# such a version continues, and its vocabulary keeps the rule.
FORMER_DEFAULTS = {"data.vocabulary.normalization.target": "nmt_nfkc"}

START_OVER = "use --restart to start over, or choose another --run"

Options = dict[str, Any]
"""Values of options by dotted key."""


def record_inputs(run: RunDir, experiment: Experiment) -> JsonObject:
    """Return the record of the options, vocabularies and plugins for a checkpoint."""
    return {
        "options": decisive_options(experiment),
        "vocabulary": vocabulary_checksums(run),
        "plugins": plugin_checksums(experiment),
    }


def decisive_options(experiment: Experiment) -> Options:
    """Return the options that decide the weights, by dotted key."""
    return {
        key: value
        for key, value in _flat(experiment.to_dict()).items()
        if key not in FREE_OPTIONS | FILE_OPTIONS
    }


def vocabulary_checksums(run: RunDir) -> dict[str, str]:
    """Return the SHA-256 of each vocabulary of a run, by file name."""
    return {file.name: _sha256(file) for file in run.vocabulary_files() if is_regular(file)}


def vocabulary_origins(run: RunDir) -> set[str]:
    """Return the SHA-256 of the files that the vocabularies of a run were made from."""
    origins: set[str] = set()
    for file in filter(is_regular, run.vocabulary_files()):
        if file.suffix == ".json":
            with suppress(ValueError, AttributeError, TypeError):  # reported when it is loaded
                content = json.loads(read_regular(file, max_bytes=MAX_VOCABULARY_BYTES))
                origins.update(content.get("files", []))
        else:
            origins.add(_sha256(file))
    return origins


def plugin_checksums(experiment: Experiment) -> dict[str, str]:
    """Return the SHA-256 of each plugin of an experiment, by file name."""
    return {file.name: _sha256(file) for file in experiment.plugins}


def check_unchanged(
    run: RunDir, recorded: JsonObject, experiment: Experiment, *, remedy: str
) -> None:
    """Compare the options and files of a run with those that a checkpoint recorded.

    Args:
        run: the run
        recorded: the record of `record_inputs`; empty for a checkpoint of an earlier version
        experiment: the experiment to compare
        remedy: what to do about a difference

    Raises:
        UserError: for the first difference
    """
    if not recorded:
        return
    if changes := _changed_options(recorded.get("options", {}), experiment):
        message = f"the config of this run has changed ({'; '.join(changes)})"
        raise UserError(f"{message}; undo the change, {remedy}", str(run.config))
    _compare_files(
        run.vocabulary, recorded.get("vocabulary", {}), vocabulary_checksums(run), remedy
    )
    plugins = plugin_checksums(experiment)
    parents = {file.name: file.parent for file in experiment.plugins}
    for name, checksum in recorded.get("plugins", {}).items():
        _compare_files(parents.get(name, run.path), {name: checksum}, plugins, remedy)


def check_continuation(
    run: RunDir, experiment: Experiment, fixed_options: Collection[str] = ()
) -> list[str]:
    """Check that a run continues with its own inputs, and return the permitted differences.

    Args:
        run: a run with a checkpoint
        experiment: the experiment of this start
        fixed_options: options that may not change in this run, although they may in others

    Raises:
        UserError: something that decides the weights has changed
    """
    recorded = recorded_inputs(newest_state(run))
    remedy = START_OVER
    check_unchanged(run, recorded, experiment, remedy=remedy)
    before = _options_of_run(run, experiment, is_recorded=bool(recorded))
    now = _flat(experiment.to_dict())
    if not recorded:
        before = _with_current_defaults(before, now)
    changes = _differences(before, now)
    free = FREE_OPTIONS - frozenset(fixed_options)
    if recorded:  # otherwise the paths are the only evidence
        moved = FILE_OPTIONS & changes.keys()
        free |= {key for key in moved if _same_content(run, key, recorded, experiment)}
    refused = [text for key, text in changes.items() if key not in free]
    if refused:
        message = f"the config of this run has changed ({'; '.join(refused)})"
        raise UserError(f"{message}; undo the change, {remedy}", str(run.config))
    return list(changes.values())


def metric_of_run(run: RunDir) -> str | list[str] | None:
    """Return the metric of the best checkpoint of a run; None without a checkpoint."""
    key = "training.early_stopping.metric"
    if not run.has_checkpoint():
        return None
    value = recorded_inputs(newest_state(run)).get("options", {}).get(key)
    if value is None:
        with suppress(UserError):  # of a damaged file, which is reported later
            value = read_yaml(run.config).get(tuple(key.split(".")))
    return value if isinstance(value, str | list) else None


def check_for_translation(run: RunDir, state: JsonObject, experiment: Experiment) -> None:
    """Check that a checkpoint is used with the options and files that it was trained with.

    Raises:
        UserError: the config, a vocabulary or a plugin has changed since then
    """
    remedy = "or copy the run again from where it was trained"
    check_unchanged(run, recorded_inputs(state), experiment, remedy=remedy)


def recorded_inputs(state: JsonObject) -> JsonObject:
    """Return the record in a training state; an empty one in states of earlier versions."""
    inputs = state.get("inputs")
    # A run of unknown origin may contain anything.
    sections = inputs.items() if isinstance(inputs, dict) else ()
    return {
        name: value
        for name, value in sections
        if isinstance(value, str if name == "start_from" else dict)
    }


def _changed_options(recorded: Options, experiment: Experiment) -> list[str]:
    """Return the differences between the recorded options and those of an experiment."""
    if not recorded:
        return []
    now = decisive_options(experiment)
    if recorded != now:
        recorded = _updated(recorded, experiment)
    return list(_differences(recorded, now).values())


def _updated(recorded: Options, experiment: Experiment) -> Options:
    """Return recorded options as this version would record them, with the defaults of new ones."""
    # Not `to_dict`, which spells paths as text that the validation refuses.
    values = _flat(experiment.model_dump())
    others = {key: v for key, v in values.items() if key not in recorded}
    others = {key: v for key, v in others.items() if key in FREE_OPTIONS | FILE_OPTIONS}
    try:
        return decisive_options(validate(Experiment, _nested(recorded | others)))
    except (UserError, AttributeError, TypeError):  # of another version, or of unknown origin
        return recorded


def _options_of_run(run: RunDir, experiment: Experiment, *, is_recorded: bool) -> Options:
    """Return the options in the config.yaml of a run.

    A config that was damaged is replaced if the checkpoint proves that the experiment is the same.
    """
    try:
        # Its plugins are those of the experiment, which are imported, or the config has changed.
        before = _flat(load_resolved(run.config, "registered").to_dict())
    except UserError as error:
        if not is_recorded:
            raise
        log.warning("%s; it is written again, from the experiment file", error)
        return _flat(experiment.to_dict())
    if is_recorded:
        wrong = _differences(
            decisive_options(experiment),
            {key: v for key, v in before.items() if key not in FREE_OPTIONS | FILE_OPTIONS},
        )
        if wrong:
            log.warning(
                "%s: was edited since it was written (%s); the edit is undone",
                run.config,
                "; ".join(wrong.values()),
            )
            before |= decisive_options(experiment)
    return before


def _with_current_defaults(before: Options, now: Options) -> Options:
    """Return options of an earlier version with former defaults replaced by the current ones."""
    current = _flat(VocabularyConfig().model_dump())
    return before | {
        key: now[key]
        for key, former in FORMER_DEFAULTS.items()
        if before.get(key) == former and now[key] == current[key.removeprefix("data.vocabulary.")]
    }


def _same_content(run: RunDir, key: str, recorded: JsonObject, experiment: Experiment) -> bool:
    """Return whether the files of an option have the recorded content.

    Texts are compared later, when they have been read.
    """
    if key in ("data.vocabulary.model", "data.vocabulary.codes"):
        value = getattr(experiment.data.vocabulary, key.rpartition(".")[2])
        files = value if isinstance(value, list) else [value] if value else []
        return bool(files) and {_sha256(file) for file in files} <= vocabulary_origins(run)
    if key in ("training.start_from", "training.start_from.run"):
        start = experiment.training.start_from
        if start is None or "start_from" not in recorded:
            return False
        checkpoint, _ = find_checkpoint(RunDir(start.run), str(start.checkpoint))
        return weights_checksum(checkpoint) == recorded["start_from"]
    if key == "plugins":
        return plugin_checksums(experiment) == recorded.get("plugins", {})
    return True


def _compare_files(
    folder: Path, recorded: Mapping[str, str], found: Mapping[str, str], remedy: str
) -> None:
    for name in sorted({*recorded, *found} if recorded else ()):
        if name in recorded and recorded[name] != found.get(name):
            fault = "has changed since the last checkpoint" if name in found else "not found"
            raise UserError(f"{fault}; restore the file, {remedy}", str(folder / name))


def _differences(before: Options, now: Options) -> dict[str, str]:
    """Return a description of each option that differs, by key."""
    absent = object()
    return {
        key: f"- {key}: {_shown(before.get(key))}; + {key}: {_shown(now.get(key))}"
        for key in sorted({*before, *now})
        if before.get(key, absent) != now.get(key, absent)
    }


def _shown(value: object) -> str:
    return "null" if value is None else str(value)


def _flat(tree: Mapping[str, object]) -> Options:
    """Return the leaves of nested options by dotted key."""
    return {".".join(key): value for key, value in leaves(tree)}


def _nested(options: Options) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for dotted, value in options.items():
        branch = tree
        key: Key = tuple(dotted.split("."))
        for name in key[:-1]:
            branch = branch.setdefault(name, {})
        branch[key[-1]] = value
    return tree


def _sha256(file: Path) -> str:
    with file_errors(file, "cannot be read"):
        return sha256(file)
