"""Reports as event files of TensorBoard."""

from collections.abc import Mapping

from nmt.registry import TRACKERS
from nmt.storage.atomic import file_errors
from nmt.training.trackers.tracker import TrackedRun, Tracker
from nmt.version import DISTRIBUTION


@TRACKERS.register("tensorboard")
class TensorBoard(Tracker):
    """Event files in the directory `tensorboard` of the run; requires the package tensorboard."""

    package = "tensorboard"
    requirement = f"{DISTRIBUTION}[tensorboard]"

    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._directory = run.directory.tensorboard
        # Later events are hidden, as later reports are removed from metrics.jsonl.
        with file_errors(self._directory):
            self._writer = SummaryWriter(str(self._directory), purge_step=run.step + 1)

    def add(self, kind: str, step: int, values: Mapping[str, int | float]) -> None:
        with file_errors(self._directory):
            for name, value in values.items():
                self._writer.add_scalar(f"{kind}/{name}", value, step)

    def close(self, *, failed: bool) -> None:
        with file_errors(self._directory):
            self._writer.close()
