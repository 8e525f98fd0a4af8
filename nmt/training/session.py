"""Session of training: data, model and progress of a run, ready for the next update."""

import logging
from dataclasses import dataclass

from nmt.config.choices import Recurrence, RecurrenceBackend
from nmt.config.schema import Experiment
from nmt.device import resolve_device
from nmt.distributed.process_group import ProcessGroup
from nmt.model.build import set_backend
from nmt.storage.atomic import JsonObject
from nmt.storage.checkpoint import weights_checksum
from nmt.storage.plugins import save_plugins
from nmt.storage.run_dir import RunDir
from nmt.storage.run_inputs import record_inputs
from nmt.training.batch_size import set_batch_tokens
from nmt.training.best_metric import BestMetricTracker
from nmt.training.checkpointing import Checkpointer
from nmt.training.datasets import (
    Datasets,
    check_coverage,
    describe_parts,
    prepare_datasets_together,
    weight_pairs,
)
from nmt.training.ema import ExponentialMovingAverage
from nmt.training.limits import Limits
from nmt.training.metrics_log import RunningLoss
from nmt.training.setup import build_trainer, limits_of
from nmt.training.start_from import load_initial_weights
from nmt.training.text_record import record_texts
from nmt.training.trainer import Trainer

log = logging.getLogger("nmt")


@dataclass(frozen=True)
class Session:
    """A run that is ready to train, new or in the state of its last checkpoint.

    Attributes:
        experiment: the experiment, with its metric of early stopping
        run: the run directory
        datasets: its data
        trainer: the trainer, without hooks
        average: average of the parameters; None for none
        best: tracker of the validation metric
        running: loss since the last report
        checkpointer: writer of checkpoints
    """

    experiment: Experiment
    run: RunDir
    datasets: Datasets
    trainer: Trainer
    average: ExponentialMovingAverage | None
    best: BestMetricTracker
    running: RunningLoss
    checkpointer: Checkpointer

    @property
    def limits(self) -> Limits:
        """Return the limits of training."""
        return limits_of(self.experiment.training)


def prepare_session(
    experiment: Experiment,
    run: RunDir,
    device: str,
    process_group: ProcessGroup,
    recurrence: RecurrenceBackend | None,
) -> Session:
    """Prepare data and model, and restore the last checkpoint.

    Args:
        experiment: the experiment, with its metric of early stopping
        run: the run directory, which exists
        device: auto, cpu or cuda
        process_group: processes that train the model together
        recurrence: overrides `training.recurrence`

    Raises:
        UserError: if the data or the last checkpoint cannot be used
    """
    training = experiment.training
    if process_group.is_first:
        save_plugins(run.plugins, experiment.plugins)
    on_device = resolve_device(device)
    if experiment.data.pictures is not None:
        log.info("reading the images, unless they are in the cache")
    datasets = prepare_datasets_together(experiment, run, process_group)
    _log_data(experiment, datasets)
    trainer = build_trainer(experiment, datasets, on_device, process_group)
    if recurrence is not None:
        _override_recurrence(trainer, training.recurrence, recurrence)
    set_batch_tokens(trainer, training, run)
    trainer.timer.restart(0.0)
    average = None
    if training.ema is not None:
        average = ExponentialMovingAverage(trainer.model, training.ema)
    best = BestMetricTracker(training.early_stopping.metrics, training.early_stopping.patience)
    running = RunningLoss()
    inputs = _record_inputs(run, experiment, datasets)
    checkpointer = Checkpointer(
        run, trainer, best, running, average, inputs=inputs, keep=training.keep
    )
    session = Session(experiment, run, datasets, trainer, average, best, running, checkpointer)
    _restore_or_initialize(session, inputs)
    return session


def _log_data(experiment: Experiment, datasets: Datasets) -> None:
    log.info("training text: %s", datasets.train.stats)
    for line in describe_parts(experiment, datasets):
        log.info(line)
    log.info("validation text: %s", datasets.valid.stats)
    for side in check_coverage(experiment, datasets):
        log.info("%s vocabulary: %s", side.side, side)
        for warning in side.warnings():
            log.warning(warning)


def _record_inputs(run: RunDir, experiment: Experiment, datasets: Datasets) -> JsonObject:
    """Return the record of everything that decides the weights."""
    texts = record_texts(
        datasets.train_corpus,
        datasets.train,
        datasets.valid_corpus,
        datasets.valid,
        weight_pairs(experiment, datasets),
        experiment.data.alignment_files,
    )
    return record_inputs(run, experiment) | {"texts": texts}


def _override_recurrence(
    trainer: Trainer, configured: Recurrence, override: RecurrenceBackend
) -> None:
    log.warning("NMT_RECURRENCE=%s overrides training.recurrence: %s", override, configured)
    set_backend(trainer.model.decoder, override)
    trainer.graphs = None


def _restore_or_initialize(session: Session, inputs: JsonObject) -> None:
    """Restore the last checkpoint; without one, load the weights of the run to start from."""
    trainer, datasets = session.trainer, session.datasets
    if trainer.process_group.on_first(session.run.has_checkpoint):
        for warning in session.checkpointer.restore():
            log.warning(warning)
        log.info("continuing after update %d", trainer.state.step)
        length = trainer.schedule.length
        if length is not None and length.limits != session.limits:
            log.info("the schedule keeps its length of %s", length.limits)
    elif (start := session.experiment.training.start_from) is not None:
        vocabularies = datasets.source_vocabulary, datasets.target_vocabulary
        checkpoint, warnings = load_initial_weights(trainer.model, start, *vocabularies)
        inputs["start_from"] = weights_checksum(checkpoint)
        for warning in warnings:
            log.warning(warning)
