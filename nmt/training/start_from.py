"""Fine-tuning: vocabularies, weights and frozen parts from the run to start from."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import nn

from nmt.config.schema import Experiment
from nmt.config.start_options import StartFromConfig
from nmt.data.corpus import Corpus
from nmt.data.line_sampling import sample_lines
from nmt.data.preparation import Preparation
from nmt.data.vocabularies.extension import (
    ExtensibleVocabulary,
    extend,
    learn_extension,
    token_parts,
)
from nmt.data.vocabularies.saved import load_vocabularies
from nmt.data.vocabularies.words import WordVocabulary
from nmt.data.vocabulary import Vocabularies, Vocabulary
from nmt.errors import OptionError, UserError, option_errors
from nmt.model.seq2seq import Seq2Seq
from nmt.model.weights import convert_vocabulary, load_weights, rename_weights, weight_tensors
from nmt.storage.checkpoint import read_weights
from nmt.storage.run_checkpoints import find_checkpoint
from nmt.storage.run_dir import RunDir

log = logging.getLogger("nmt")

LAYERS, FREEZE = "training.start_from.layers", "training.start_from.freeze"


def start_vocabularies(
    experiment: Experiment, start: StartFromConfig, train: Corpus
) -> Vocabularies:
    """Return the vocabularies of the run to start from, extended if the options require it.

    Raises:
        UserError: if they cannot be read or extended
    """
    with option_errors("training.start_from"):
        RunDir(start.run).check_trained()
        source, target = load_vocabularies(RunDir(start.run))
        if source is None and not train.images:
            raise UserError(
                "reads images and has no source vocabulary; start from a run that reads text",
                str(start.run),
            )
    if start.vocabulary == "keep":
        return source, target
    data, preparation = experiment.data, Preparation.for_learning(experiment.data)
    symbols = list(dict.fromkeys([*data.vocabulary.user_defined_symbols, *preparation.masks]))
    is_joint = source is not None and source.has_same_tokens(target)
    sides: list[Vocabulary] = []
    tokens: dict[str, float] = {}
    for side, vocabulary in enumerate((source, target)):
        if vocabulary is None or (train.images and side == 0):
            continue
        if not isinstance(vocabulary, ExtensibleVocabulary):
            message = "a tokenizer.json of Hugging Face cannot be extended; use replace"
            raise OptionError(message, "training.start_from.vocabulary")
        if isinstance(vocabulary, WordVocabulary) and data.vocabulary.character_coverage != 1:
            message = "has no effect with start_from: the vocabulary has words; remove it"
            raise OptionError(message, "data.vocabulary.character_coverage")
        own = list(dict.fromkeys([*data.tags, *symbols])) if is_joint or side == 0 else symbols
        if is_joint and sides:
            # The same tokens, with the normalization of the other side.
            sides.append(extend(vocabulary, tokens, own))
            continue
        pairs = preparation.pairs(train.pairs())
        text = (line for pair in pairs for line in (pair if is_joint else pair[side : side + 1]))
        lines, _ = sample_lines(text, data.vocabulary.lines)
        with option_errors("data.vocabulary"):
            tokens = learn_extension(
                vocabulary,
                lines,
                size=data.vocabulary.size,
                symbols=own,
                character_coverage=data.vocabulary.character_coverage,
            )
        sides.append(extend(vocabulary, tokens, own))
        names = "joint" if is_joint else ("source", "target")[side]
        added = len(sides[-1]) - len(vocabulary)
        log.info("the %s vocabulary of %d tokens is extended by %d", names, len(vocabulary), added)
    return (sides[0] if len(sides) > 1 else None), sides[-1]


def load_initial_weights(
    model: Seq2Seq, start: StartFromConfig, source: Vocabulary | None, target: Vocabulary
) -> tuple[Path, list[str]]:
    """Load weights of another run; return the checkpoint and warnings about damaged ones.

    Vectors of tokens that its vocabulary lacks are the means of the vectors of their parts, and of
    all vectors for tokens without known parts.

    Args:
        model: the model to change
        start: the run, and the parts of the model whose weights are loaded
        source: source vocabulary of the model; None for a source of images
        target: target vocabulary of the model

    Raises:
        UserError: if that run has no intact checkpoint, or one of another model
    """
    RunDir(start.run).check_trained()
    checkpoint, warnings = find_checkpoint(RunDir(start.run), str(start.checkpoint))
    weights = rename_weights(read_weights(checkpoint), model)
    if start.vocabulary != "keep":
        old_source, old_target = load_vocabularies(RunDir(start.run))
        source_parts = None
        if source is not None and old_source is not None:
            source_parts = token_parts(old_source, source)
        weights = convert_vocabulary(weights, source_parts, token_parts(old_target, target))
    if start.layers is not None:
        _check_names(model, start.layers, LAYERS)
        own = weight_tensors(model)
        loaded = {name: one for name, one in weights.items() if _is_part(name, start.layers)}
        others = {name: one for name, one in own.items() if not _is_part(name, start.layers)}
        weights = loaded | others
    load_weights(model, weights, str(checkpoint))
    return checkpoint, warnings


def freeze(model: Seq2Seq, names: Sequence[str]) -> list[nn.Parameter]:
    """Exclude parts of a model from training; return the parameters to train.

    Raises:
        UserError: if the model has no such part, or nothing is left to train
    """
    _check_names(model, names, FREEZE)
    # Tied tables have several names.
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if _is_part(name, names):
            parameter.requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise OptionError("leaves no parameter to train; remove a part", FREEZE)
    return trained


def _is_part(name: str, parts: Iterable[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _check_names(model: Seq2Seq, parts: Iterable[str], option: str) -> None:
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    for part in parts:
        if not any(_is_part(name, [part]) for name in names):
            known = dict.fromkeys(name.partition(".")[0] for name in names)
            inner = dict.fromkeys(
                ".".join(name.split(".")[:2]) for name in names if _is_part(name, ["decoder"])
            )
            raise OptionError(
                f"the model has no part '{part}'; known: {', '.join([*known, *inner])}", option
            )
