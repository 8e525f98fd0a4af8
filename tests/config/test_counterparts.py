"""Keys of other toolkits in an experiment file name their counterparts."""

import re
from pathlib import Path

from nmt.config.peers import COUNTERPARTS, counterpart
from nmt.config.schema import Experiment
from nmt.config.sections import walk
from nmt.registry import FAMILIES
from tests.config.conftest import REQUIRED_KEYS, Errors


def test_keys_of_other_toolkits_name_their_counterparts(errors: Errors) -> None:
    text = REQUIRED_KEYS + "search: {lenpen: 3}\n"
    text = text.replace("target: en", "target: en, dev: valid, src: {lang: de}, test: t")
    found = errors(text + "rnn_size: 64\nglobal_attention: mlp\n")
    expected = {
        "data.dev": "data.valid",
        "data.src": "data.source",
        "data.test": "nmt-translate or nmt-eval",
        "search.lenpen": "alpha of search.length_penalty",
        "rnn_size": "hidden_size",
        "global_attention": "model.score",
    }
    for key, words in expected.items():
        (line,) = [line for line in found if f": {key}: " in line]
        assert f"unknown key; use {words}" in line


def test_keys_in_the_page_about_other_toolkits_have_counterparts() -> None:
    own = {key[-1] for key, _ in walk(Experiment)} | {"weight", "type", "hidden_size", "heads"}
    values = {".spm", "beam", "general", "dot", "luong", "inv_sqrt_decay"}
    page = Path(__file__).parents[2] / "docs" / "coming-from.md"
    rows = [
        line for line in page.read_text(encoding="utf-8").splitlines() if line[:3] in ("| `", "| |")
    ]
    peers = " ".join(row.rpartition(" | ")[0] for row in rows)
    keys = {key.partition(":")[0].split()[0].lstrip("-") for key in re.findall("`([^`]+)`", peers)}
    names = {key.replace("-", "_") for key in keys}
    assert len(names) > 100
    assert {name for name in names - own - values if counterpart((name,)) is None} == set()


def test_counterparts_are_options_of_the_schema() -> None:
    known = {".".join(key) for key, _ in walk(Experiment)} | {"training.optimizer.learning_rate"}
    options = [
        o for family in FAMILIES.values() for s in family.specs().values() for o in s.options
    ]
    for key, text in COUNTERPARTS.items():
        dotted = re.findall(r"\b(?:data|model|training|search|evaluation)\.[a-z_.]*[a-z]", text)
        assert set(dotted) <= known, key
        first = text.split(" of ")[0]
        assert dotted or first in options or "nmt-" in text or "--" in text, key
