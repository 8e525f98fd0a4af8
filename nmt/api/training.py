"""Training of an experiment in a Python program."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from nmt.api.experiment import Overrides, Source, load
from nmt.api.process import settings_of_training
from nmt.api.run import Run
from nmt.device import resolve_device
from nmt.distributed.rank import RankInfo
from nmt.errors import UserError
from nmt.training import run as training_run
from nmt.training.callback import Callback, check_callbacks
from nmt.training.dry_run import check_components, dry_run
from nmt.training.trainer import Trainer


def train(
    experiment: Source,
    overrides: Overrides = (),
    *,
    run: str | PathLike[str] | None = None,
    restart: bool = False,
    device: str = "auto",
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
) -> Run:
    """Train the model of an experiment as nmt-train does, and return its run.

    The same call continues an unfinished run, also one that nmt-train has begun, and trains a
    finished one for longer if a limit is raised. Ctrl-C, or the stop button of a notebook, ends
    training after the current update with a checkpoint; the run then has no `stop_reason`.
    Afterwards the process has the settings and the random states that it had before.

    Args:
        experiment: the path of an experiment file, its sections as dictionaries, or an `Experiment`
        overrides: values by dotted key, such as `{"training.epochs": 3}`, or texts
            `"training.epochs=3"` as on the command line
        run: the run directory (default: `runs/` and the name of the experiment file)
        restart: rename an existing run directory and start over
        device: auto (a GPU if available), cpu or cuda
        callbacks: called after every update and with every report
        quiet: show neither log lines nor a progress bar; `train.log` is written all the same

    Raises:
        UserError: if the experiment, its data or the run directory cannot be used
    """
    with open_trainer(
        experiment,
        overrides,
        run=run,
        restart=restart,
        device=device,
        callbacks=callbacks,
        quiet=quiet,
    ) as trainer:
        trainer.train()
    return Run(_directory(experiment, run), stop_reason=trainer.stop.reason)


@contextmanager
def open_trainer(
    experiment: Source,
    overrides: Overrides = (),
    *,
    run: str | PathLike[str] | None = None,
    restart: bool = False,
    device: str = "auto",
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
) -> Iterator[Trainer]:
    """Prepare a training and yield its trainer, for a loop of the program's own.

    The arguments are those of `train`, and this loop does the same:

        with nmt.open_trainer("my.yaml") as trainer:
            for update in trainer.updates():
                trainer.run_hooks(update)

    `updates` ends when a limit of the experiment is reached, or after
    `trainer.stop.finish("reason")`. `run_hooks` reports, validates and saves when that is due; a
    loop without it has neither checkpoints nor limits. The run is locked until the block ends.

    Raises:
        UserError: if the experiment, its data or the run directory cannot be used
    """
    RankInfo.from_environment().require_single_process("nmt.train and nmt.open_trainer")
    check_callbacks(callbacks)
    loaded = load(experiment, overrides)
    directory = _directory(experiment, run)
    check_components(loaded)
    settings = settings_of_training(loaded.experiment.training, resolve_device(device))
    with (
        settings,
        loaded.located(),
        training_run.open_trainer(
            loaded.experiment,
            directory,
            device=device,
            restart=restart,
            callbacks=callbacks,
            quiet=quiet,
        ) as trainer,
    ):
        yield trainer


def check(experiment: Source, overrides: Overrides = (), *, device: str = "auto") -> str:
    """Test an experiment as `nmt-train --check` does, and return the report; write no files.

    Raises:
        UserError: for any error that would stop a training
    """
    loaded = load(experiment, overrides)
    check_components(loaded)
    settings = settings_of_training(loaded.experiment.training, resolve_device(device))
    with settings, loaded.located():
        return dry_run(loaded.experiment, device=device)


def _directory(experiment: Source, run: str | PathLike[str] | None) -> Path:
    if run is not None:
        return Path(run)
    if isinstance(experiment, str | PathLike):
        return Path("runs") / Path(experiment).stem
    raise UserError("run: an experiment without a file has no default; give a run directory")
