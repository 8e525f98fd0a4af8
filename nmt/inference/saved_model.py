"""Loading the trained model of a run."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from nmt.config.schema import Experiment
from nmt.data.images import ImageSize
from nmt.data.preparation import UNPREPARED, Preparation
from nmt.data.vocabularies.saved import load_vocabularies
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.model.build import build_meta_model, build_model
from nmt.model.seq2seq import Seq2Seq
from nmt.model.weights import load_weights, match_weights, rename_weights
from nmt.storage.checkpoint import (
    TRANSLATION_FILES,
    average_weights,
    find_corruption,
    read_state,
    read_weight_shapes,
    read_weights,
)
from nmt.storage.links import check_links
from nmt.storage.run_checkpoints import find_checkpoint
from nmt.storage.run_dir import RunDir
from nmt.storage.run_inputs import check_for_translation


@dataclass(frozen=True)
class SavedModel:
    """A trained model with everything that its use requires.

    Attributes:
        model: on the CPU, in evaluation mode, without gradients
        source: source vocabulary, or the sizes of source images
        target_vocabulary: target vocabulary; if joint, it has the tokens of `source`
        experiment: the experiment that trained the model
        warnings: one line per damaged checkpoint that was passed over
        preparation: preparation of the text before the vocabularies
    """

    model: Seq2Seq
    source: Vocabulary | ImageSize
    target_vocabulary: Vocabulary
    experiment: Experiment
    warnings: tuple[str, ...]
    preparation: Preparation = UNPREPARED


def load_saved_model(
    path: Path, checkpoint: str = "best", *, trust_plugins: bool = False
) -> SavedModel:
    """Load the model of a run, which may come from an unknown source.

    Args:
        path: the run directory
        checkpoint: best, last, average (over the kept checkpoints) or the number of an update
        trust_plugins: run the code that the run contains or names, and follow its links

    Raises:
        UserError: the directory is not a run, has no intact checkpoint, or requires trust
    """
    run = RunDir(path)
    if not trust_plugins:
        check_links(run)
    experiment = run.experiment(trust_plugins=trust_plugins)
    vocabulary, target = load_vocabularies(run)
    source = ImageSize.from_config(experiment.data.pictures) or vocabulary
    assert source is not None
    source_size = source if isinstance(source, ImageSize) else len(source)
    if checkpoint == "average":
        checkpoints = [run.checkpoint(step) for step in run.steps()]
        damage = {kept: find_corruption(kept, TRANSLATION_FILES) for kept in checkpoints}
        warnings = [f"{kept}: damaged ({d}); not averaged" for kept, d in damage.items() if d]
        used = [kept for kept in checkpoints if not damage[kept]]
        if not used:
            raise UserError("has no intact checkpoint to average", str(path))
    else:
        found, warnings = find_checkpoint(run, checkpoint)
        used = [found]
    check_for_translation(run, read_state(used[-1]), experiment)
    for kept in used:
        _check_shapes(run, kept, experiment, source_size, len(target))
    # Initialization draws random numbers, which must not advance the caller's generator.
    with torch.random.fork_rng(devices=[]):
        model = build_model(experiment.model, source_size, len(target))
    if checkpoint == "average":
        weights = (rename_weights(read_weights(kept), model) for kept in used)
        load_weights(model, average_weights(weights), str(path))
    else:
        load_weights(model, read_weights(used[0]), str(used[0]))
    model.eval().requires_grad_(False)
    preparation = Preparation.from_config(experiment.data, vocabulary, target)
    return SavedModel(model, source, target, experiment, tuple(warnings), preparation)


def _check_shapes(
    run: RunDir,
    checkpoint: Path,
    experiment: Experiment,
    source: int | ImageSize,
    target_tokens: int,
) -> None:
    """Compare the model with the header of its weights, before either takes memory.

    Raises:
        UserError: they do not fit together
    """
    weights = read_weight_shapes(checkpoint)

    def compare(source: int | ImageSize, target_tokens: int) -> None:
        model = build_meta_model(experiment.model, source, target_tokens)
        match_weights(model, weights, str(checkpoint))

    is_swapped = False
    try:
        compare(source, target_tokens)
    except UserError:
        if isinstance(source, int) and source != target_tokens:
            with suppress(UserError):
                compare(target_tokens, source)
                is_swapped = True
        if not is_swapped:
            raise
    if is_swapped:
        names = f"{run.source_vocabulary.name} and {run.target_vocabulary.name}"
        raise UserError(f"{names} are swapped; exchange their names", str(run.vocabulary))
