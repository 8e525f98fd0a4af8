"""The best checkpoint and early stopping."""

import json

import pytest

from nmt.training.best_metric import BestMetricTracker


def _run(tracker: BestMetricTracker, *validations: tuple[float, float]) -> int:
    """Add validations (metric, loss) until the tracker is exhausted; return their number."""
    for step, (value, loss) in enumerate(validations, start=1):
        tracker.update(step, {"loss": loss, tracker.metric: value})
        if tracker.exhausted:
            return step
    return len(validations)


def test_ties_are_decided_by_the_loss() -> None:
    tracker = BestMetricTracker(["exact"], None)
    _run(tracker, (0.0, 3.5), (0.0, 3.0), (0.0, 3.2), (50.0, 4.0), (50.0, 4.1), (50.0, 3.9))
    assert (tracker.best, tracker.best_step) == (50.0, 6)


@pytest.mark.parametrize(
    ("metric", "values", "best_step"),
    [
        ("chrf", [4.0, 6.0, 5.0], 2),
        ("ter", [90.0, 60.0, 70.0], 2),
        ("loss", [3.0, 1.0, 2.0], 2),
    ],
)
def test_best_value_depends_on_the_direction_of_the_metric(
    metric: str, values: list[float], best_step: int
) -> None:
    tracker = BestMetricTracker([metric], None)
    _run(tracker, *((value, value) for value in values))
    assert (tracker.best, tracker.best_step) == (values[best_step - 1], best_step)


def test_bleu_below_one_is_noise_and_the_loss_decides() -> None:
    # Values of 3,245 sentence pairs, on which training stopped although the loss fell throughout.
    bleu = [0.00, 0.00, 0.01, 0.00, 0.19, 0.03, 0.71, 0.13, 0.34, 0.26, 0.26, 0.26]
    validations = [(value, 5.64 - 0.2 * step) for step, value in enumerate(bleu)]
    tracker = BestMetricTracker(["bleu"], 5)
    assert _run(tracker, *validations) == len(bleu)
    assert (tracker.best, tracker.best_step) == (0.26, 12)
    assert tracker.update(13, {"bleu": 1.2, "loss": 9.0})
    assert not tracker.update(14, {"bleu": 0.9, "loss": 1.0})


def test_bleu_below_one_uses_up_no_patience() -> None:
    tracker = BestMetricTracker(["bleu"], 2)
    assert _run(tracker, *((0.3 / step, 3.0 + step) for step in range(1, 9))) == 8
    assert tracker.waited == 0
    assert _run(tracker, (2.0, 9.0), (1.9, 9.0), (0.5, 9.0), (1.8, 9.0), (1.7, 9.0)) == 4


def test_any_of_several_metrics_or_the_loss_resets_the_patience() -> None:
    tracker = BestMetricTracker(["chrf", "bleu"], 2)
    validations = [(9.0, 2.0, 3.0), (8.0, 2.0, 3.1), (8.0, 2.1, 3.1), (8.0, 2.1, 3.1)]
    for step, (chrf, bleu, loss) in enumerate(validations, start=1):
        tracker.update(step, {"chrf": chrf, "bleu": bleu, "loss": loss})
        # A continued run counts in the same way.
        state = json.loads(json.dumps(tracker.state_dict()))
        tracker = BestMetricTracker(["chrf", "bleu"], 2)
        tracker.load_state_dict(state)
        assert not tracker.exhausted
    tracker.update(5, {"chrf": 9.0, "bleu": 2.0, "loss": 3.0})
    assert tracker.exhausted
    # The first metric selects the best one, also where it is equal.
    assert (tracker.best, tracker.best_step) == (9.0, 1)
    assert tracker.watched == ["bleu", "chrf", "loss"]


def test_patience_counts_validations_without_improvement_of_metric_and_loss() -> None:
    # Neither of them, the loss, the metric, then neither.
    validations = [
        (9.0, 3.0),
        (8.0, 3.1),
        (8.0, 2.9),
        (8.0, 3.0),
        (9.1, 3.0),
        (9.1, 3.0),
        (9.0, 2.9),
    ]
    assert _run(BestMetricTracker(["exact"], 2), *validations) == 7
    assert _run(BestMetricTracker(["exact"], 3), *validations, (1.0, 9.0), (1.0, 9.0)) == 8
    assert _run(BestMetricTracker(["exact"], None), *validations) == 7


def test_schedules_see_records_of_the_metric_only() -> None:
    tracker = BestMetricTracker(["bleu"], None)
    records = []
    for step, value in enumerate([0.0, 0.7, 0.3, 0.7, 0.8], start=1):
        records.append(tracker.is_record("bleu", value))
        tracker.update(step, {"bleu": value, "loss": 1 / step})
    assert records == [True, True, False, False, True]


@pytest.mark.parametrize("count", [0, 1, 4])
def test_state_is_restored(count: int) -> None:
    validations = [
        (0.2, 3.0),
        (0.1, 2.0),
        (0.7, 2.5),
        (0.3, 1.0),
        (0.3, 1.5),
        (2.0, 3.0),
        (2.0, 2.9),
    ]
    whole, first, second = (BestMetricTracker(["bleu"], 5) for _ in range(3))
    _run(first, *validations[:count])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for step, (value, loss) in enumerate(validations, start=1):
        values = {"bleu": value, "loss": loss}
        expected = whole.update(step, values)
        if step > count:
            assert second.update(step, values) == expected
    assert second.state_dict() == whole.state_dict()
