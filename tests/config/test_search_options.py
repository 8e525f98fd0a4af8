"""Search options are validated identically in a file, on a command line and in Python."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from nmt.cli.search_arguments import search_fields, search_options
from nmt.cli.translate import make_parser
from nmt.config.search_options import SamplingOptions, SearchOptions
from nmt.errors import UserError
from nmt.registry import ComponentConfig
from nmt.search.translator import Translator
from tests.commands import forget_inputs, nmt_translate
from tests.config.conftest import REQUIRED_KEYS, Errors, Read

AT_LEAST_ONE = "must be at least 1, got 0"
NO_STOP = "must be one of 'exact' or 'heuristic', got 'foo'"
NO_PENALTY = "unknown length penalty 'foo'; known: none, average, gnmt"

# (options, key of the error, arguments of nmt-translate, reason)
INVALID: list[tuple[dict[str, Any], str, list[object], str]] = [
    ({"beam_size": 0}, "beam_size", ["--beam-size", 0], AT_LEAST_ONE),
    ({"beam_size": "many"}, "beam_size", ["-b", "many"], "expected a whole number, got 'many'"),
    ({"beam_size": 2.5}, "beam_size", ["--beam_size=2.5"], "expected a whole number, got 2.5"),
    ({"max_length": 0}, "max_length", ["--max-length", 0], AT_LEAST_ONE),
    ({"n_best": 0}, "n_best", ["--n-best", 0], AT_LEAST_ONE),
    ({"batch_tokens": 0}, "batch_tokens", ["--batch-tokens", 0], AT_LEAST_ONE),
    ({"batch_sentences": 0}, "batch_sentences", ["--batch-sentences", 0], AT_LEAST_ONE),
    (
        {"block_ngram_repeat": -1},
        "block_ngram_repeat",
        ["--block-ngram-repeat", -1],
        "must be at least 0, got -1",
    ),
    ({"early_stopping": "foo"}, "early_stopping", ["--early-stopping", "foo"], NO_STOP),
    ({"length_penalty": "foo"}, "length_penalty", ["--length-penalty", "foo"], NO_PENALTY),
    (
        {"length_penalty": {"type": "gnmt", "alpha": -1}},
        "length_penalty.alpha",
        ["--length-penalty", "gnmt", "--alpha", -1],
        "must be at least 0, got -1",
    ),
    (
        {"coverage_penalty": {"type": "gnmt", "beta": "much"}},
        "coverage_penalty.beta",
        ["--coverage-penalty", "gnmt", "--beta", "much"],
        "expected a number, got 'much'",
    ),
    (
        {"sampling": {"temperature": 0}},
        "sampling.temperature",
        ["--sample", "--temperature", 0],
        "must be at least 0.001, got 0",
    ),
    (
        {"sampling": {"top_k": -1}},
        "sampling.top_k",
        ["--sample", "--top-k", -1],
        "must be at least 0, got -1",
    ),
    (
        {"sampling": {"top_p": 1.5}},
        "sampling.top_p",
        ["--sample", "--top-p", 1.5],
        "must be at most 1, got 1.5",
    ),
    (
        {"sampling": {"seed": -1}},
        "sampling.seed",
        ["--sample", "--seed", -1],
        "must be at least 0, got -1",
    ),
    (
        {"mbr": "chrf", "beam_size": 1},
        "mbr",
        ["--mbr", "chrf", "-b", 1],
        "requires several candidates; use a wider beam, or sampling",
    ),
]


@pytest.mark.parametrize(("options", "key", "arguments", "reason"), INVALID)
def test_invalid_value_has_the_same_error_in_file_command_and_python(
    options: dict[str, Any],
    key: str,
    arguments: list[object],
    reason: str,
    errors: Errors,
    translator: Translator,
    trained: Path,
) -> None:
    text = f"{REQUIRED_KEYS}search: {json.dumps(options)}\n"
    assert errors(text) == [f"e.yaml:3: search.{key}: {reason}"]
    with pytest.raises(UserError) as raised:
        translator.translate("Guten Morgen!", **options)
    assert raised.value.lines == [f"{key}: {reason}"]
    flag = "--sample" if key == "sampling" else f"--{key.split('.')[-1].replace('_', '-')}"
    called = nmt_translate("-m", trained, *arguments, given="Guten Morgen!\n")
    assert called.complaint == f"nmt-translate: {flag}: {reason}"


def test_unknown_option_is_reported_with_near_matches(
    errors: Errors, translator: Translator
) -> None:
    reason = (
        f"unknown key; did you mean 'beam_size'? known: {', '.join(SearchOptions.model_fields)}"
    )
    assert errors(f"{REQUIRED_KEYS}search: {{beam_sise: 3}}\n") == [
        f"e.yaml:3: search.beam_sise: {reason}"
    ]
    for call in (translator.translate, lambda texts, **o: translator.score(texts, texts, **o)):
        with pytest.raises(UserError) as raised:
            call(["Guten Morgen!"], beam_sise=3)
        assert raised.value.lines == [f"beam_sise: {reason}"]


def test_all_invalid_options_are_reported_together(translator: Translator) -> None:
    with pytest.raises(UserError) as raised:
        translator.translate(
            "Guten Morgen!", beam_size=0, length_penalty={"type": "gnmt", "alfa": 1}
        )
    assert raised.value.lines == [
        "beam_size: must be at least 1, got 0",
        "length_penalty.alfa: unknown option of 'gnmt'; did you mean 'alpha'? known: alpha",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("gnmt", ComponentConfig("gnmt", {"alpha": 0.2})),
        ({"type": "gnmt", "alpha": 1}, ComponentConfig("gnmt", {"alpha": 1.0})),
        (ComponentConfig("average", {"alpha": 0.5}), ComponentConfig("average", {"alpha": 0.5})),
    ],
)
def test_penalty_is_given_by_name_mapping_or_configuration(
    value: object, expected: ComponentConfig
) -> None:
    assert SearchOptions().updated({"length_penalty": value}).length_penalty == expected


@pytest.mark.parametrize(("stop", "expected"), [("bound", "exact"), ("likely", "heuristic")])
def test_stop_is_an_alias_of_early_stopping(
    stop: str, expected: str, read: Read, trained: Path
) -> None:
    assert read(f"search: {{stop: {stop}}}").search.early_stopping == expected
    assert read("", f"search.stop={stop}").search.early_stopping == expected
    assert SearchOptions().updated({"stop": stop}).early_stopping == expected
    given = "Guten Morgen!\nWie heißt du?\n"
    expected_output = nmt_translate("-m", trained, "--early-stopping", expected, given=given)
    assert nmt_translate("-m", trained, "--stop", stop, given=given) == expected_output
    assert expected_output.code == 0


def test_the_last_spelling_of_early_stopping_wins(read: Read) -> None:
    options = read("search: {stop: likely}", "search.early_stopping=exact").search
    assert options.early_stopping == "exact"
    options = read("search: {early_stopping: exact}", "search.stop=likely").search
    assert options.early_stopping == "heuristic"
    assert options.updated({"early_stopping": "exact"}).early_stopping == "exact"


def test_both_spellings_of_early_stopping_in_one_place_are_an_error(errors: Errors) -> None:
    text = f"{REQUIRED_KEYS}search: {{stop: bound, early_stopping: exact}}\n"
    message = "stop is another name of early_stopping; remove one of them"
    assert errors(text) == [f"e.yaml:3: search: {message}"]
    with pytest.raises(UserError, match=message):
        SearchOptions().updated({"stop": "bound", "early_stopping": "exact"})


def test_run_directory_with_the_earlier_spelling_loads(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("checkpoints", "vocabulary"):
        shutil.copytree(trained / name, run / name, symlinks=True)
    tree = yaml.safe_load((trained / "config.yaml").read_text(encoding="utf-8"))
    assert tree["search"].pop("early_stopping") == "exact"
    tree["search"]["stop"] = "likely"
    (run / "config.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    forget_inputs(run)
    assert Translator.load(run).options.early_stopping == "heuristic"


def test_a_single_text_is_one_sentence(translator: Translator, sources: list[str]) -> None:
    (found,) = translator.translate(sources[0])
    (expected,) = translator.translate([sources[0]])
    assert (found.source, found.text) == (sources[0], expected.text)
    (scored,) = translator.score(sources[0], found.text)
    assert scored.text == found.text


def test_command_line_fields_equal_those_of_the_schema() -> None:
    read = search_fields()
    for section in (SearchOptions, SamplingOptions):
        for name, info in section.model_fields.items():
            default = info.get_default()
            if name in ("length_penalty", "coverage_penalty"):
                default = getattr(SearchOptions(), name).type
            assert read[name].default == default, name
            assert read[name].help == " ".join(str(info.description).split()), name
    assert set(read) == {*SearchOptions.model_fields, *SamplingOptions.model_fields}


def test_every_search_option_is_an_option_of_nmt_translate(
    capsys: pytest.CaptureFixture[str],
) -> None:
    called = nmt_translate("--help")
    words = called.out.replace(",", " ").split()
    flags = {f"--{name.replace('_', '-')}" for name in search_fields()} - {"--sampling"}
    assert {"--sample", *flags} <= set(words)


def test_sampling_options_of_the_run_are_changed_one_by_one(trained: Path, read: Read) -> None:
    run = read("search: {sampling: {top_k: 5, seed: 3}}").search
    arguments = make_parser().parse(["-m", "run", "--seed", "4"])
    assert search_options(arguments, run).sampling == SamplingOptions(top_k=5, seed=4)
    with pytest.raises(UserError, match="--seed: requires --sample"):
        search_options(arguments, SearchOptions())


def test_strength_applies_to_the_penalty_of_the_run(read: Read) -> None:
    options: Mapping[str, Any] = {"length_penalty": "gnmt", "coverage_penalty": "gnmt"}
    run = SearchOptions().updated(options)
    arguments = make_parser().parse(["-m", "run", "--alpha", "0.7", "--beta", "1e-1"])
    changed = search_options(arguments, run)
    assert changed.length_penalty == ComponentConfig("gnmt", {"alpha": 0.7})
    assert changed.coverage_penalty == ComponentConfig("gnmt", {"beta": 0.1})
