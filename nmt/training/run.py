"""One training run: data and model go in, hooks are attached, and the trainer runs."""

import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import FrameType

import torch

from nmt.config.choices import RecurrenceBackend
from nmt.config.schema import Experiment, TrainingConfig
from nmt.data.shortlist import learn_shortlist
from nmt.distributed.launch import terminate
from nmt.distributed.process_group import (
    SINGLE_PROCESS_GROUP,
    ProcessGroup,
    is_lost_connection,
)
from nmt.errors import LOWER_MEMORY, OptionError, UserError, explained_out_of_memory
from nmt.model.decoders.recurrent import RecurrentDecoder
from nmt.native import library
from nmt.registry import SCHEDULES
from nmt.storage.atomic import replace_bytes
from nmt.storage.lock import RunLock
from nmt.storage.open_run import open_run_dir
from nmt.storage.run_dir import RunDir
from nmt.storage.run_inputs import metric_of_run
from nmt.training.at_end import run_at_end
from nmt.training.callback import Callback, RunCallback
from nmt.training.final_report import FinalReport
from nmt.training.hook import Hook, StopRequest
from nmt.training.hooks import (
    AverageParameters,
    LogTraining,
    ProgressBar,
    SaveCheckpoint,
    StoppingCriteria,
    Validate,
)
from nmt.training.limits import RemainingTime, TrainingLength
from nmt.training.metrics_log import MetricsLogger, start_logging
from nmt.training.session import Session, prepare_session
from nmt.training.trainer import Trainer
from nmt.training.validation import Validator

log = logging.getLogger("nmt")


@contextmanager
def open_trainer(
    experiment: Experiment,
    directory: Path,
    *,
    device: str,
    restart: bool,
    process_group: ProcessGroup = SINGLE_PROCESS_GROUP,
    recurrence: RecurrenceBackend | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    command: Sequence[str] = (),
) -> Iterator[Trainer]:
    """Prepare a run, new or to be continued, and yield its trainer before the next update.

    The trainer has the hooks of the run. Its `train`, or a loop over its `updates`, does the
    updates that are left. The run is locked until the block ends. Of several processes the first
    writes all files; the others read the text and the checkpoint, and train, validate and stop
    together with it.

    Args:
        experiment: the experiment
        directory: the run directory
        device: auto, cpu or cuda
        restart: move an existing run aside and start over
        process_group: processes that train the model together
        recurrence: overrides `training.recurrence` for debugging; the config stays as it is
        callbacks: actions of the calling program
        quiet: show neither log lines nor a progress bar; `train.log` is written all the same
        command: arguments of the command that trains, for advice at its end

    Raises:
        UserError: if the experiment, its data or the run directory cannot be used
    """
    # One process writes the files of a run, from its preparation to its end.
    with RunLock() as lock, explained_out_of_memory(LOWER_MEMORY):
        metric = process_group.on_first(lambda: _metric(experiment, directory, restart))
        with_metric = experiment.with_metric(metric)
        # A UserError inside this block leaves no trace: a new run is removed, an old one put back.
        with _open_run(directory, with_metric, restart, process_group, lock) as run:
            start_logging(run, silent=not process_group.is_first, quiet=quiet)
            session = prepare_session(with_metric, run, device, process_group, recurrence)
        # From here on the run exists, and an error leaves it as it is.
        trainer = session.trainer
        criteria = StoppingCriteria(trainer, session.best, session.limits)
        # A new run has an update, and so a checkpoint, however short its minutes are.
        if trainer.state.step and (reason := criteria.reached()):
            log.info("nothing left to do: %s are done", reason)
            trainer.stop.finish(reason)
            yield trainer
            _store_shortlist(session)
            return
        metrics = _open_metrics(session, callbacks)
        validator = _build_validator(session, metrics)
        remaining = _remaining_time(session)
        progress = ProgressBar(trainer, remaining, quiet=quiet)
        trainer.add_hooks(
            [
                criteria,
                progress,
                *_build_hooks(session, criteria, metrics, validator, remaining),
                *(RunCallback(trainer, callback) for callback in callbacks),
            ]
        )
        at_end = session.experiment.training.at_end
        with run_at_end(at_end, run, trainer.stop, process_group):
            signals = _handle_signals(trainer.stop, process_group)
            with metrics, progress, signals, session.checkpointer:
                yield trainer
            if trainer.stop.reason is not None:
                _store_shortlist(session)
            # Last, since it ends with the command that goes on.
            _log_end(session, validator, metrics, command)


def _open_metrics(session: Session, callbacks: Sequence[Callback]) -> MetricsLogger:
    """Open the reports of a run, without those that only the end of training had added.

    They are not part of a longer training.
    """
    trainer = session.trainer
    unscheduled = [] if session.running.is_empty else ["train"]
    if session.best.forget_end():
        unscheduled.append("valid")
        session.checkpointer.repair_links()
    _log_start(trainer, session.experiment.training)
    metrics = MetricsLogger(
        session.run,
        trainer.state.step,
        unscheduled=unscheduled,
        trackers=session.experiment.training.report,
        options=session.experiment.to_dict(),
        silent=not trainer.process_group.is_first,
    )
    metrics.add_listeners(partial(callback.on_report, trainer) for callback in callbacks)
    return metrics


def _build_validator(session: Session, metrics: MetricsLogger) -> Validator:
    return Validator(
        session.experiment,
        session.datasets,
        session.run,
        session.trainer,
        session.average,
        session.best,
        metrics,
    )


def _remaining_time(session: Session) -> RemainingTime:
    trainer = session.trainer
    length = TrainingLength(
        session.limits, trainer.updates_per_epoch, lambda: trainer.timer.minutes
    )
    return RemainingTime(length, trainer.state.step, trainer.timer.minutes)


def _build_hooks(
    session: Session,
    criteria: StoppingCriteria,
    metrics: MetricsLogger,
    validator: Validator,
    remaining: RemainingTime,
) -> list[Hook]:
    """Build the hooks that report, validate, save and average."""
    training, trainer, best = session.experiment.training, session.trainer, session.best
    # `HookOrder` decides when each of them runs, not the order of this list.
    hooks: list[Hook] = [
        LogTraining(
            trainer,
            metrics,
            session.running,
            remaining,
            log_every=training.log_every,
            log_seconds=training.log_seconds,
        ),
        Validate(validator, trainer, criteria, best, training.validate_every),
        SaveCheckpoint(session.checkpointer, best, training.save_every or training.validate_every),
    ]
    if session.average is not None:
        hooks.append(AverageParameters(session.average))
    return hooks


def _log_end(
    session: Session, validator: Validator, metrics: MetricsLogger, command: Sequence[str]
) -> None:
    trainer, best = session.trainer, session.best
    if trainer.stop.reason is None:
        log.info("interrupted after update %d; the same command continues", trainer.state.step)
        return
    log.info(
        "finished after %s; best %s %.4f after update %d",
        trainer.stop.reason,
        best.metric,
        best.best,
        best.best_step,
    )
    if trainer.process_group.is_first:
        report = FinalReport(
            session.experiment, session.datasets, trainer, validator, best, session.limits, command
        )
        for line in report.lines(metrics.reports("valid")):
            log.info(line)


def _store_shortlist(session: Session) -> None:
    """Learn the shortlist of a run with source text, unless it has one."""
    run, datasets = session.run, session.datasets
    source = datasets.source_vocabulary
    if source is None or run.shortlist.exists() or not session.trainer.process_group.is_first:
        return
    shortlist = learn_shortlist(datasets.train, source, datasets.target_vocabulary)
    replace_bytes(run.shortlist, shortlist.to_bytes())
    log.info("learned the shortlist for --shortlist and --fast")


def _metric(experiment: Experiment, directory: Path, restart: bool) -> str | list[str]:
    """Return the metric of early stopping: configured, of the run that continues, or the default.

    A run thus keeps its metric if the default, which depends on evaluation.metrics, changes.
    """
    if (configured := experiment.training.early_stopping.metric) is not None:
        return configured
    metric = None if restart else metric_of_run(RunDir(directory))
    if metric is None:
        return experiment.default_metric
    for name in [metric] if isinstance(metric, str) else metric:
        if name not in experiment.evaluation.measured:
            message = f"the best checkpoint of this run is that of {name}; add it to this list"
            raise OptionError(message, "evaluation.metrics")
    return metric


def _open_run(
    directory: Path,
    experiment: Experiment,
    restart: bool,
    process_group: ProcessGroup,
    lock: RunLock,
) -> AbstractContextManager[RunDir]:
    """Open the run on the first rank, which alone creates it and removes it after an error."""
    if not process_group.is_first:
        return nullcontext(RunDir(directory))
    # Such a schedule lowers the learning rate after validations.
    depends = SCHEDULES.build(experiment.training.schedule).depends_on_validation
    fixed = ("training.validate_every",) if depends else ()
    return open_run_dir(directory, experiment, restart=restart, lock=lock, fixed_options=fixed)


def _log_start(trainer: Trainer, training: TrainingConfig) -> None:
    frozen = sum(one.numel() for one in trainer.model.parameters() if not one.requires_grad)
    log.info(
        "%.2f M parameters%s on %s in %s, %d CPU threads",
        sum(parameter.numel() for parameter in trainer.model.parameters()) / 1e6,
        f" ({frozen / 1e6:.2f} M frozen)" if frozen else "",
        trainer.precision.device,
        trainer.precision.name,
        torch.get_num_threads(),
    )
    decoder = trainer.model.decoder
    if isinstance(decoder, RecurrentDecoder):
        obstacles = sorted(decoder.fused_obstacles)
        reason = f", since fused does not support {', '.join(obstacles)}" if obstacles else ""
        log.info("recurrence: %s", "fused" if decoder.uses_fused else f"eager{reason}")
    misses_kernels = not (library.is_available() or library.is_switched_off())
    if trainer.precision.device.type == "cpu" and misses_kernels:
        log.info("no kernels in C, which train faster: no C compiler when nmt was installed?")
    if trainer.graphs is not None:
        log.info("updates run as CUDA graphs, one per shape of batches")
    processes = trainer.process_group.world_size
    if processes > 1:
        log.info("%d processes, %d batches per update", processes, trainer.accumulate * processes)
    elif training.gradient_exchange != "fp32":
        log.warning("training.gradient_exchange has no effect in a single process")


@contextmanager
def _handle_signals(stop: StopRequest, process_group: ProcessGroup) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM stop training after the update, and the second at once.

    Python allows signal handlers only in the main thread; elsewhere the signals are left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def request_stop(number: int, frame: FrameType | None) -> None:
        if stop.signal_received:
            # Without a checkpoint: the user does not wait for the end of the update.
            raise KeyboardInterrupt
        stop.signal_received = True

    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, request_stop) for number in numbers]
    try:
        yield
    except Exception as error:
        # torchrun stops all ranks after the failure of one, which is the one to report. Its signal
        # may arrive before this rank meets the same error, which the first rank reports.
        is_reported = isinstance(error, UserError) and not process_group.is_first
        if stop.signal_received and (is_reported or is_lost_connection(error)):
            terminate()
        raise
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            # A Python program that calls `train` keeps its own handlers.
            signal.signal(number, handler)
