"""One call of nmt-train: everything is put together, and the trainer runs."""

import logging
from pathlib import Path

import torch

from nmt.config.schema import Experiment
from nmt.data.stream import Stream
from nmt.data.vocabulary import Vocabulary
from nmt.model.build import build_model
from nmt.model.devices import prepare_device
from nmt.model.saved import Run
from nmt.registry import OPTIMIZERS, SCHEDULES
from nmt.training.average import MovingAverage
from nmt.training.ending import Ending, Signals
from nmt.training.folder import opened_run
from nmt.training.precision import Precision
from nmt.training.preparation import Prepared, make_stream, prepare, start_from
from nmt.training.report import Metrics, ProgressBar, Reporter, start_log
from nmt.training.saver import Saver
from nmt.training.trainer import Trainer, Update
from nmt.training.validator import Validator
from nmt.training.watch import Clock, Tally, Watch

log = logging.getLogger("nmt")


def train(experiment: Experiment, folder: Path, *, device: str, restart: bool) -> bool:
    """Carry out an experiment in a run directory, from where it stands; whether it is finished.

    Raises:
        UserError: for whatever the user has to put right
    """
    with opened_run(folder, experiment, restart=restart) as run:
        prepared, saver = _prepare(experiment, run, device)
    trainer, clock, watch = saver.trainer, saver.clock, saver.watch
    training = experiment.training
    ending = Ending(
        trainer,
        clock,
        watch,
        epochs=training.epochs,
        steps=training.steps,
        minutes=training.minutes,
    )
    if ending.reached():
        log.info("nothing left to do: %s are done", ending.reached())
        return True
    return _run(experiment, prepared, saver, ending)


def _prepare(experiment: Experiment, run: Run, device: str) -> tuple[Prepared, Saver]:
    """Everything up to the first update, or to the one after the last checkpoint."""
    start_log(run.folder)
    training = experiment.training
    place = prepare_device(device, threads=training.threads, deterministic=training.deterministic)
    if experiment.data.pictures is not None:
        log.info("reading the pictures, unless an earlier start has")
    prepared = prepare(experiment, run)
    log.info("training text: %s", prepared.train.report)
    log.info("validation text: %s", prepared.valid.report)
    trainer, average = make_trainer(experiment, prepared, place)
    watch = Watch(training.early_stopping.metric, training.early_stopping.patience)
    saver = Saver(run, trainer, watch, Clock(), Tally(), average, training.keep)
    if run.steps():
        for warning in saver.restore():
            log.warning(warning)
        log.info("continuing after update %d", trainer.step)
    elif training.start_from is not None:
        for warning in start_from(trainer.model, training.start_from):
            log.warning(warning)
    return prepared, saver


def make_trainer(
    experiment: Experiment, prepared: Prepared, device: torch.device
) -> tuple[Trainer, MovingAverage | None]:
    """A model with its optimizer, ready for its first update, and the average of its parameters."""
    training = experiment.training
    torch.manual_seed(training.seed)
    source = prepared.source
    pieces = len(source) if isinstance(source, Vocabulary) else source
    model = build_model(experiment.model, pieces, len(prepared.target_vocabulary)).to(device)
    assert training.optimizer is not None and training.schedule is not None
    trainer = Trainer(
        model,
        OPTIMIZERS.build(training.optimizer, model.parameters()),
        SCHEDULES.build(training.schedule),
        make_stream(experiment, prepared),
        Precision(training.precision, device),
        accumulate=training.accumulate,
        clip_norm=training.clip_norm,
        label_smoothing=training.label_smoothing,
        output_chunk=training.output_chunk,
    )
    average = None if training.ema is None else MovingAverage(model, training.ema)
    return trainer, average


def _run(experiment: Experiment, prepared: Prepared, saver: Saver, ending: Ending) -> bool:
    trainer, training = saver.trainer, experiment.training
    metrics = Metrics(saver.run.folder, trainer.step)
    reporter = Reporter(trainer, metrics, saver.clock, saver.tally, training.log_every)
    validator = Validator(experiment, prepared, saver, trainer, metrics)
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    log.info(
        "%.2f M parameters on %s in %s, %d CPU threads",
        parameters / 1e6,
        trainer.precision.device,
        trainer.precision.name,
        torch.get_num_threads(),
    )

    def average(update: Update) -> None:
        if saver.average is not None:
            saver.average.update(update.step)

    def validate_and_save(update: Update) -> None:
        due = _due(update, training.validate_every) or bool(trainer.stopping)
        improved = validator() if due else False
        if saver.watch.exhausted:
            trainer.stop(ending.reached())
        save_due = update.step % training.save_every == 0 if training.save_every else due
        if save_due or improved or trainer.stopping or trainer.interrupted:
            saver.save()
        reporter.pause()

    with ProgressBar(trainer, _updates(experiment, trainer.stream)) as bar, Signals(trainer):
        trainer.hooks += [average, bar, ending, reporter, validate_and_save]
        reason = trainer.train()
    if not reason:
        log.info("interrupted after update %d; the same command continues", trainer.step)
        return False
    log.info(
        "finished after %s; best %s %.4f after update %d",
        reason,
        saver.watch.metric,
        saver.watch.best,
        saver.watch.best_step,
    )
    return True


def _due(update: Update, every: int | None) -> bool:
    return update.ends_epoch if every is None else update.step % every == 0


def _updates(experiment: Experiment, stream: Stream) -> int | None:
    """How many updates the run will take, for the time left; None when only the clock knows."""
    training = experiment.training
    if training.steps is not None:
        return training.steps
    if training.epochs is None:
        return None
    _, plan = stream.plan(0)
    return training.epochs * -(-len(plan) // training.accumulate)
