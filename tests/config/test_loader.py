"""Includes, overrides and the resolved experiment."""

from pathlib import Path

import pytest
import yaml

from nmt.config.includes import MAX_INCLUDE_DEPTH, MAX_INCLUDES
from nmt.config.loader import load_experiment, load_resolved
from nmt.errors import UserError
from nmt.registry import DECODERS, ComponentConfig
from tests.config.conftest import REQUIRED_KEYS, Errors, Read, Write
from tests.model.minimal import BlindDecoder

BASE = f"{REQUIRED_KEYS}model: {{embedding_size: 7, decoder: {{type: luong, hidden_size: 9}}}}\n"


def test_a_file_overrides_its_includes_and_a_later_include_an_earlier_one(write: Write) -> None:
    write(f"{REQUIRED_KEYS}model: {{embedding_size: 1, embedding_dropout: 0.1}}\n", "one.yaml")
    write("model: {embedding_size: 2}\nsearch: {beam_size: 2, max_length: 2}\n", "two.yaml")
    file = write("include: [one.yaml, two.yaml]\nsearch: {beam_size: 3}\n")
    experiment = load_experiment(file).experiment
    assert experiment.model.embedding_size == 2
    assert experiment.model.embedding_dropout == 0.1
    assert experiment.search.beam_size == 3
    assert experiment.search.max_length == 2


def test_includes_may_be_nested(write: Write) -> None:
    write(BASE, "deep/base.yaml")
    write("include: deep/base.yaml\nmodel: {embedding_size: 8}\n", "middle.yaml")
    experiment = load_experiment(write("include: middle.yaml\n")).experiment
    assert experiment.model.embedding_size == 8
    assert experiment.model.decoder.options["hidden_size"] == 9


def test_relative_paths_are_relative_to_their_file(write: Write, tmp_path: Path) -> None:
    write(BASE, "deep/base.yaml")
    file = write("include: deep/base.yaml\ndata: {valid: other, train: [a, /b]}\n")
    data = load_experiment(file).experiment.data
    assert [one.path for one in data.valid] == [tmp_path / "other"]
    assert [one.path for one in data.train] == [tmp_path / "a", Path("/b")]
    data = load_experiment(write("include: deep/base.yaml\n")).experiment.data
    assert data.train[0].path == tmp_path / "deep" / "train"


def test_paths_of_overrides_are_relative_to_the_working_directory(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(BASE, "deep/base.yaml")
    monkeypatch.chdir(tmp_path)
    assert (
        load_experiment(file, ["data.train=here"]).experiment.data.train[0].path
        == tmp_path / "here"
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    experiment = load_experiment(file, ["data.train=~/there"]).experiment
    assert experiment.data.train[0].path == tmp_path / "home" / "there"


def _decoder(write: Write, base: str, above: str) -> ComponentConfig:
    write(f"{REQUIRED_KEYS}model: {{decoder: {base}}}\n", "base.yaml")
    file = write(f"include: base.yaml\nmodel: {{decoder: {above}}}\n")
    return load_experiment(file).experiment.model.decoder


def test_a_component_of_another_type_replaces_the_included_one(write: Write) -> None:
    base = "{type: bahdanau, hidden_size: 9, deep_output: false}"
    assert _decoder(write, base, "{type: luong, layers: 2}") == _decoder(
        write, "luong", "{type: luong, layers: 2}"
    )
    assert _decoder(write, base, "luong") == _decoder(write, "luong", "luong")


def test_options_of_the_same_type_are_merged(write: Write) -> None:
    base = "{type: luong, hidden_size: 9, layers: 3}"
    for above in ("{type: luong, layers: 2}", "{layers: 2}"):
        decoder = _decoder(write, base, above)
        assert (decoder.options["hidden_size"], decoder.options["layers"]) == (9, 2)
    decoder = _decoder(write, "luong", "{layers: 2}")
    assert (decoder.type, decoder.options["layers"]) == ("luong", 2)


@pytest.mark.parametrize("above", ["luong", "{type: luong}", "{}"])
def test_a_component_of_the_same_type_keeps_the_included_options(write: Write, above: str) -> None:
    base = "{type: luong, hidden_size: 9, layers: 3}"
    decoder = _decoder(write, base, above)
    assert (decoder.type, decoder.options["hidden_size"]) == ("luong", 9)


def test_null_restores_the_default_component(write: Write) -> None:
    assert _decoder(write, "{type: luong, layers: 3}", "null") == _decoder(write, "null", "null")


def test_an_empty_section_changes_nothing(write: Write) -> None:
    write(f"{REQUIRED_KEYS}search: {{beam_size: 2}}\n", "base.yaml")
    file = write("include: base.yaml\nsearch: {}\nmodel: {}\n")
    assert (
        load_experiment(file).experiment == load_experiment(file.with_name("base.yaml")).experiment
    )


def test_errors_are_reported_at_the_file_that_contains_them(write: Write, errors: Errors) -> None:
    write(f"{REQUIRED_KEYS}model:\n  embedding_size: -7\n", "base.yaml")
    lines = errors("include: base.yaml\nmodel:\n  score: bad\n")
    assert lines[0] == "base.yaml:4: model.embedding_size: must be at least 1, got -7"
    assert lines[1].startswith("e.yaml:3: model.score: unknown attention score 'bad'; known: ")


def test_a_recursive_include_is_reported(write: Write, errors: Errors) -> None:
    write("include: e.yaml\n", "other.yaml")
    (line,) = errors("# first\ninclude: other.yaml\n")
    assert line == "e.yaml:2: includes itself; remove the include"
    assert errors("include: e.yaml\n") == ["e.yaml:1: includes itself; remove the include"]


def test_two_files_may_include_the_same_file(write: Write) -> None:
    write(BASE, "base.yaml")
    write("include: base.yaml\n", "one.yaml")
    write("include: base.yaml\n", "two.yaml")
    load_experiment(write("include: [one.yaml, two.yaml]\n"))


def test_an_invalid_include_is_reported(errors: Errors) -> None:
    assert errors("\n# note\ninclude: none.yaml\n") == ["e.yaml:2: include: not found: none.yaml"]
    for wrong in ("3", "[a, 3]", "{a: b}"):
        assert errors(f"include: {wrong}\n") == [
            "e.yaml:1: include: expected a file name or a list of file names"
        ]


def test_includes_are_limited_in_depth(write: Write) -> None:
    write(BASE, "0.yaml")
    for depth in range(1, MAX_INCLUDE_DEPTH + 2):
        write(f"include: {depth - 1}.yaml\n", f"{depth}.yaml")
    deepest = write(f"include: {MAX_INCLUDE_DEPTH - 1}.yaml\n")
    load_experiment(deepest)
    message = rf"1\.yaml:1: include: more than {MAX_INCLUDE_DEPTH} files deep; merge some of them$"
    with pytest.raises(UserError, match=message):
        load_experiment(write(f"include: {MAX_INCLUDE_DEPTH}.yaml\n"))


def test_includes_are_limited_in_number(write: Write) -> None:
    write(BASE, "0.yaml")
    # Every file includes the one before it twice, so that reading all would take years.
    for number in range(1, MAX_INCLUDE_DEPTH):
        write(f"include: [{number - 1}.yaml, {number - 1}.yaml]\n", f"{number}.yaml")
    message = rf"include: more than {MAX_INCLUDES} files; merge some of them$"
    with pytest.raises(UserError, match=message):
        load_experiment(write(f"include: {MAX_INCLUDE_DEPTH - 1}.yaml\n"))
    load_experiment(write(f"include: [{', '.join(['0.yaml'] * MAX_INCLUDES)}]\n"))
    with pytest.raises(UserError, match=message):
        load_experiment(write(f"include: [{', '.join(['0.yaml'] * (MAX_INCLUDES + 1))}]\n"))


def test_an_included_file_of_another_kind_is_not_quoted(write: Write, errors: Errors) -> None:
    for name in ("secret.txt", "secret.yaml"):
        write("password: hunter2\n", name)
        (line,) = errors(f"include: {name}\n")
        assert "hunter2" not in line
        assert "password" not in line


def test_invalid_yaml_of_an_included_file_is_reported(write: Write) -> None:
    write("a: [\n", "broken.yaml")
    with pytest.raises(UserError, match=r"broken\.yaml:2: invalid YAML"):
        load_experiment(write("include: broken.yaml\n"))


@pytest.mark.parametrize("decoder", ["plain", "peeky"])
def test_null_removes_an_included_component(write: Write, decoder: str) -> None:
    write(f"{REQUIRED_KEYS}model: {{score: dot}}\n", "base.yaml")
    file = write(f"include: base.yaml\nmodel: {{decoder: {decoder}, score: null}}\n")
    model = load_experiment(file).experiment.model
    assert (model.attention, model.score) == (None, None)


BAHDANAU = "model: {decoder: {type: bahdanau, hidden_size: 9, deep_output: false}}"


def test_overrides_have_priority_and_later_ones_over_earlier_ones(read: Read) -> None:
    experiment = read("search: {beam_size: 2}", "search.beam_size=3", "search.beam_size=4")
    assert experiment.search.beam_size == 4
    assert experiment.data.source == "de"


def test_dashes_are_underscores_in_keys_but_not_in_values(read: Read) -> None:
    experiment = read("", "training.batch-tokens=5", "data.source=a-b")
    assert experiment.training.batch_tokens == 5
    assert experiment.data.source == "a-b"


def test_values_of_overrides_are_yaml_and_may_contain_an_equals_sign(read: Read) -> None:
    experiment = read("", "evaluation.metrics=[bleu, chrf]", "data.target=a=b", "data.cache=null")
    assert experiment.evaluation.metrics == ["bleu", "chrf"]
    assert experiment.data.target == "a=b"
    assert experiment.data.cache is None


def test_null_is_distinct_from_a_missing_value(read: Read) -> None:
    assert read("").training.clip_norm == 1.0
    assert read("", "training.clip_norm=null").training.clip_norm is None


def test_an_override_may_create_a_section(read: Read) -> None:
    experiment = read("", "data.vocabulary.sampling.alpha=0.2")
    assert experiment.data.vocabulary.sampling is not None
    assert experiment.data.vocabulary.sampling.alpha == 0.2


@pytest.mark.parametrize("model", ["", "model: {score: additive}", "model: {score: null}"])
def test_an_override_sets_an_option_of_a_named_or_default_component(read: Read, model: str) -> None:
    score = read(model, "model.score.hidden_size=7").model.score
    assert score == ComponentConfig("additive", {"hidden_size": 7, "heads": 1})


def test_an_override_of_an_option_keeps_the_others(read: Read) -> None:
    decoder = read(BAHDANAU, "model.decoder.layers=2").model.decoder
    assert decoder.options["hidden_size"] == 9
    assert decoder.options["layers"] == 2
    assert decoder.options["deep_output"] is False


def test_an_override_of_the_type_keeps_the_options(read: Read, errors: Errors) -> None:
    decoder = read("model: {decoder: {type: luong, hidden_size: 9}}", "model.decoder.type=bahdanau")
    assert decoder.model.decoder.type == "bahdanau"
    assert decoder.model.decoder.options["hidden_size"] == 9
    (line,) = errors(f"{REQUIRED_KEYS}{BAHDANAU}\n", "model.decoder.type=luong")
    assert line == (
        "e.yaml:3: model.decoder.deep_output: unknown option of 'luong'; model.decoder.type=luong "
        "keeps it; write 'model.decoder={type: luong}' to replace all options"
    )
    # Options of the command line itself are wrong in themselves.
    wrong = ["model.decoder={type: luong}", "model.decoder.deep_output=true"]
    (line,) = errors(f"{REQUIRED_KEYS}{BAHDANAU}\n", *wrong)
    assert line.startswith("command line: model.decoder.deep_output: unknown option")
    assert "replace" not in line


@pytest.mark.parametrize("luong", ["luong", "{type: luong}"])
def test_an_override_by_a_component_of_another_type_replaces_it(read: Read, luong: str) -> None:
    plain = read("model: {decoder: luong}").model.decoder
    assert read(BAHDANAU, f"model.decoder={luong}").model.decoder == plain


@pytest.mark.parametrize("bahdanau", ["bahdanau", "{type: bahdanau}"])
def test_an_override_by_a_component_of_the_same_type_keeps_its_options(
    read: Read, bahdanau: str
) -> None:
    assert read(BAHDANAU, f"model.decoder={bahdanau}").model == read(BAHDANAU).model


INVALID_OVERRIDES = {
    "foo": "'foo' is not an override; write section.key=value",
    "=3": "'=3' is not an override; write section.key=value",
    "training.epochs.x=3": "training.epochs: expected a whole number, got a mapping",
    "training.seed=x": "training.seed: expected a whole number, got 'x'",
    "model=3": "model: expected a section of keys, got 3",
    "model.decoder.input_fed=1": "model.decoder.input_fed: unknown option of 'bahdanau'; known",
    "include=a.yaml": "include: unknown key",
    "plugins=a.py": "plugins: expected a list",
}


@pytest.mark.parametrize(
    ("override", "message"), INVALID_OVERRIDES.items(), ids=INVALID_OVERRIDES.keys()
)
def test_an_invalid_override_is_reported_as_part_of_the_command_line(
    override: str, message: str, errors: Errors
) -> None:
    (line,) = errors(REQUIRED_KEYS, override)
    assert line.startswith(f"command line: {message}")


def test_an_override_with_invalid_yaml_is_reported(errors: Errors) -> None:
    (line,) = errors(REQUIRED_KEYS, "training.seed=[1")
    assert line.startswith("command line:1: invalid YAML: expected ',' or ']'")


def test_errors_of_file_and_command_line_are_reported_together(errors: Errors) -> None:
    lines = errors(f"{REQUIRED_KEYS}search: {{beam_size: 0}}\n", "foo", "training.seed=x")
    assert len(lines) == 3
    assert sum(line.startswith("command line: ") for line in lines) == 2


def test_a_later_error_is_located_by_its_key(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(f"{REQUIRED_KEYS}search:\n  beam_size: 2\n", encoding="utf-8")
    loaded = load_experiment(file, ["training.seed=4"])
    assert str(loaded.error("search.beam_size", "no")) == f"{file}:4: search.beam_size: no"
    assert str(loaded.error("training.seed", "no")) == "command line: training.seed: no"
    assert str(loaded.error("search.max_length", "no")) == f"{file}:3: search.max_length: no"
    assert str(loaded.error("evaluation.samples", "no")) == f"{file}: evaluation.samples: no"


CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
VARIANTS = {
    "defaults": [],
    "no clipping": ["training.clip_norm=null"],
    "existing vocabulary": ["data.vocabulary.model=some.model"],
    "two existing vocabularies": [
        "data.vocabulary.model=[source.model, target.model]",
        "data.vocabulary.joint=false",
    ],
    "other components": [
        "model.decoder={type: luong, initial_state: last, hidden_size: 512}",
        "model.score={type: location, max_length: 50}",
        "training.schedule={type: cosine, steps: 10}",
        "search.coverage_penalty=gnmt",
    ],
    "several files": ["data.train=[a, b]", "data.vocabulary.sampling.nbest=4"],
    "small numbers": ["training.optimizer.learning_rate=1e-7", "training.ema=0.9999"],
}


def _resolved(write: Write, file: Path, *overrides: str) -> None:
    experiment = load_experiment(file, overrides).experiment
    text = yaml.safe_dump(experiment.to_dict(), allow_unicode=True)
    again = load_resolved(write(text, "elsewhere/config.yaml"))
    assert again == experiment
    assert again.to_dict() == experiment.to_dict()


@pytest.mark.parametrize("overrides", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_resolved_experiment_is_loaded_unchanged(write: Write, overrides: list[str]) -> None:
    _resolved(write, write(REQUIRED_KEYS), *overrides)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda file: file.stem)
def test_the_configs_of_the_repository_are_loaded_unchanged(write: Write, config: Path) -> None:
    _resolved(write, config)


def test_a_resolved_model_without_attention_is_loaded_unchanged(
    write: Write, plugin_dir: Path
) -> None:
    DECODERS.register("blind")(BlindDecoder)
    _resolved(write, write(REQUIRED_KEYS), "model.decoder=blind")


def test_a_resolved_experiment_contains_defaults_and_plain_data(
    write: Write, tmp_path: Path
) -> None:
    tree = load_experiment(write(REQUIRED_KEYS)).experiment.to_dict()
    assert tree["data"]["train"] == str(tmp_path / "train")
    assert tree["training"]["optimizer"]["learning_rate"] == 0.001
    assert tree["model"]["score"] == {"type": "additive", "hidden_size": None, "heads": 1}
    assert tree["search"]["length_penalty"] == {"type": "average", "alpha": 1.0}
    yaml.safe_dump(tree)
