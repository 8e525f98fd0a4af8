"""Meaning of the end of a training: its score, trivial baselines, and whether more would help."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nmt.config.schema import Experiment
from nmt.errors import UserError
from nmt.evaluation.baselines import score_baselines
from nmt.evaluation.metrics import METRICS
from nmt.evaluation.significance import SAMPLES, confidence_interval
from nmt.storage.atomic import JsonObject
from nmt.training.best_metric import BestMetricTracker, metric_sign
from nmt.training.datasets import Datasets
from nmt.training.limits import Limits
from nmt.training.trainer import Trainer
from nmt.training.validation import Validator

LOW_RATE = 0.1
"""Share of the learning rate below which more updates change little."""


@dataclass(frozen=True)
class FinalReport:
    """Report on a training that has finished, as sentences.

    Attributes:
        experiment: the experiment
        datasets: its data
        trainer: the trainer after its last update
        validator: the validator, with the translations of the best model
        best: tracker of the validation metric
        limits: limits of the training
        command: arguments of the command that has trained; empty without one
    """

    experiment: Experiment
    datasets: Datasets
    trainer: Trainer
    validator: Validator
    best: BestMetricTracker
    limits: Limits
    command: Sequence[str] = ()

    def lines(self, validations: Sequence[JsonObject]) -> Iterator[str]:
        """Yield the sentences.

        Args:
            validations: reports of all validations of the run
        """
        metric = self.best.metric
        if metric not in METRICS:  # it does not compare translations
            metric = self.experiment.default_metric
        if metric != "loss":
            yield from self._score(metric)
        yield from self._trend(validations)
        yield from self._advice()

    def _score(self, metric: str) -> Iterator[str]:
        if not self.validator.best_texts:
            try:
                self.validator.score_best()
            except UserError as error:
                yield f"the best model has no confidence interval: {error}"
                return
        translations = self.validator.best_texts
        sources, references = self.validator.sources, self.validator.references
        tokenize = self.validator.tokenizer if metric == "bleu" else None
        lowercase = self.experiment.evaluation.lowercase and metric != "ter"
        given = [references]
        value = self.validator.best_scores[metric]
        low, high = confidence_interval(
            metric, translations, given, tokenize=tokenize, lowercase=lowercase, samples=SAMPLES
        )
        yield (
            f"{metric} {value:.2f} on {len(references):,} validation sentences, 95 % "
            f"confidence interval {low:.2f} to {high:.2f}"
        )
        if self.datasets.source_vocabulary is None:  # images have no text to copy or to compare
            return
        corpus = self.datasets.train_corpus
        found = score_baselines(
            self.datasets.train.stats.read,
            corpus.pairs,
            sources,
            references,
            metric,
            copies=[source for source, _ in self.datasets.valid_corpus.untagged().pairs()],
            tokenize=tokenize,
            lowercase=lowercase,
        )
        shown = ", ".join(f"{metric} {other:.2f} by {name}" for name, other in found)
        yield f"trivial translations: {shown}"
        sign = metric_sign(metric)
        name, other = max(found, key=lambda baseline: sign * baseline.score)
        if sign * value <= sign * other:
            yield f"the model is not better than {name}, so it is of no use yet"
        elif low <= other <= high:
            yield f"{name} are within the confidence interval of the model"

    def _trend(self, validations: Sequence[JsonObject]) -> Iterator[str]:
        """Yield whether loss and metric were still improving at the last validation."""
        if len(validations) < 2:
            return
        losses = [validation["loss"] for validation in validations]
        lowest = min(range(len(losses)), key=losses.__getitem__)
        if lowest == len(losses) - 1:
            yield (
                f"the validation loss was still falling: {losses[-1]:.4f}, after "
                f"{losses[-2]:.4f} in the validation before"
            )
        else:
            yield (
                f"the validation loss does not fall anymore: it was lowest ({losses[lowest]:.4f}) "
                f"after update {validations[lowest]['step']}"
            )
        if (metric := self.best.metric) == "loss":
            return
        # Validations before the metric was added to the experiment do not have it.
        sign = metric_sign(metric)
        *earlier, last = [sign * one[metric] for one in validations if metric in one] or [0.0]
        if earlier and last > max(earlier):
            yield f"{metric} was still improving"

    def _advice(self) -> Iterator[str]:
        """Yield the command that trains for longer."""
        longer = self._longer()
        if longer is None:  # the calling program has ended the training
            return
        # Not from the schedule, whose clock is that of all ranks: only the first one reports.
        rate = self.trainer.rate_factor
        if rate > LOW_RATE:
            yield f"to go on: {self._command(longer)}"
            return
        step, warmup = self.trainer.state.step, getattr(self.trainer.schedule, "warmup", 0)
        if isinstance(warmup, int) and step < warmup:
            command = self._command({"training.schedule.warmup": max(1, step // 10)}, "--restart")
            yield (
                f"the learning rate has only reached {100 * rate:.2g} % of its maximum, because "
                f"training.schedule.warmup is {warmup} updates; with a shorter one: {command}"
            )
            return
        steps = self.experiment.training.schedule.options.get("steps")
        if isinstance(steps, int):
            longer["training.schedule.steps"] = 2 * steps
        yield (
            f"the learning rate has fallen to {100 * rate:.2g} % of its maximum, where more "
            "updates change little; to train for longer, start over: "
            f"{self._command(longer, '--restart')}"
        )

    def _longer(self) -> dict[str, int | float] | None:
        """Return twice the limit that was reached, by its dotted key."""
        state, (epochs, steps, minutes) = self.trainer.state, self.limits
        if epochs is not None and state.position.epoch >= epochs:
            return {"training.epochs": 2 * epochs}
        if steps is not None and state.step >= steps:
            return {"training.steps": 2 * steps}
        if minutes is not None and self.trainer.timer.minutes >= minutes:
            return {"training.minutes": 2 * minutes}
        if self.best.exhausted and self.best.patience is not None:
            return {"training.early_stopping.patience": 2 * self.best.patience}
        return None

    def _command(self, overrides: dict[str, int | float], *options: str) -> str:
        names = tuple(f"{name}=" for name in overrides)
        kept = [argument for argument in self.command if not argument.startswith(names)]
        given = [f"{name}={value}" for name, value in overrides.items()]
        return shlex.join([*(kept or ["nmt-train", "CONFIG"]), *given, *options])
