"""Reports to Weights & Biases."""

from collections.abc import Mapping
from typing import Any

from nmt.registry import TRACKERS
from nmt.training.trackers.tracker import TrackedRun, Tracker
from nmt.version import DISTRIBUTION


@TRACKERS.register("wandb")
class WeightsAndBiases(Tracker):
    """A run of Weights & Biases (wandb.ai or a server of your own); requires the package wandb.

    Its environment variables hold as everywhere: `WANDB_API_KEY`, `WANDB_MODE=offline`. The x axis
    is `step`. Updates that an interruption has undone appear twice, because the service deletes no
    values.

    Args:
        project: project that contains the run
        entity: user or team that owns the project (default: that of the account)
        name: name of the run (default: that of the run directory)
        group: runs that belong together, such as the seeds of one experiment
    """

    package = "wandb"
    requirement = f"{DISTRIBUTION}[wandb]"

    def __init__(
        self,
        run: TrackedRun,
        *,
        project: str = "nmt",
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
    ) -> None:
        import wandb

        self._run: Any = wandb.init(
            project=project,
            entity=entity,
            name=name or run.directory.path.resolve().name,
            group=group,
            dir=str(run.folder("wandb")),
            id=run.stored_id("wandb"),
            resume="allow",
            config=dict(run.options),
        )
        run.store_id("wandb", self._run.id)
        # The service refuses a step below the last one, which a continued run may have to report.
        self._run.define_metric("step")
        for kind in ("train", "valid"):
            self._run.define_metric(f"{kind}/*", step_metric="step")

    def add(self, kind: str, step: int, values: Mapping[str, int | float]) -> None:
        named = {f"{kind}/{name}": value for name, value in values.items()}
        self._run.log({"step": step, **named})

    def close(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))
