"""The systems of a comparison and their runs: a grid of experiments, or runs that exist."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from nmt.config.loader import load_experiment
from nmt.config.schema import Experiment
from nmt.config.yaml_source import read_value
from nmt.errors import UserError, UserErrors
from nmt.files import resolve
from nmt.storage.run_dir import RunDir
from nmt.training.dry_run import check_components

SEED = "training.seed"

Grid = Mapping[str, Sequence[object]]
"""Values to combine, by dotted key."""


@dataclass(frozen=True)
class PlannedRun:
    """One run of a system: an experiment with a seed, or a run that exists.

    Attributes:
        path: run directory
        seed: random seed of training
        config: experiment file; None if the run exists and is not to be trained
        overrides: values that override the file, as texts `section.key=value`
    """

    path: Path
    seed: int
    config: Path | None = None
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class System:
    """A system of a comparison: runs that differ only in their seed.

    Attributes:
        name: its name in tables and figures
        experiment: its experiment with the first seed
        runs: one run per seed
    """

    name: str
    experiment: Experiment
    runs: tuple[PlannedRun, ...]


def parse_grid(texts: Iterable[str], origin: str) -> dict[str, list[object]]:
    """Read texts `section.key=VALUE,VALUE`, whose values are those of a YAML list.

    Raises:
        UserError: for a text without values, a repeated key or value, or the key of the seed
    """
    grid: dict[str, list[object]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        listed = read_value(f"[{values}]", f"{origin} {key}")
        if not equals or not key.strip() or not isinstance(listed, list) or not listed:
            raise UserError(f"'{text}' is not a grid; write section.key=VALUE,VALUE", origin)
        if key == SEED:
            raise UserError(f"{SEED} is not part of a grid; use --seeds", origin)
        if key in grid or any(value in listed[:i] for i, value in enumerate(listed)):
            raise UserError(f"'{text}' repeats a key or a value; remove one", origin)
        grid[key] = listed
    return grid


def plan_experiments(
    configs: Sequence[Path],
    grid: Grid,
    folder: Path,
    *,
    seeds: int = 1,
    overrides: Sequence[str] = (),
) -> list[System]:
    """Return the systems of experiment files and a grid, after validating all of them.

    Args:
        configs: experiment files, each combined with all values of the grid
        grid: values by dotted key
        folder: directory of the run directories, `SYSTEM-seedN`
        seeds: number of seeds; the first one is that of the experiment, the others follow
        overrides: values of all systems, as texts `section.key=value`

    Raises:
        UserErrors: all mistakes of all experiments
    """
    stems = [config.stem for config in configs]
    if len(set(stems)) < len(stems):
        raise UserError("two experiment files have the same name; rename one", str(configs[-1]))
    systems: list[System] = []
    mistakes: list[UserError] = []
    for config, values in product(configs, product(*grid.values())):
        chosen = dict(zip(grid, values, strict=True))
        name = _name(config.stem if len(configs) > 1 or not grid else "", chosen)
        own = (*overrides, *(f"{key}={format_value(value)}" for key, value in chosen.items()))
        try:
            loaded = load_experiment(config, own)
            check_components(loaded)
        except UserErrors as errors:
            mistakes += errors.errors
            continue
        except UserError as error:
            mistakes.append(error)
            continue
        experiment = loaded.experiment
        first = experiment.training.seed
        runs = tuple(
            PlannedRun(folder / f"{safe_name(name)}-seed{seed}", seed, config, own)
            for seed in range(first, first + seeds)
        )
        systems.append(System(name, experiment, runs))
    if mistakes:
        # The same mistake of a file occurs once per combination.
        raise UserErrors(list({str(mistake): mistake for mistake in mistakes}.values()))
    return systems


def find_systems(paths: Sequence[Path], *, trust_plugins: bool = False) -> list[System]:
    """Return the systems of existing runs; runs that differ only in their seed are one system.

    Runs of equal options and seeds, such as copies, are systems of their own: they
    do not measure the deviation over seeds.

    Raises:
        UserError: a directory is not a run, or contains code that is not trusted
    """
    found: dict[str, list[tuple[PlannedRun, Experiment]]] = {}
    repeats: Counter[str] = Counter()
    for path in {resolve(path): path for path in paths}.values():
        RunDir(path).check_trained()
        experiment = RunDir(path).experiment(trust_plugins=trust_plugins)
        options = experiment.to_dict()
        seed = options["training"].pop("seed")
        key = json.dumps(options, sort_keys=True, default=str)
        repeats[f"{key} {seed}"] += 1
        key = f"{key} {repeats[f'{key} {seed}']}"
        found.setdefault(key, []).append((PlannedRun(path, seed), experiment))
    groups = [sorted(group, key=lambda one: one[0].seed) for group in found.values()]
    names = _group_names([[run.path for run, _ in group] for group in groups])
    return [
        System(name, group[0][1], tuple(run for run, _ in group))
        for name, group in zip(names, groups, strict=True)
    ]


def safe_name(name: str) -> str:
    """Return the name of a system as a file name that every operating system accepts."""
    return re.sub(r"[^\w.=+-]+", "_", name).strip("_.") or "system"


def _name(stem: str, values: Mapping[str, object]) -> str:
    """Return `STEM, VALUE, key=VALUE`.

    A word needs no key, and a number the last part of it, unless several keys end in that part.
    """
    parts = [stem] if stem else []
    ends = Counter(key.rpartition(".")[2] for key in values)
    for key, value in values.items():
        if isinstance(value, Mapping) and "type" in value:
            options = [
                f"{name}={format_value(one)}" for name, one in value.items() if name != "type"
            ]
            value = " ".join([str(value["type"]), *options])
        last = key.rpartition(".")[2]
        if ends[last] > 1:
            parts.append(f"{key}={format_value(value)}")
        else:
            parts.append(value if isinstance(value, str) else f"{last}={format_value(value)}")
    return ", ".join(parts)


def format_value(value: object) -> str:
    """Return a value as the text of an override, `section.key=TEXT`."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _group_names(groups: Sequence[Sequence[Path]]) -> list[str]:
    """Return the names of the first runs without their seeds, or their paths if names repeat."""
    for shown in (_without_seed, lambda path: path.name):
        names = [shown(group[0]) for group in groups]
        if len(set(names)) == len(names):
            return names
    return [str(group[0]) for group in groups]


def _without_seed(path: Path) -> str:
    return re.sub(r"[-_.]seed[-_.=]?\d+$", "", path.name)
