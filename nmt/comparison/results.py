"""Results of a comparison: scores with their significance, and costs, per system."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from sacrebleu.metrics.base import Metric

from nmt.comparison.measurement import Measurement, TestSet
from nmt.comparison.plan import System
from nmt.comparison.significance import SystemScores, holm, paired_p_value, resample
from nmt.errors import UserError, suggest
from nmt.evaluation.metrics import higher_is_better, make_metrics
from nmt.evaluation.significance import SAMPLES

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class SystemResult:
    """Results of one system.

    Attributes:
        system: the system
        measurements: one per seed
        scores: scores by metric
        p_values: p-value of the difference from the baseline by metric, after Holm's correction;
            empty for the baseline, and without one
    """

    system: System
    measurements: Sequence[Measurement]
    scores: dict[str, SystemScores]
    p_values: dict[str, float]

    @property
    def name(self) -> str:
        """Return the name of the system."""
        return self.system.name

    @property
    def costs(self) -> dict[str, int | float | None]:
        """Return parameters, and means over seeds of alignment errors, times and speeds."""
        runs = self.measurements
        speeds = [one.tokens_per_second for one in runs if one.tokens_per_second is not None]
        errors = [one.alignment_error for one in runs if one.alignment_error is not None]
        return {
            "alignment_error_rate": mean(errors) if errors else None,
            "parameters": runs[0].parameters,
            "updates": mean(one.updates for one in runs),
            "minutes": mean(one.minutes for one in runs),
            "training_tokens_per_second": mean(speeds) if speeds else None,
            "sentences_per_second": mean(len(one.texts) / max(one.seconds, 1e-9) for one in runs),
        }


@dataclass(frozen=True)
class Results:
    """Results of a comparison.

    Attributes:
        systems: one per system, in the order of the command
        test: the test text
        baseline: name of the system that the others are compared with; None for a single system
        scorers: sacreBLEU's metrics by name
        tokenize: tokenizer of BLEU; None for sacreBLEU's default
    """

    systems: Sequence[SystemResult]
    test: TestSet
    baseline: str | None
    scorers: dict[str, Metric]
    tokenize: str | None

    @property
    def metrics(self) -> list[str]:
        """Return the metrics in the order of the tables."""
        return list(self.scorers)

    @property
    def signatures(self) -> dict[str, str]:
        """Return sacreBLEU's signatures by metric."""
        return {name: str(metric.get_signature()) for name, metric in self.scorers.items()}

    @property
    def has_alignments(self) -> bool:
        """Return whether a system has an alignment error rate."""
        return any(one.costs["alignment_error_rate"] is not None for one in self.systems)

    def best(self, metric: str) -> float:
        """Return the best mean score."""
        means = [result.scores[metric].mean for result in self.systems]
        return max(means) if higher_is_better(metric) else min(means)

    def to_dict(self) -> dict[str, Any]:
        """Return the results as plain data for JSON."""
        return {
            "test": self.test.description,
            "lines": len(self.test.sources),
            "baseline": self.baseline,
            "bootstrap_samples": SAMPLES,
            "signatures": self.signatures,
            "systems": [
                {
                    "name": result.name,
                    "runs": [str(one.path) for one in result.measurements],
                    "seeds": [one.seed for one in result.measurements],
                    "overrides": [text for run in result.system.runs[:1] for text in run.overrides],
                    "scores": {
                        metric: {
                            "mean": scores.mean,
                            "deviation": scores.deviation,
                            "interval": scores.interval,
                            "seeds": list(scores.scores),
                            "p_value": result.p_values.get(metric),
                        }
                        for metric, scores in result.scores.items()
                    },
                    **result.costs,
                }
                for result in self.systems
            ],
        }


def find_baseline(systems: Sequence[System], name: str | None) -> str | None:
    """Return the name of the baseline: the given one, or the first of several systems.

    Raises:
        UserError: no system has this name, or it is the only system
    """
    names = [system.name for system in systems]
    if name is None:
        return names[0] if len(names) > 1 else None
    if name not in names:
        raise UserError(f"no system is named '{name}'; {suggest(name, names)}", "--baseline")
    if len(names) == 1:
        raise UserError("has no effect with a single system; remove it", "--baseline")
    return name


def evaluate(
    measured: Iterable[tuple[System, Measurement]],
    test: TestSet,
    metrics: Sequence[str],
    *,
    baseline: str | None,
    tokenize: str | None = None,
    lowercase: bool = False,
) -> Results:
    """Score the translations of all systems, and compare each with the baseline.

    Args:
        measured: systems and the measurements of their runs
        test: the test text
        metrics: some of `nmt.evaluation.metrics.METRICS`
        baseline: name of a system; None to compare none
        tokenize, lowercase: as in `nmt.evaluation.metrics.score`
    """
    runs: dict[str, tuple[System, list[Measurement]]] = {}
    for system, measurement in measured:
        runs.setdefault(system.name, (system, []))[1].append(measurement)
    made = make_metrics(metrics, tokenize=tokenize, lowercase=lowercase)
    scores = {
        name: {
            metric: resample(sacrebleu, [one.texts for one in found], test.references)
            for metric, sacrebleu in made.items()
        }
        for name, (_, found) in runs.items()
    }
    p_values: dict[str, dict[str, float]] = {name: {} for name in runs}
    if baseline in runs:
        for metric in made:
            others = [name for name in runs if name != baseline]
            compared = {
                name: paired_p_value(scores[name][metric], scores[baseline][metric])
                for name in others
            }
            for name, p_value in holm(compared).items():
                p_values[name][metric] = p_value
    return Results(
        [SystemResult(s, found, scores[n], p_values[n]) for n, (s, found) in runs.items()],
        test,
        baseline if baseline in runs else None,
        made,
        tokenize,
    )
