"""Reports to MLflow."""

import time
from collections.abc import Mapping
from typing import Any

from nmt.config.yaml_source import leaves
from nmt.registry import TRACKERS
from nmt.training.trackers.tracker import TrackedRun, Tracker
from nmt.version import DISTRIBUTION

MAX_PARAMETER = 500
"""Characters of a parameter that every version of the server accepts."""
PARAMETERS_PER_CALL = 100


@TRACKERS.register("mlflow")
class MlFlow(Tracker):
    """A run of MLflow, on a server or in a database; requires the package mlflow-skinny or mlflow.

    Updates that an interruption has undone appear twice, because MLflow deletes no values.

    Args:
        experiment: experiment that contains the run; created if it does not exist
        uri: address of the server, or database such as sqlite:///mlflow.db, which requires the
            whole package mlflow (default: that of `MLFLOW_TRACKING_URI`)
        name: name of the run (default: that of the run directory)
    """

    package = "mlflow"
    requirement = f"{DISTRIBUTION}[mlflow]"

    def __init__(
        self,
        run: TrackedRun,
        *,
        experiment: str = "nmt",
        uri: str | None = None,
        name: str | None = None,
    ) -> None:
        from mlflow import MlflowClient

        # The client, unlike `mlflow.start_run`, changes nothing in the process.
        self._client: Any = MlflowClient(tracking_uri=uri)
        stored = run.stored_id("mlflow")
        if stored is not None:
            self._client.update_run(stored, status="RUNNING")
            self._id = stored
            return
        found = self._client.get_experiment_by_name(experiment)
        home = found.experiment_id if found else self._client.create_experiment(experiment)
        title = name or run.directory.path.resolve().name
        self._id = self._client.create_run(home, run_name=title).info.run_id
        run.store_id("mlflow", self._id)
        self._log_parameters(run)

    def _log_parameters(self, run: TrackedRun) -> None:
        from mlflow.entities import Param

        parameters = [
            Param(".".join(key), str(value)[:MAX_PARAMETER]) for key, value in leaves(run.options)
        ]
        for start in range(0, len(parameters), PARAMETERS_PER_CALL):
            part = parameters[start : start + PARAMETERS_PER_CALL]
            self._client.log_batch(self._id, params=part)

    def add(self, kind: str, step: int, values: Mapping[str, int | float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(f"{kind}/{name}", float(v), now, step) for name, v in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def close(self, *, failed: bool) -> None:
        self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED")
