"""Tuning of options by Optuna (Akiba et al. 2019), with the same number of trials per system."""

import csv
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt.api.training import train
from nmt.comparison.plan import SEED, System, format_value, parse_grid, safe_name
from nmt.config.loader import load_experiment
from nmt.config.yaml_source import read_value
from nmt.errors import UserError
from nmt.evaluation.metrics import higher_is_better
from nmt.storage.atomic import file_errors, replace_file
from nmt.training.callback import Callback
from nmt.training.trainer import Trainer
from nmt.version import install_command

if TYPE_CHECKING:
    import optuna

MAX_TRIALS = 10_000
FAILURE = "failure"  # attribute of a trial that could not be trained


@dataclass(frozen=True)
class Range:
    """Numbers between two bounds, which are included."""

    low: int | float
    high: int | float
    log: bool = False


@dataclass(frozen=True)
class Tuning:
    """A search for the best values of options.

    Attributes:
        trials: trainings per system
        space: a range, or the values to choose from as texts, by dotted key
    """

    trials: int
    space: Mapping[str, Range | Sequence[str]]


def parse_tuning(texts: Sequence[str], origin: str) -> Tuning:
    """Read `N key=LOW..HIGH key=LOW..HIGH:log key=VALUE,VALUE`.

    A range of two integers has integers only; `:log` searches it on a logarithmic scale.

    Raises:
        UserError: for a text of another form
    """
    count, *ranges = texts
    if not count.isdecimal() or not 1 <= int(count) <= MAX_TRIALS or not ranges:
        message = f"write the number of trials, at most {MAX_TRIALS}, then key=LOW..HIGH"
        raise UserError(message, origin)
    space: dict[str, Range | Sequence[str]] = {}
    for text in ranges:
        key, _, values = text.partition("=")
        if key == SEED:
            raise UserError(f"{SEED} is not tuned; use --seeds", origin)
        if ".." in values:
            bounds, _, scale = values.partition(":")
            low, high = (read_value(bound, origin) for bound in bounds.split("..", 1))
            is_number = all(type(bound) in (int, float) for bound in (low, high))
            if not is_number or scale not in ("", "log") or key in space:
                raise UserError(f"'{text}' is not a range; write key=LOW..HIGH[:log]", origin)
            assert isinstance(low, int | float) and isinstance(high, int | float)
            if not low < high or (scale and low <= 0):
                raise UserError(f"'{text}': LOW must be below HIGH, and above 0 with :log", origin)
            space[key] = Range(low, high, bool(scale))
        else:
            (listed,) = parse_grid([text], origin).values()
            space[key] = [format_value(value) for value in listed]
    return Tuning(int(count), space)


def tune(
    system: System,
    tuning: Tuning,
    folder: Path,
    *,
    device: str = "auto",
    report: Callable[[str], object],
) -> System:
    """Search for the best values of a system, and return the system with them.

    The objective is the metric of the best checkpoint on the validation text, with the first seed.
    A trial that is worse than the median of the earlier ones at the same update ends early. Trials
    are recorded, and only those that are left are trained.

    Args:
        system: system whose runs have an experiment file
        tuning: number of trials and the space of values
        folder: directory of the trials
        device: auto, cpu or cuda
        report: receives a line before each trial and one after the last

    Raises:
        UserError: an option is unknown, Optuna is not installed, or no trial has succeeded
        KeyboardInterrupt: a training was interrupted
    """
    metric, first = _metric(system), system.runs[0]
    assert first.config is not None
    # Unknown options are an error before the first trial, and not of every trial.
    lowest = {key: v.low if isinstance(v, Range) else v[0] for key, v in tuning.space.items()}
    load_experiment(first.config, [*first.overrides, *_overrides(lowest)])
    study = _open_study(system, folder)
    distributions = {key: _distribution(values) for key, values in tuning.space.items()}
    while (done := len(_finished(study))) < tuning.trials:
        # Another seed for each trial: a continued search would repeat its random values.
        trial = _ask(study, distributions, first.seed + done)
        values = _overrides(trial.params)
        report(f"{system.name}: trial {done + 1} of {tuning.trials}: {' '.join(values)}")
        # The same values have the same directory, so that an interrupted trial continues.
        run_dir = folder / f"{safe_name(system.name)}-trial-{_digest(values)}"
        pruning = _Pruning(trial, metric)
        try:
            run = train(
                first.config,
                [*first.overrides, *values, "training.keep=1"],
                run=run_dir,
                device=device,
                callbacks=[pruning],
            )
        except UserError as error:  # of values that the model does not support, or diverging
            report(f"{run_dir}: failed: {error}")
            trial.set_user_attr(FAILURE, str(error))
            _tell(study, trial, None)
            continue
        if run.stop_reason is None:
            raise KeyboardInterrupt
        _tell(study, trial, None if pruning.is_pruned else run.best[metric])
    replace_file(folder / f"{safe_name(system.name)}.csv", _to_csv(study, tuning, metric))
    if not any(trial.state.name == "COMPLETE" for trial in study.trials):
        message = f"no trial of {system.name} has succeeded; see the messages above"
        raise UserError(message, "--tune")
    best = _overrides(study.best_params)
    report(f"{system.name}: best {metric} {study.best_value:.4f} with {' '.join(best)}")
    # Other values, of a search with more trials, are other runs.
    names = [f"{safe_name(system.name)}-{_digest(best)}-seed{run.seed}" for run in system.runs]
    runs = tuple(
        replace(run, path=run.path.with_name(name), overrides=(*run.overrides, *best))
        for run, name in zip(system.runs, names, strict=True)
    )
    return replace(system, runs=runs)


def _ask(study: "optuna.Study", distributions: Any, seed: int) -> "optuna.Trial":
    import optuna

    study.sampler = optuna.samplers.TPESampler(seed=seed)
    try:
        return study.ask(distributions)
    except ValueError as error:
        message = f"the recorded trials have other values ({error}); choose another -o"
        raise UserError(message, "--tune") from None


def _tell(study: "optuna.Study", trial: "optuna.Trial", value: float | None) -> None:
    """Record the result of a trial; None for one that was pruned."""
    from optuna.trial import TrialState

    study.tell(trial, value, TrialState.PRUNED if value is None else TrialState.COMPLETE)


def _overrides(values: Mapping[str, object]) -> list[str]:
    return [f"{key}={format_value(value)}" for key, value in values.items()]


def _digest(values: Sequence[str]) -> str:
    return hashlib.sha256(" ".join(values).encode()).hexdigest()[:8]


class _Pruning(Callback):
    """Callback that passes validations to Optuna, and ends a trial without prospects."""

    def __init__(self, trial: "optuna.Trial", metric: str) -> None:
        self._trial, self._metric, self.is_pruned = trial, metric, False

    def on_report(
        self, trainer: Trainer, kind: str, step: int, values: Mapping[str, int | float]
    ) -> None:
        if kind == "valid":
            self._trial.report(values[self._metric], step)
            if self._trial.should_prune() and not self.is_pruned:
                self.is_pruned = True
                trainer.stop.finish("a trial worse than the median")


def _open_study(system: System, folder: Path) -> "optuna.Study":
    """Open the record of the trials; those of a process that was interrupted are repeated."""
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        message = f"requires the package optuna; run {install_command('tune')}"
        raise UserError(message, "--tune") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with file_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / f"{safe_name(system.name)}.log"))),
        study_name="tuning",
        direction="maximize" if higher_is_better(_metric(system)) else "minimize",
        pruner=optuna.pruners.MedianPruner(),
        load_if_exists=True,
    )
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study.enqueue_trial(trial.params)
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def _finished(study: "optuna.Study") -> list["optuna.trial.FrozenTrial"]:
    """Return the trials that count: all that have ended by themselves."""
    return [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]


def _metric(system: System) -> str:
    metric = system.experiment.training.early_stopping.metric or system.experiment.default_metric
    return metric if isinstance(metric, str) else metric[0]


def _distribution(values: Range | Sequence[str]) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(values, Range):
        return CategoricalDistribution(list(values))
    if isinstance(values.low, int) and isinstance(values.high, int):
        return IntDistribution(values.low, values.high, log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def _to_csv(study: "optuna.Study", tuning: Tuning, metric: str) -> str:
    """Format the trials with their values and the metric, the last one reported if pruned."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["trial", "state", *tuning.space, metric])
    for trial in _finished(study):
        values = [trial.params[key] for key in tuning.space]
        state = "failed" if FAILURE in trial.user_attrs else trial.state.name.lower()
        writer.writerow([trial.number, state, *values, trial.value])
    return stream.getvalue()
