"""Rounds of plain mutation for the fuzzed readers, and the inputs that fuzzing has found."""

from pathlib import Path

import pytest

from tests.campaigns import fuzz_bundle, fuzz_checkpoint, fuzz_tsv, fuzz_yaml
from tests.campaigns.fuzzing import FINDINGS, Check, mutation_round
from tests.campaigns.rounds import Tally

READERS = ("yaml", "tsv", "checkpoint", "bundle")
SHORT = {"yaml": 100, "tsv": 200, "checkpoint": 20, "bundle": 20}
FULL = {"yaml": 10_000, "tsv": 50_000, "checkpoint": 2_000, "bundle": 2_000}


def _reader(name: str, shared: Path) -> tuple[Check, list[bytes]]:
    if name in ("checkpoint", "bundle"):
        reader = fuzz_checkpoint if name == "checkpoint" else fuzz_bundle
        return reader.load(shared / "run"), reader.seeds(shared / "run")
    module = {"yaml": fuzz_yaml, "tsv": fuzz_tsv}[name]
    return module.load(), module.SEEDS


@pytest.mark.parametrize("name", READERS)
def test_mutated_input_is_read_or_refused(
    name: str, full: bool, shared: Path, tally: Tally
) -> None:
    check, seeds = _reader(name, shared)
    count = (FULL if full else SHORT)[name]
    mutation_round(check, seeds, count, seed=1)
    tally.cases = count
    tally.check()


@pytest.mark.parametrize("file", sorted(FINDINGS.glob("*/*")), ids=lambda file: file.name)
def test_finding_is_read_or_refused(file: Path, shared: Path) -> None:
    check, _ = _reader(file.parent.name, shared)
    check(file.read_bytes())
