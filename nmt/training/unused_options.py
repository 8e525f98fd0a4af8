"""Options of an experiment file that others leave without effect, which are errors.

The validator of the schema fills in defaults. Only the checks here know which options a file
contains, so that an option with its default value is reported as well.
"""

import inspect
import operator
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from nmt.config.loader import LoadedExperiment
from nmt.config.schema import EvaluationConfig, SamplingConfig, TrainingConfig, VocabularyConfig
from nmt.config.search_options import SearchOptions, find_unused
from nmt.config.sections import Section
from nmt.config.validation import validate
from nmt.config.yaml_source import read_yaml
from nmt.errors import UserErrors, printable
from nmt.files import is_file
from nmt.model.seq2seq import Seq2Seq
from nmt.storage.run_dir import RunDir

Unused = Iterator[tuple[str, str]]
"""Dotted keys of options, each with the reason why it has no effect and the remedy."""

# Options of every vocabulary: they act on the training text.
ALWAYS_USED = frozenset({"sampling"})
# Options that act on the tokens by which the vocabulary of another run is extended.
EXTENDING_OPTIONS = frozenset({"size", "character_coverage", "lines", "user_defined_symbols"})


def check_unused_options(loaded: LoadedExperiment) -> None:
    """Raise UserErrors for options of the file that others leave without effect.

    A `config.yaml` of a run contains all options, so only those that differ from their defaults
    count there.
    """
    _raise(loaded, _unused_vocabulary_options, _unused_search_options, _unused_objectives)


def check_options_of_attention(loaded: LoadedExperiment, model: Seq2Seq) -> None:
    """Raise UserErrors for options that require attention, with a decoder that lacks it."""
    _raise(loaded, partial(_unsupported_risk, model))
    aligns = model.alignment is not None
    if model.decoder.has_attention:
        _raise(loaded, partial(_unsupported_guidance, model))
        return
    cause = f"has no effect with decoder '{loaded.experiment.model.decoder.type}'"
    message = f"{cause}, which has no attention; remove it"

    def unused(loaded: LoadedExperiment) -> Unused:
        search = loaded.experiment.search
        if loaded.experiment.training.guided_alignment is not None and not aligns:
            yield "training.guided_alignment", message
        if search.coverage_penalty.type != "none":
            yield "search.coverage_penalty", message
        if search.replace_unknown and not aligns:
            yield "search.replace_unknown", message
        given = _given(loaded, "evaluation", EvaluationConfig)
        if loaded.experiment.evaluation.alignments is not None and not aligns:
            yield "evaluation.alignments", message
        if "pictures" in given and loaded.experiment.evaluation.pictures:
            yield "evaluation.pictures", message

    _raise(loaded, unused)


def _unsupported_guidance(model: Seq2Seq, loaded: LoadedExperiment) -> Unused:
    """Yield guided alignment with a decoder, from a plugin, that cannot return its weights."""
    returns_weights = "need_weights" in inspect.signature(model.decoder.forward).parameters
    if loaded.experiment.training.guided_alignment is not None and not returns_weights:
        name = loaded.experiment.model.decoder.type
        message = f"requires that 'forward' of decoder '{name}' accepts need_weights; add it"
        yield "training.guided_alignment", message


def _unsupported_risk(model: Seq2Seq, loaded: LoadedExperiment) -> Unused:
    """Yield minimum risk training with attention that adds a loss, which it would ignore."""
    if loaded.experiment.training.minimum_risk is not None and model.decoder.has_auxiliary_loss:
        message = "is not possible with attention that has a loss of its own; use another one"
        yield "training.minimum_risk", f"{message}, or soft with doubly_stochastic: 0"


def _raise(loaded: LoadedExperiment, *checks: Callable[[LoadedExperiment], Unused]) -> None:
    errors = [loaded.error(*one) for check in checks for one in check(loaded)]
    if errors:
        raise UserErrors(errors)


def _unused_vocabulary_options(loaded: LoadedExperiment) -> Unused:
    data, training = loaded.experiment.data, loaded.experiment.training
    given = set(_given(loaded, "data.vocabulary", VocabularyConfig)) - ALWAYS_USED
    start = training.start_from
    if start is not None and start.vocabulary != "replace":
        if start.vocabulary == "extend":
            given -= EXTENDING_OPTIONS
        yield from _other_vocabulary_options(data.vocabulary, sorted(given), start.run)
        return
    causes = data.vocabulary.unused_options
    # Files decide whether both sides share a vocabulary, and the option may agree with them.
    if data.vocabulary.joint != data.vocabulary.is_joint:
        causes |= {"joint": "model" if data.vocabulary.model is not None else "codes"}
    if data.vocabulary.model is None:
        yield from _unused_sampling(loaded)
    for name in sorted(given & causes.keys()):
        yield f"data.vocabulary.{name}", f"has no effect with {causes[name]}; remove one of them"
    if data.pictures is not None:
        if "joint" in given:
            yield "data.vocabulary.joint", "has no effect with data.pictures; remove it"
        rules = loaded.tree.get(("data", "vocabulary", "normalization"))
        if "normalization" in given and isinstance(rules, dict) and "source" in rules:
            message = "has no effect with data.pictures, since images have no text; remove it"
            yield "data.vocabulary.normalization.source", message


def _unused_sampling(loaded: LoadedExperiment) -> Unused:
    """Yield options of sampling that belong to another kind than the vocabulary to learn."""
    config = loaded.experiment.data.vocabulary
    uses_codes = config.codes is not None
    is_bpe = uses_codes or config.type == "bpe"
    cause = "codes" if uses_codes else f"type: {config.type}"
    given = _given(loaded, "data.vocabulary.sampling", SamplingConfig)
    for name in ("alpha", "nbest") if is_bpe else ("dropout",):
        if name in given:
            yield f"data.vocabulary.sampling.{name}", f"has no effect with {cause}; remove it"


def _other_vocabulary_options(config: VocabularyConfig, given: list[str], run: Path) -> Unused:
    """Yield those of the given options that differ from the vocabulary that a run starts from.

    Equal ones have their effect: the vocabulary is as they require.
    """
    expected = _vocabulary_options(run) if given else None
    if expected is None:  # no run, which is reported when its vocabulary is loaded
        return
    values = config.to_dict()
    for name in given:
        if values[name] != expected[name]:
            message = (
                "differs from the vocabulary of training.start_from, which is used: "
                f"{name} is {_shown(expected[name])} there, not {_shown(values[name])}; "
                "remove data.vocabulary, or write start_from: {run: ..., vocabulary: replace}"
            )
            yield f"data.vocabulary.{name}", message


def _vocabulary_options(directory: Path) -> dict[str, Any] | None:
    """Return the options by which the vocabulary of a run was made, or None without a run."""
    seen: set[Path] = set()
    while directory not in seen:
        seen.add(directory)
        config = RunDir(directory).config
        if not is_file(config):
            return None
        tree = read_yaml(config)
        start_from = tree.get(("training", "start_from"))
        if isinstance(start_from, dict) and start_from.get("vocabulary") != "replace":
            start_from = start_from.get("run")
        if not isinstance(start_from, str):
            values = tree.get(("data", "vocabulary"))
            values = dict(values) if isinstance(values, dict) else {}
            model = values.pop("model", None)
            return validate(VocabularyConfig, values).to_dict() | {"model": model}
        directory = Path(start_from)  # its vocabulary is that of another run in turn
    return None


def _unused_search_options(loaded: LoadedExperiment) -> Unused:
    search = loaded.experiment.search
    for name, reason in find_unused(search, _given(loaded, "search", SearchOptions)).items():
        yield f"search.{name}", reason
    if loaded.experiment.data.pictures is None:
        return
    options_of_words = {
        "search.replace_unknown": search.replace_unknown,
        "search.shortlist": search.shortlist,
        "search.tag": search.tag is not None,
        "evaluation.alignments": loaded.experiment.evaluation.alignments is not None,
    }
    for name, is_given in options_of_words.items():
        if is_given:
            yield name, "has no effect with images, which have no words; remove it"


def _unused_objectives(loaded: LoadedExperiment) -> Unused:
    """Yield label smoothing without cross entropy, and R-Drop with two passes that are the same."""
    training = loaded.experiment.training
    if training.minimum_risk is not None:
        # A resolved file contains the default too, and 0, no smoothing, describes this loss.
        default = TrainingConfig.model_fields["label_smoothing"].default
        if training.label_smoothing not in (0.0, default):
            yield "training.label_smoothing", "has no effect with minimum_risk; remove it"
        return
    model = loaded.experiment.model
    parts = [one for one in (model.encoder, model.decoder, model.attention, model.score) if one]
    options = [*model, *(option for one in parts for option in one.options.items())]
    rates = [value for name, value in options if "drop" in name or "zoneout" in name]
    # Hard attention samples, and components from elsewhere may have noise of any name.
    is_random = any(one.type == "hard" or "." in one.type for one in parts)
    if training.r_drop is None or loaded.experiment.plugins or is_random:
        return
    if not any(rates):
        message = "has no effect without dropout; set model.decoder.dropout or embedding_dropout"
        yield "training.r_drop", message


def _shown(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case dict():
            return f"{{{', '.join(f'{name}: {_shown(one)}' for name, one in value.items())}}}"
        case _:
            return printable(str(value))


def _given(loaded: LoadedExperiment, dotted: str, section: type[Section]) -> list[str]:
    """Return the options of a section that the file contains."""
    values = loaded.tree.get(tuple(dotted.split(".")))
    names = [name for name in section.model_fields if isinstance(values, dict) and name in values]
    if len(names) < len(section.model_fields):
        return names
    defaults = section().to_dict()
    resolved = operator.attrgetter(dotted)(loaded.experiment).to_dict()
    return [name for name in names if resolved[name] != defaults[name]]
