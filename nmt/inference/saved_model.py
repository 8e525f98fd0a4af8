"""Loading the trained model of a run or a bundle."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from nmt.config.loader import load_resolved
from nmt.config.schema import Experiment
from nmt.data.images import ImageSize
from nmt.data.preparation import UNPREPARED, Preparation
from nmt.data.shortlist import ReadShortlist, Shortlist
from nmt.data.vocabularies.saved import load_bundled_vocabularies, load_vocabularies
from nmt.data.vocabulary import Vocabularies, Vocabulary
from nmt.errors import UserError
from nmt.files import MAX_SHORTLIST_BYTES, exists, is_file, read_regular
from nmt.inference.hub import fetch_model, is_hub_name
from nmt.inference.quantization import check_quantized, restore_weights, restored_shapes
from nmt.model.build import build_meta_model, build_model
from nmt.model.seq2seq import Seq2Seq
from nmt.model.weights import load_weights, match_weights, rename_weights
from nmt.storage.bundle import (
    CONFIG,
    SHORTLIST,
    WEIGHTS,
    Bundle,
    StoredPrecision,
    is_bundle,
    read_bundle,
)
from nmt.storage.checkpoint import (
    NO_CHECKSUMS,
    TRANSLATION_FILES,
    average_weights,
    find_corruption,
    is_minimal,
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
        precision: number format of the stored weights; with int8 a CPU multiplies integers
        step: number of updates of the checkpoint; None if unknown
        shortlist: reads the target tokens that may translate each source token, once; None without
            a shortlist
        location: path of the run or bundle, for error messages
    """

    model: Seq2Seq
    source: Vocabulary | ImageSize
    target_vocabulary: Vocabulary
    experiment: Experiment
    warnings: tuple[str, ...]
    preparation: Preparation = UNPREPARED
    precision: StoredPrecision = "fp32"
    step: int | None = None
    shortlist: ReadShortlist | None = None
    location: str = ""

    def ensemble_difference(self, other: "SavedModel") -> str | None:
        """Return the reason why two models form no ensemble; None if they can."""
        # They exchange ids of target tokens; each reads its own segmentation of a text.
        if self.target_vocabulary.fingerprint != other.target_vocabulary.fingerprint:
            return "another target vocabulary"
        if self.experiment.data.target_order != other.experiment.data.target_order:
            return "another data.target_order"
        if self.preparation != other.preparation:
            return "other options data.pre, data.post or data.placeholders"
        kinds = {
            (one.model.encoder.grid, one.source if isinstance(one.source, ImageSize) else None)
            for one in (self, other)
        }
        return "another kind of source" if len(kinds) > 1 else None


def load_saved_model(
    path: Path, checkpoint: str = "best", *, trust_plugins: bool = False
) -> SavedModel:
    """Load the model of a run or a bundle, which may come from an unknown source.

    Args:
        path: the run directory, bundle, or hf://USER/REPOSITORY of the Hugging Face hub
        checkpoint: best, last, average (over the kept checkpoints) or the number of an update
        trust_plugins: run the code that the run contains or names, and follow its links

    Raises:
        UserError: the directory is not a run, has no intact checkpoint, or requires trust
    """
    inside, location = path, str(path)
    if is_hub_name(path):
        path, inside = fetch_model(path)
    if not exists(path):
        raise UserError("not found; give a run or a bundle", str(path))
    if is_bundle(path):
        if checkpoint != "best":
            message = f"checkpoint '{checkpoint[:40]}': a bundle has a single one; leave it out"
            raise UserError(message, str(path))
        saved = _load_bundle(read_bundle(path, inside=inside))
    elif is_file(path / "model.bin"):
        message = "is a model of CTranslate2; give the run or bundle that it was exported from"
        raise UserError(f"{message}, with backend ctranslate2", str(path))
    else:
        saved = _load_run(RunDir(path), checkpoint, trust_plugins=trust_plugins)
    return replace(saved, location=location)


def _load_bundle(bundle: Bundle) -> SavedModel:
    """Load a bundle, whose files are in memory and may contradict each other."""
    location = str(bundle.path / WEIGHTS)
    try:
        config = bundle.files[CONFIG].decode("utf-8")
        weights = safetensors.torch.load(bundle.files[WEIGHTS])
    # safetensors raises KeyError for types that torch lacks.
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"cannot be read: {error}", location) from None
    experiment = load_resolved(bundle.path / CONFIG, text=config)
    vocabularies = load_bundled_vocabularies(bundle)
    check_quantized(weights, bundle.blocks, location)
    shapes = restored_shapes(weights, bundle.blocks)
    _check_shapes(shapes, experiment, vocabularies, location, bundle.path / "vocabulary")
    saved = _build(
        experiment, vocabularies, lambda _: restore_weights(weights, bundle.blocks), location
    )
    warnings = () if bundle.is_verified else (f"{bundle.path}: {NO_CHECKSUMS}",)
    return replace(
        saved,
        warnings=warnings,
        precision=bundle.precision,
        step=bundle.step,
        shortlist=_shortlist_reader(
            lambda: bundle.files[SHORTLIST], vocabularies, bundle.path / SHORTLIST
        )
        if SHORTLIST in bundle.files
        else None,
    )


def _load_run(run: RunDir, checkpoint: str, *, trust_plugins: bool) -> SavedModel:
    if not trust_plugins:
        check_links(run)
    experiment = run.experiment(trust_plugins=trust_plugins)
    vocabularies = load_vocabularies(run)
    if checkpoint == "average":
        checkpoints = [run.checkpoint(step) for step in run.steps()]
        damage = {kept: find_corruption(kept, TRANSLATION_FILES) for kept in checkpoints}
        warnings = [f"{kept}: damaged ({d}); not averaged" for kept, d in damage.items() if d]
        used = [kept for kept in checkpoints if not damage[kept]]
        if not used:
            raise UserError("has no intact checkpoint to average", str(run.path))
    else:
        found, warnings = find_checkpoint(run, checkpoint)
        used = [found]
    state = {} if is_minimal(used[-1]) else read_state(used[-1])
    check_for_translation(run, state, experiment)
    for kept in used:
        shapes = read_weight_shapes(kept)
        _check_shapes(shapes, experiment, vocabularies, str(kept), run.vocabulary)

    def read(model: Seq2Seq) -> Mapping[str, Tensor]:
        if checkpoint != "average":
            return read_weights(used[0])
        return average_weights(rename_weights(read_weights(kept), model) for kept in used)

    location = str(run.path if checkpoint == "average" else used[0])
    saved = _build(experiment, vocabularies, read, location)
    shortlist = None
    if is_file(run.shortlist):
        shortlist = _shortlist_reader(
            lambda: read_regular(run.shortlist, max_bytes=MAX_SHORTLIST_BYTES),
            vocabularies,
            run.shortlist,
        )
    return replace(saved, warnings=tuple(warnings), step=state.get("step"), shortlist=shortlist)


def _shortlist_reader(
    read: Callable[[], bytes], vocabularies: Vocabularies, location: Path
) -> ReadShortlist | None:
    """Return the reader of a shortlist; None for images, which have no words."""
    source, target = vocabularies
    if source is None:
        return None
    sizes = len(source), len(target)
    return cache(lambda: Shortlist.from_bytes(read(), sizes, str(location)))


def _build(
    experiment: Experiment,
    vocabularies: Vocabularies,
    read: Callable[[Seq2Seq], Mapping[str, Tensor]],
    location: str,
) -> SavedModel:
    """Build the model of an experiment, and read its weights."""
    vocabulary, target = vocabularies
    source = ImageSize.from_config(experiment.data.pictures) or vocabulary
    assert source is not None
    # Initialization draws random numbers, which must not advance the caller's generator.
    with torch.random.fork_rng(devices=[]):
        model = build_model(experiment.model, _size(source), len(target))
    load_weights(model, read(model), location)
    model.eval().requires_grad_(False)
    preparation = Preparation.from_config(experiment.data, vocabulary, target)
    return SavedModel(model, source, target, experiment, (), preparation)


def _size(source: Vocabulary | ImageSize) -> int | ImageSize:
    return source if isinstance(source, ImageSize) else len(source)


def _check_shapes(
    weights: Mapping[str, Tensor],
    experiment: Experiment,
    vocabularies: Vocabularies,
    location: str,
    folder: Path,
) -> None:
    """Compare the model with the shapes of its weights, before either takes memory.

    Args:
        weights: tensors without memory
        experiment: the experiment of the model
        vocabularies: its vocabularies
        location: path of the weights, for error messages
        folder: path of the vocabularies, for error messages

    Raises:
        UserError: they do not fit together
    """
    vocabulary, target = vocabularies
    image_size = ImageSize.from_config(experiment.data.pictures)
    if vocabulary is None and image_size is None:
        raise UserError("has no source vocabulary; copy it again", str(folder))
    source = image_size or len(vocabulary or ())
    target_tokens = len(target)

    def compare(source: int | ImageSize, target_tokens: int) -> None:
        model = build_meta_model(experiment.model, source, target_tokens)
        match_weights(model, weights, location)

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
        names = "source.model and target.model"
        raise UserError(f"{names} are swapped; exchange their names", str(folder))
