"""Callbacks: actions of a Python program during a training that it has started."""

from collections.abc import Iterable, Mapping

from nmt.errors import UserError, printable
from nmt.training.hook import Hook, HookOrder, Update
from nmt.training.trainer import Trainer


class Callback:
    """Actions during training. A subclass overrides those that it needs.

    A callback ends training by `trainer.stop.finish("reason")`: the model is validated and saved a
    last time. An exception ends training as well, and the last checkpoint remains. Random numbers
    of the global generators belong to the training, so a callback draws from its own.
    """

    def on_update(self, trainer: Trainer, update: Update) -> None:
        """Act after an update, before its reports, its validation and its checkpoint.

        Args:
            trainer: the trainer, with `model`, `optimizer`, `learning_rate` and `stop`
            update: number, loss and gradient norm of the update
        """

    def on_report(
        self, trainer: Trainer, kind: str, step: int, values: Mapping[str, int | float]
    ) -> None:
        """Act on a report.

        Args:
            trainer: the trainer
            kind: "train", or "valid" for a validation
            step: number of completed updates
            values: the values of `metrics.jsonl`, such as "loss" and "chrf"
        """


class RunCallback(Hook):
    """Hook that runs a callback after every update.

    Args:
        trainer: the trainer
        callback: the callback
    """

    # A stop that it requests has its last validation and checkpoint at the same update.
    order = HookOrder.STOP

    def __init__(self, trainer: Trainer, callback: Callback) -> None:
        self._trainer, self._callback = trainer, callback

    def run(self, update: Update) -> None:
        self._callback.on_update(self._trainer, update)


def check_callbacks(callbacks: object) -> None:
    """Check the types of callbacks.

    Raises:
        UserError: one of them is a class, a function or another object
    """
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
        kind = printable(repr(callbacks))
        raise UserError(f"callbacks: expected a list of objects of nmt.Callback, got {kind}")
    for callback in callbacks:
        if not isinstance(callback, Callback):
            kind = (
                f"the class {callback.__name__}" if isinstance(callback, type) else repr(callback)
            )
            raise UserError(f"callbacks: expected objects of nmt.Callback, got {printable(kind)}")
