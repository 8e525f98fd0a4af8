"""Several files as one: order, paths, cycles."""

from pathlib import Path

import pytest

from nmt.config.loader import load_experiment
from nmt.errors import UserError
from nmt.registry import ComponentConfig
from tests.config.conftest import NEEDED, Complain, Write

BASE = f"{NEEDED}model: {{embedding_size: 7, decoder: {{type: luong, hidden_size: 9}}}}\n"


def test_a_file_wins_over_what_it_includes_and_later_over_earlier(write: Write) -> None:
    write(f"{NEEDED}model: {{embedding_size: 1, embedding_dropout: 0.1}}\n", "one.yaml")
    write("model: {embedding_size: 2}\nsearch: {beam_size: 2, max_length: 2}\n", "two.yaml")
    file = write("include: [one.yaml, two.yaml]\nsearch: {beam_size: 3}\n")
    experiment = load_experiment(file).experiment
    assert experiment.model.embedding_size == 2
    assert experiment.model.embedding_dropout == 0.1
    assert experiment.search.beam_size == 3
    assert experiment.search.max_length == 2


def test_includes_include(write: Write) -> None:
    write(BASE, "deep/base.yaml")
    write("include: deep/base.yaml\nmodel: {embedding_size: 8}\n", "middle.yaml")
    experiment = load_experiment(write("include: middle.yaml\n")).experiment
    assert experiment.model.embedding_size == 8
    assert experiment.model.decoder is not None
    assert experiment.model.decoder.options["hidden_size"] == 9


def test_relative_paths_start_at_the_file_that_holds_them(write: Write, tmp_path: Path) -> None:
    write(BASE, "deep/base.yaml")
    file = write("include: deep/base.yaml\ndata: {valid: other, train: [a, /b]}\n")
    data = load_experiment(file).experiment.data
    assert data.valid == tmp_path / "other"
    assert data.train == [tmp_path / "a", Path("/b")]
    data = load_experiment(write("include: deep/base.yaml\n")).experiment.data
    assert data.train == tmp_path / "deep" / "train"


def test_paths_of_the_command_line_start_at_the_working_folder(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(BASE, "deep/base.yaml")
    monkeypatch.chdir(tmp_path)
    assert load_experiment(file, ["data.train=here"]).experiment.data.train == tmp_path / "here"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    experiment = load_experiment(file, ["data.train=~/there"]).experiment
    assert experiment.data.train == tmp_path / "home" / "there"


def _decoder(write: Write, base: str, above: str) -> ComponentConfig | None:
    write(f"{NEEDED}model: {{decoder: {base}}}\n", "base.yaml")
    file = write(f"include: base.yaml\nmodel: {{decoder: {above}}}\n")
    return load_experiment(file).experiment.model.decoder


def test_a_part_of_another_type_replaces_the_included_one_whole(write: Write) -> None:
    base = "{type: bahdanau, hidden_size: 9, deep_output: false}"
    assert _decoder(write, base, "{type: luong, layers: 2}") == _decoder(
        write, "luong", "{type: luong, layers: 2}"
    )
    assert _decoder(write, base, "luong") == _decoder(write, "luong", "luong")


def test_options_of_the_same_type_are_laid_over_each_other(write: Write) -> None:
    base = "{type: luong, hidden_size: 9, layers: 3}"
    for above in ("{type: luong, layers: 2}", "{layers: 2}"):
        decoder = _decoder(write, base, above)
        assert decoder is not None
        assert (decoder.options["hidden_size"], decoder.options["layers"]) == (9, 2)
    decoder = _decoder(write, "luong", "{layers: 2}")
    assert decoder is not None
    assert (decoder.type, decoder.options["layers"]) == ("luong", 2)


@pytest.mark.parametrize("above", ["luong", "{type: luong}", "{}"])
def test_a_part_of_the_same_type_keeps_its_options_when_it_is_only_named(
    write: Write, above: str
) -> None:
    base = "{type: luong, hidden_size: 9, layers: 3}"
    decoder = _decoder(write, base, above)
    assert decoder is not None
    assert (decoder.type, decoder.options["hidden_size"]) == ("luong", 9)


def test_a_part_that_is_null_is_the_usual_one_again(write: Write) -> None:
    assert _decoder(write, "{type: luong, layers: 3}", "null") == _decoder(write, "null", "null")


def test_a_section_without_keys_changes_nothing(write: Write) -> None:
    write(f"{NEEDED}search: {{beam_size: 2}}\n", "base.yaml")
    file = write("include: base.yaml\nsearch: {}\nmodel: {}\n")
    assert (
        load_experiment(file).experiment == load_experiment(file.with_name("base.yaml")).experiment
    )


def test_a_mistake_is_told_at_the_file_and_line_that_holds_it(
    write: Write, complain: Complain
) -> None:
    write(f"{NEEDED}model:\n  embedding_size: -7\n", "base.yaml")
    lines = complain("include: base.yaml\nmodel:\n  score: bad\n")
    assert lines[0] == "base.yaml:4: model.embedding_size: must be at least 1, got -7"
    assert lines[1].startswith("e.yaml:3: model.score: no attention score 'bad'; known: ")


def test_a_cycle_is_told(write: Write, complain: Complain) -> None:
    write("include: e.yaml\n", "other.yaml")
    (line,) = complain("# first\ninclude: other.yaml\n")
    assert line == "e.yaml:2: includes itself; remove the include"
    assert complain("include: e.yaml\n") == ["e.yaml:1: includes itself; remove the include"]


def test_two_files_may_include_the_same_third(write: Write) -> None:
    write(BASE, "base.yaml")
    write("include: base.yaml\n", "one.yaml")
    write("include: base.yaml\n", "two.yaml")
    load_experiment(write("include: [one.yaml, two.yaml]\n"))


def test_an_include_that_is_missing_or_no_name_is_told(complain: Complain) -> None:
    assert complain("\n# note\ninclude: none.yaml\n") == ["e.yaml:2: include: no file none.yaml"]
    for wrong in ("3", "[a, 3]", "{a: b}"):
        assert complain(f"include: {wrong}\n") == [
            "e.yaml:1: include: a file name or a list of them"
        ]


def test_an_included_file_is_checked_as_yaml(write: Write) -> None:
    write("a: [\n", "broken.yaml")
    with pytest.raises(UserError, match=r"broken\.yaml:2: not YAML"):
        load_experiment(write("include: broken.yaml\n"))
