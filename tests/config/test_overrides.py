"""section.key=value, the strongest."""

from pathlib import Path

import pytest

from nmt.config.loader import load_experiment
from nmt.registry import ComponentConfig
from tests.config.conftest import NEEDED, Complain, Read

BAHDANAU = "model: {decoder: {type: bahdanau, hidden_size: 9, deep_output: false}}"


def test_overrides_win_over_the_file_and_later_over_earlier(read: Read) -> None:
    experiment = read("search: {beam_size: 2}", "search.beam_size=3", "search.beam_size=4")
    assert experiment.search.beam_size == 4
    assert experiment.data.source == "de"


def test_dashes_are_underscores_in_keys_not_in_values(read: Read) -> None:
    experiment = read("", "training.batch-tokens=5", "data.source=a-b")
    assert experiment.training.batch_tokens == 5
    assert experiment.data.source == "a-b"


def test_values_are_yaml_and_may_hold_the_equals_sign(read: Read) -> None:
    experiment = read("", "evaluation.metrics=[bleu, chrf]", "data.target=a=b", "data.cache=null")
    assert experiment.evaluation.metrics == ["bleu", "chrf"]
    assert experiment.data.target == "a=b"
    assert experiment.data.cache is None


def test_null_is_a_value(read: Read) -> None:
    assert read("").training.clip_norm == 1.0
    assert read("", "training.clip_norm=null").training.clip_norm is None


def test_a_section_may_be_made_by_an_override(read: Read) -> None:
    experiment = read("", "data.vocabulary.sampling.alpha=0.2")
    assert experiment.data.vocabulary.sampling is not None
    assert experiment.data.vocabulary.sampling.alpha == 0.2


@pytest.mark.parametrize("model", ["", "model: {score: additive}", "model: {score: null}"])
def test_an_option_reaches_a_part_that_is_only_named_or_not_at_all(read: Read, model: str) -> None:
    score = read(model, "model.score.hidden_size=7").model.score
    assert score == ComponentConfig("additive", {"hidden_size": 7})


def test_an_option_beside_others_leaves_them(read: Read) -> None:
    decoder = read(BAHDANAU, "model.decoder.layers=2").model.decoder
    assert decoder is not None
    assert decoder.options["hidden_size"] == 9
    assert decoder.options["layers"] == 2
    assert decoder.options["deep_output"] is False


def test_another_type_keeps_the_options_so_that_none_is_lost_unseen(
    read: Read, complain: Complain
) -> None:
    decoder = read("model: {decoder: {type: luong, hidden_size: 9}}", "model.decoder.type=bahdanau")
    assert decoder.model.decoder is not None
    assert decoder.model.decoder.type == "bahdanau"
    assert decoder.model.decoder.options["hidden_size"] == 9
    (line,) = complain(f"{NEEDED}{BAHDANAU}\n", "model.decoder.type=luong")
    assert line.startswith("e.yaml:3: model.decoder.deep_output: no option of 'luong'")


@pytest.mark.parametrize("luong", ["luong", "{type: luong}"])
def test_a_part_of_another_type_replaces_the_one_before(read: Read, luong: str) -> None:
    plain = read("model: {decoder: luong}").model.decoder
    assert read(BAHDANAU, f"model.decoder={luong}").model.decoder == plain


@pytest.mark.parametrize("bahdanau", ["bahdanau", "{type: bahdanau}"])
def test_a_part_of_the_same_type_keeps_its_options(read: Read, bahdanau: str) -> None:
    assert read(BAHDANAU, f"model.decoder={bahdanau}").model == read(BAHDANAU).model


MISTAKES = {
    "foo": "'foo' is not an override; write section.key=value",
    "=3": "'=3' is not an override; write section.key=value",
    "training.epochs.x=3": "training.epochs: expected a whole number, got a mapping",
    "training.seed=x": "training.seed: expected a whole number, got 'x'",
    "model=3": "model: expected a section of keys, got 3",
    "model.decoder.input_fed=1": "model.decoder.input_fed: no option of 'bahdanau' 'input_fed'",
    "include=a.yaml": "include: no key 'include'",
    "plugins=a.py": "plugins: expected a list",
}


@pytest.mark.parametrize(("override", "message"), MISTAKES.items(), ids=MISTAKES.keys())
def test_a_mistake_in_an_override_is_told_as_the_command_lines(
    override: str, message: str, complain: Complain
) -> None:
    (line,) = complain(NEEDED, override)
    assert line.startswith(f"command line: {message}")


def test_an_override_that_is_not_yaml_is_told(complain: Complain) -> None:
    (line,) = complain(NEEDED, "training.seed=[1")
    assert line.startswith("command line:1: not YAML: expected ',' or ']'")


def test_mistakes_of_file_and_command_line_are_told_together(complain: Complain) -> None:
    lines = complain(f"{NEEDED}search: {{beam_size: 0}}\n", "foo", "training.seed=x")
    assert len(lines) == 3
    assert sum(line.startswith("command line: ") for line in lines) == 2


def test_a_mistake_found_later_is_told_at_its_key(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(f"{NEEDED}search:\n  beam_size: 2\n", encoding="utf-8")
    loaded = load_experiment(file, ["training.seed=4"])
    assert str(loaded.error("search.beam_size", "no")) == f"{file}:4: search.beam_size: no"
    assert str(loaded.error("training.seed", "no")) == "command line: training.seed: no"
    assert str(loaded.error("search.max_length", "no")) == f"{file}:3: search.max_length: no"
    assert str(loaded.error("evaluation.samples", "no")) == f"{file}: evaluation.samples: no"
