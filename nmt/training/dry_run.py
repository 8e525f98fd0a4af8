"""`nmt-train --check`: a trial of the whole setup in seconds, which writes no files."""

import sys
from math import log, nan

import torch

from nmt.config.choices import backend_of
from nmt.config.loader import LoadedExperiment
from nmt.config.schema import Experiment
from nmt.data.batch import Batch
from nmt.data.batch_plan import longest_batch
from nmt.data.bleu_tokenizer import DEFAULT_TOKENIZER, choose_for_references
from nmt.data.examination.corpus import corpus_warnings
from nmt.data.images import ImageSize, check_pillow
from nmt.data.loader import IndexedBatch, Position, UpdateBatch
from nmt.device import resolve_device
from nmt.errors import LOWER_MEMORY, UserError, explained_out_of_memory, option_errors
from nmt.evaluation.metrics import make_metrics
from nmt.model.build import check_model, set_backend
from nmt.registry import SCHEDULES
from nmt.training.batch_size import set_batch_tokens
from nmt.training.datasets import (
    Datasets,
    check_coverage,
    describe_parts,
    load_alignment_set,
    load_validation_text,
    prepare_datasets,
)
from nmt.training.setup import build_trainer
from nmt.training.start_from import load_initial_weights
from nmt.training.trackers.tracker import check_trackers
from nmt.training.trainer import Trainer
from nmt.training.unused_options import check_options_of_attention, check_unused_options

UPDATES = 2
MAX_PAIRS = 50_000  # training pairs to read; they take seconds
MAX_IMAGE_PAIRS = 1_000  # the same for pairs with an image, which takes longer to read


def check_components(loaded: LoadedExperiment) -> None:
    """Check that the components of an experiment fit together, before any data is read.

    Raises:
        UserError: at the location of a component that does not fit
    """
    experiment = loaded.experiment
    check_unused_options(loaded)
    vocabulary = experiment.data.vocabulary
    joint = vocabulary.is_joint
    start = experiment.training.start_from
    if start is not None and start.vocabulary != "replace":
        joint = True  # not known before that run is opened
    # Builds the model on the meta device: sizes and options are checked without memory.
    try:
        images = ImageSize.from_config(experiment.data.pictures)
        model = check_model(experiment.model, joint=joint, image_size=images)
    except UserError as error:
        raise loaded.error("model", error.message) from None
    check_options_of_attention(loaded, model)
    try:
        set_backend(model.decoder, backend_of(experiment.training.recurrence))
    except UserError as error:
        raise loaded.error("training.recurrence", error.message) from None
    try:
        SCHEDULES.build(experiment.training.schedule)
    except UserError as error:
        raise loaded.error("training.schedule", error.message) from None
    with loaded.located():
        check_trackers(experiment.training.report)
        if experiment.data.pictures is not None:
            with option_errors("data.pictures"):
                check_pillow()
    evaluation = experiment.evaluation
    try:
        make_metrics(
            evaluation.metrics, tokenize=evaluation.tokenize, lowercase=evaluation.lowercase
        )
    except UserError as error:
        raise loaded.error("evaluation", error.message) from None


def dry_run(experiment: Experiment, *, device: str) -> str:
    """Run two updates on the longest batch; return a report of data, model, loss and memory.

    Raises:
        UserError: for any error that would stop a run, and if a parameter gets no gradient
    """
    with explained_out_of_memory(LOWER_MEMORY):
        return _dry_run(experiment, resolve_device(device))


def _dry_run(experiment: Experiment, on_device: torch.device) -> str:
    training = experiment.training
    limit = MAX_PAIRS if experiment.data.pictures is None else MAX_IMAGE_PAIRS
    datasets = prepare_datasets(experiment, None, limit=limit)
    coverage = check_coverage(experiment, datasets)
    evaluation = experiment.evaluation
    _, references = load_validation_text(experiment.data, datasets)
    load_alignment_set(experiment)
    tokenizer = choose_for_references(
        evaluation.metrics, evaluation.tokenize, experiment.data.target, references
    )
    trainer = build_trainer(experiment, datasets, on_device)
    if training.start_from is not None:
        vocabularies = datasets.source_vocabulary, datasets.target_vocabulary
        load_initial_weights(trainer.model, training.start_from, *vocabularies)
    set_batch_tokens(trainer, training, None)
    # If the longest batch fits into memory, every batch does.
    corpus, plan = trainer.loader.plan(0)
    rows = longest_batch(plan, corpus.source_lengths, corpus.target_lengths)
    indexed = trainer.loader.load_batch(corpus, rows)
    batch = indexed.batch
    # Before the first update: gradients at the initial parameters.
    without = _parameters_without_gradient(trainer, indexed)
    if without:
        raise UserError(
            f"{len(without)} parameters get no gradient: {', '.join(without)}; "
            "an option of the model leaves them unused"
        )
    update_batch = UpdateBatch([indexed], batch.target_tokens, Position(0, 1))
    updates = [trainer.update(update_batch) for _ in range(UPDATES)]
    losses = [float(update.nll) / update.target_tokens for update in updates]
    report = _report(datasets, trainer, batch, len(plan), losses)
    report |= {f"{side.side} vocabulary": str(side) for side in coverage}
    if "bleu" in evaluation.metrics:
        report["bleu"] = f"with the tokenizer {tokenizer.name or DEFAULT_TOKENIZER}"
    warnings = [warning for side in coverage for warning in side.warnings()]
    warnings += [tokenizer.warning] * bool(tokenizer.warning)
    warnings += corpus_warnings(datasets.train_corpus, datasets.valid_corpus)
    parts = [("training corpus", line) for line in describe_parts(experiment, datasets)]
    lines = [*report.items(), *parts, *(("warning", warning) for warning in warnings)]
    return "\n".join(f"{name:<18}{value}" for name, value in lines)


def _parameters_without_gradient(trainer: Trainer, indexed: IndexedBatch) -> list[str]:
    """Return the names of parameters whose gradient of one batch is zero or missing."""
    trainer.model.train()
    trainer.backward(indexed, indexed.batch.target_tokens)
    names = [
        name
        for name, parameter in trainer.model.named_parameters()
        # Some operations give an unused parameter a gradient of zeros instead of none.
        if parameter.requires_grad
        and (parameter.grad is None or not parameter.grad.count_nonzero())
    ]
    trainer.optimizer.zero_grad()
    return names


def _report(
    datasets: Datasets,
    trainer: Trainer,
    batch: Batch,
    batches: int,
    losses: list[float],
) -> dict[str, str]:
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    frozen = sum(one.numel() for one in trainer.model.parameters() if not one.requires_grad)
    gradients = f"all but {frozen / 1e6:.2f} M frozen ones" if frozen else "all of them"
    tokens = len(datasets.target_vocabulary)
    parts = zip(datasets.train_corpus.parts, datasets.train.part_sizes, strict=True)
    is_limited = any(part.limit == size for part, size in parts)
    partly = f" (only the first {datasets.train.stats.read} are tried)" if is_limited else ""
    precision = trainer.precision
    return {
        "training text": f"{datasets.train.stats}{partly}",
        "validation text": f"{datasets.valid.stats}",
        "vocabulary": f"{_vocabulary_sizes(datasets)} tokens",
        "parameters": f"{parameters / 1e6:.2f} M, {gradients} get a gradient",
        "an epoch": f"{batches} batches, {-(-batches // trainer.accumulate)} updates",
        "longest batch": _shape(batch),
        "loss": f"{' -> '.join(f'{loss:.3f}' for loss in losses)} in {UPDATES} updates on it "
        f"(ln {tokens} = {log(tokens):.3f})",
        "memory": f"{_peak_memory(precision.device):.2f} GB at its peak on {precision.device} "
        f"in {precision.name}",
    }


def _vocabulary_sizes(datasets: Datasets) -> str:
    source, target = datasets.source_vocabulary, datasets.target_vocabulary
    if source is None:
        return f"{len(target)} target"
    if source.has_same_tokens(target):
        return f"{len(target)} joint"
    return f"{len(source)} source, {len(target)} target"


def _shape(batch: Batch) -> str:
    source, (rows, target) = batch.source, batch.target_out_bt.shape
    if source.ndim == 2:
        return f"{rows} pairs, {source.size(1)} source and {target} target tokens"
    return f"{rows} images of {' x '.join(map(str, source.shape[1:]))}, {target} target tokens"


def _peak_memory(device: torch.device) -> float:
    """Return gigabytes: of the whole process on a CPU, of torch's allocations on a GPU.

    It is NaN on a CPU under Windows, which has no counter of it in the standard library.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    try:
        import resource
    except ImportError:
        return nan
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, kibibytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
