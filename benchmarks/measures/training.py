"""Training, side by side: target tokens a second, padding not counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.contender import Contender, Kind, prepared
from harness.results import Row, interleaved, ratios
from workers.ids import Sizes


@dataclass(frozen=True)
class Plan:
    """How a measure is taken.

    Attributes:
        sizes: of the models
        ids: the file of `workers.ids.Ids`
        threads, device: of every contender
        warmup: updates (or sentences) before the first repetition
        repetitions: of each contender, all in turn
        updates: a repetition
        folder: for logs
    """

    sizes: Sizes
    ids: Path
    threads: int
    device: str
    warmup: int
    repetitions: int
    updates: int
    folder: Path

    @property
    def conditions(self) -> dict[str, Any]:
        """For rows."""
        return {"threads": self.threads, "device": self.device}


class Field:
    """Contenders that are prepared and ready to be asked, by name; the first one is ours.

    Use it as a context: its end is theirs.
    """

    def __init__(self, kinds: list[Kind], plan: Plan, options: Mapping[str, Any] | None = None):
        self.plan, self.kinds = plan, {kind.name: kind for kind in kinds}
        self.contenders: dict[str, Contender] = {}
        self.told: dict[str, dict[str, Any]] = {}
        try:
            for kind in kinds:
                contender, told = prepared(
                    kind,
                    plan.sizes,
                    plan.ids,
                    threads=plan.threads,
                    device=plan.device,
                    folder=plan.folder,
                    **(options or {}),
                )
                self.contenders[kind.name], self.told[kind.name] = contender, told
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all processes."""
        for contender in self.contenders.values():
            contender.stop()

    def __enter__(self) -> "Field":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def conditions(self, name: str) -> dict[str, Any]:
        """What the figures of a contender hold for."""
        told = self.told[name]
        return {
            "dtype": self.kinds[name].dtype,
            **self.plan.conditions,
            "parameters": f"{told['parameters'] / 1e6:.1f} M",
        }


def training_rows(field: Field) -> list[Row]:
    """Tokens a second of every contender, and the first one's by each of the others'."""
    plan = field.plan
    for contender in field.contenders.values():
        contender.ask("train", first=0, updates=plan.warmup)

    def run(contender: Contender) -> Any:
        def repetition(number: int) -> dict[str, Any]:
            first = plan.warmup + number * plan.updates
            return contender.ask("train", first=first, updates=plan.updates)

        return repetition

    asked = {name: run(contender) for name, contender in field.contenders.items()}
    found = interleaved(asked, plan.repetitions)
    speeds = {
        name: [a["target_tokens"] / a["seconds"] for a in all_] for name, all_ in found.items()
    }
    return [_row(field, name, found[name], speeds) for name in field.contenders]


def _row(
    field: Field, name: str, answers: list[dict[str, Any]], speeds: Mapping[str, list[float]]
) -> Row:
    ours = next(iter(speeds))
    loss = f"loss {answers[0]['loss']:.2f} -> {answers[-1]['loss']:.2f}"
    return Row(
        "training",
        name,
        "target tokens/s",
        speeds[name],
        field.conditions(name),
        field.told[name]["versions"],
        baseline=ours,
        ratios=[] if name == ours else ratios(speeds[ours], speeds[name]),
        note="; ".join(part for part in (loss, field.told[name]["note"]) if part),
    )
