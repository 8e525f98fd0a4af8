"""`nmt-train --check`: whether a run would work, found out in seconds and without a trace."""

import resource
import sys

import torch

from nmt.config.loader import Loaded
from nmt.config.schema import Experiment
from nmt.data.batching import Array, Batch, longest_batch
from nmt.data.pictures import PictureSizes
from nmt.data.stream import Group, Numbered, Position, make_batch
from nmt.errors import UserError
from nmt.evaluation.metrics import make_metrics
from nmt.model.build import check_model
from nmt.model.devices import prepare_device
from nmt.registry import SCHEDULES
from nmt.training.capacity import settle_batch_tokens
from nmt.training.preparation import Prepared, prepare
from nmt.training.session import make_trainer
from nmt.training.trainer import Trainer

UPDATES = 2
PAIRS = 50_000  # training pairs that are tried: what takes seconds
PICTURES = 1_000  # the same for pairs with a picture, which has to be opened


def check_parts_fit(loaded: Loaded) -> None:
    """See that the parts of an experiment fit together, before any data is read.

    Raises:
        UserError: at the place of the part that does not fit
    """
    experiment = loaded.experiment
    vocabulary = experiment.data.vocabulary
    joint = vocabulary.joint if vocabulary.model is None else not isinstance(vocabulary.model, list)
    if experiment.training.start_from is not None:
        joint = True  # unknown until that run is opened
    try:
        pictures = PictureSizes.of(experiment.data.pictures)
        check_model(experiment.model, joint=joint, pictures=pictures)
    except UserError as error:
        raise loaded.error("model", error.message) from None
    assert experiment.training.schedule is not None
    try:
        SCHEDULES.build(experiment.training.schedule)
    except UserError as error:
        raise loaded.error("training.schedule", error.message) from None
    shown = experiment.evaluation
    try:
        make_metrics(shown.metrics, tokenize=shown.tokenize, lowercase=shown.lowercase)
    except UserError as error:
        raise loaded.error("evaluation", error.message) from None


def check(experiment: Experiment, *, device: str) -> str:
    """Two updates on the longest batch, nothing written; a report for the user.

    Raises:
        UserError: for whatever would stop a run, and when a parameter gets no gradient
    """
    training = experiment.training
    place = prepare_device(device, threads=training.threads, deterministic=training.deterministic)
    prepared = prepare(experiment, None, limit=_limit(experiment))
    trainer, _ = make_trainer(experiment, prepared, place)
    settle_batch_tokens(trainer, training, None)
    rows, batches = _longest(trainer)
    batch = make_batch(prepared.train, rows, prepared.specials)
    numbered = Numbered(batch, prepared.train.lines[rows] + 1)
    without = _without_gradient(trainer, numbered)
    if without:
        raise UserError(
            f"{len(without)} parameters get no gradient: {', '.join(without)}; "
            "an option of the model leaves them without use"
        )
    losses = []
    group = Group([numbered], batch.target_tokens, Position(0, 1))
    for _ in range(UPDATES):
        update = trainer.update(group)
        losses.append(float(update.likelihood) / update.target_tokens)
    return _report(experiment, prepared, trainer, numbered, batches, losses)


def _limit(experiment: Experiment) -> int:
    return PAIRS if experiment.data.pictures is None else PICTURES


def _longest(trainer: Trainer) -> tuple[Array, int]:
    corpus, plan = trainer.stream.plan(0)
    return longest_batch(plan, corpus.source_lengths, corpus.target_lengths), len(plan)


def _without_gradient(trainer: Trainer, numbered: Numbered) -> list[str]:
    """Names of parameters that one batch gives no gradient."""
    trainer.model.train()
    trainer.backward(numbered, numbered.batch.target_tokens)
    names = [
        name
        for name, parameter in trainer.model.named_parameters()
        if parameter.grad is None or not parameter.grad.count_nonzero()
    ]
    trainer.optimizer.zero_grad()
    return names


def _report(
    experiment: Experiment,
    prepared: Prepared,
    trainer: Trainer,
    numbered: Numbered,
    batches: int,
    losses: list[float],
) -> str:
    batch = numbered.batch
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    target = len(prepared.target_vocabulary)
    return "\n".join(
        [
            f"training text     {prepared.train.report}{_only_first(prepared, _limit(experiment))}",
            f"validation text   {prepared.valid.report}",
            f"vocabulary        {_pieces(prepared)} pieces",
            f"parameters        {parameters / 1e6:.2f} M, all of them get a gradient",
            f"an epoch          {batches} batches, {-(-batches // trainer.accumulate)} updates",
            f"longest batch     {_shape(batch)}",
            f"loss              {' -> '.join(f'{loss:.3f}' for loss in losses)} "
            f"in {UPDATES} updates on it (ln {target} = {_log(target):.3f})",
            f"memory            {_peak_memory(trainer):.2f} GB at its peak on {_device(trainer)}",
        ]
    )


def _only_first(prepared: Prepared, limit: int) -> str:
    return f" (only the first {limit} are tried)" if prepared.train.report.read == limit else ""


def _pieces(prepared: Prepared) -> str:
    source, target = prepared.source_vocabulary, prepared.target_vocabulary
    if source is None:
        return f"{len(target)} target"
    if source is target:
        return f"{len(target)} joint"
    return f"{len(source)} source, {len(target)} target"


def _shape(batch: Batch) -> str:
    source, (rows, target) = batch.source, batch.target_out_bt.shape
    if source.ndim == 2:
        return f"{rows} pairs, {source.size(1)} source and {target} target pieces"
    return f"{rows} pictures of {' x '.join(map(str, source.shape[1:]))}, {target} target pieces"


def _log(pieces: int) -> float:
    return float(torch.tensor(float(pieces)).log())


def _device(trainer: Trainer) -> str:
    device = trainer.precision.device
    return f"{device} in {trainer.precision.name}"


def _peak_memory(trainer: Trainer) -> float:
    """Gigabytes: of the whole process on a CPU, of torch's allocations on a GPU."""
    if trainer.precision.device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
