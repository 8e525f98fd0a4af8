"""One call of nmt-train: everything is put together, and the trainer runs."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from nmt.config.schema import Experiment
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.model.build import build_model
from nmt.model.devices import prepare_device
from nmt.model.saved import Run
from nmt.registry import OPTIMIZERS, SCHEDULES
from nmt.training.average import MovingAverage
from nmt.training.capacity import settle_batch_tokens
from nmt.training.ending import Ending, Signals
from nmt.training.folder import opened_run
from nmt.training.precision import Precision
from nmt.training.preparation import Prepared, make_stream, prepare, start_from
from nmt.training.ranks import ALONE, Ranks
from nmt.training.report import Metrics, ProgressBar, Reporter, start_log
from nmt.training.saver import Saver
from nmt.training.trainer import Trainer, Update
from nmt.training.validator import Validator
from nmt.training.watch import Clock, Tally, Watch

log = logging.getLogger("nmt")


def train(
    experiment: Experiment, folder: Path, *, device: str, restart: bool, ranks: Ranks = ALONE
) -> bool:
    """Carry out an experiment in a run directory, from where it stands; whether it is finished.

    Of several processes the first makes the run directory and writes all that stands there; the
    others read it, with the same text and checkpoint, and train, validate and stop with it.

    Raises:
        UserError: for whatever the user has to put right
    """
    with _opened(folder, experiment, restart, ranks) as run:
        prepared, saver = _prepare(experiment, run, device, ranks)
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


@contextmanager
def _opened(folder: Path, experiment: Experiment, restart: bool, ranks: Ranks) -> Iterator[Run]:
    """The run, which only the first rank begins, and keeps or takes back in the end."""
    if not ranks.first:
        yield Run(folder)
        return
    with opened_run(folder, experiment, restart=restart) as run:
        yield run


def _prepare(experiment: Experiment, run: Run, device: str, ranks: Ranks) -> tuple[Prepared, Saver]:
    """Everything up to the first update, or to the one after the last checkpoint."""
    start_log(run.folder, silent=not ranks.first)
    training = experiment.training
    place = prepare_device(device, threads=training.threads, deterministic=training.deterministic)
    if experiment.data.pictures is not None:
        log.info("reading the pictures, unless an earlier start has")
    prepared = _prepared_together(experiment, run, ranks)
    log.info("training text: %s", prepared.train.report)
    log.info("validation text: %s", prepared.valid.report)
    trainer, average = make_trainer(experiment, prepared, place, ranks)
    settle_batch_tokens(trainer, training, run)
    watch = Watch(training.early_stopping.metric, training.early_stopping.patience)
    saver = Saver(run, trainer, watch, Clock(), Tally(), average, training.keep)
    if ranks.first_says(lambda: bool(run.steps())):
        for warning in saver.restore():
            log.warning(warning)
        log.info("continuing after update %d", trainer.step)
    elif training.start_from is not None:
        for warning in start_from(trainer.model, training.start_from):
            log.warning(warning)
    return prepared, saver


def _prepared_together(experiment: Experiment, run: Run, ranks: Ranks) -> Prepared:
    """What the first rank learns and encodes, the others find."""
    with ranks.first_goes_ahead():
        if not run.config.is_file():
            message = "is not seen by all processes; name a --run-dir that all machines share"
            raise UserError(message, str(run.folder))
        prepared = prepare(experiment, run)
    if ranks.same(prepared.train.fingerprint) != prepared.train.fingerprint:
        raise UserError(
            "this process reads another text than the first one; give all machines the same files",
            str(experiment.data.train),
        )
    return prepared


def make_trainer(
    experiment: Experiment, prepared: Prepared, device: torch.device, ranks: Ranks = ALONE
) -> tuple[Trainer, MovingAverage | None]:
    """A model with its optimizer, ready for its first update, and the average of its parameters.

    The first values of the parameters are the same on all ranks, and dropout is not.
    """
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
        ranks=ranks,
    )
    if ranks.count > 1:
        torch.manual_seed(_seed_of_rank(training.seed, ranks.share.number))
    average = None if training.ema is None else MovingAverage(model, training.ema)
    return trainer, average


def _seed_of_rank(seed: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, rank]).generate_state(1)[0])


def _run(experiment: Experiment, prepared: Prepared, saver: Saver, ending: Ending) -> bool:
    trainer, training = saver.trainer, experiment.training
    metrics = Metrics(saver.run.folder, trainer.step, silent=not trainer.ranks.first)
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
    if trainer.ranks.count > 1:
        batches = trainer.accumulate * trainer.ranks.count
        log.info("%d processes, %d batches an update", trainer.ranks.count, batches)

    def average(update: Update) -> None:
        if saver.average is not None:
            saver.average.update(update.step)

    def validate_and_save(update: Update) -> None:
        due = _due(update, training.validate_every) or bool(trainer.stopping)
        improved = validator() if due else False
        if due:
            trainer.heed()
        if saver.watch.exhausted:
            trainer.stop(ending.reached())
        save_due = update.step % training.save_every == 0 if training.save_every else due
        if save_due or improved or trainer.stopping or trainer.interrupted:
            saver.save()
        reporter.pause()

    with ProgressBar(trainer, _updates(experiment, trainer)) as bar, Signals(trainer):
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


def _updates(experiment: Experiment, trainer: Trainer) -> int | None:
    """How many updates the run will take, for the time left; None when only the clock knows."""
    training = experiment.training
    if training.steps is not None:
        return training.steps
    if training.epochs is None:
        return None
    _, plan = trainer.stream.plan(0)
    return training.epochs * -(-len(plan) // (trainer.accumulate * trainer.ranks.count))
