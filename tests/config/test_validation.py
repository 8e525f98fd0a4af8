"""All errors of an experiment file are reported at once, with the key, the file and the line."""

import subprocess
import sys
from pathlib import Path

import pytest

from nmt.component_spec import REQUIRED
from nmt.config.component_fields import options_model
from nmt.config.loader import load_experiment
from nmt.config.schema import Experiment, ModelConfig
from nmt.config.search_options import SearchOptions
from nmt.config.validation import validate
from nmt.errors import UserErrors
from nmt.registry import DECODERS, FAMILIES, ComponentConfig
from tests.config.conftest import REQUIRED_KEYS, Errors, Read


def test_all_errors_are_reported_with_their_lines(errors: Errors) -> None:
    text = """
        data:
          train: train
          source: de
          target: en
        model:
          embeding_size: 256
          embedding_dropout: 1.0
          encoder: {type: bilstm,
                    hidden_size: 0}
          decoder: loung
          score: {type: additive, width: 3}
        training:
          epochs: three
          precision: fp8
        serch: {}
        """
    assert errors(text) == [
        "e.yaml:1: data.valid: is missing; add it",
        "e.yaml:6: model.embeding_size: unknown key; did you mean 'embedding_size'? known: "
        "embedding_size, embedding_dropout, source_word_dropout, target_word_dropout, "
        "tied_embeddings, alignment_size, encoder, decoder, attention, score",
        "e.yaml:7: model.embedding_dropout: must be less than 1, got 1.0",
        "e.yaml:9: model.encoder.hidden_size: must be at least 1, got 0",
        "e.yaml:10: model.decoder: unknown decoder 'loung'; did you mean 'luong'? known: "
        + ", ".join(DECODERS),
        "e.yaml:11: model.score.width: unknown option of 'additive'; known: hidden_size, heads",
        "e.yaml:13: training.epochs: expected a whole number, got 'three'",
        "e.yaml:14: training.precision: must be one of 'auto', 'fp32', 'tf32', 'bf16' or 'fp16', "
        "got 'fp8'",
        "e.yaml:15: serch: unknown key; did you mean 'search'? known: data, model, training, "
        "search, evaluation, plugins",
    ]


ONE_ERROR = {
    "model: {embedding_size: 2.5}": "model.embedding_size: expected a whole number, got 2.5",
    "model: {embedding_size: true}": "model.embedding_size: expected a whole number, got true",
    "model: {embedding_dropout: true}": "model.embedding_dropout: expected a number, got true",
    "model: {embedding_dropout: '0.1'}": "model.embedding_dropout: expected a number, got '0.1'",
    "model: {encoder: {type: bilstm, residual: no}}": (
        "model.encoder.residual: expected true or false, got 'no'"
    ),
    "model: {encoder: {type: bilstm, merge: max}}": (
        "model.encoder.merge: must be one of 'concat', 'sum' or 'mean', got 'max'"
    ),
    "model: {encoder: [bilstm]}": (
        "model.encoder: expected NAME or {type: NAME, option: value}, got ['bilstm']"
    ),
    "model: {encoder: {hidden_size: 3}}": (
        "model.encoder: expected NAME or {type: NAME, option: value}, got a mapping"
    ),
    "model: [encoder]": "model: expected a section of keys, got ['encoder']",
    "model: small": "model: expected a section of keys, got 'small'",
    "search: {block_ngram_repeat: -1}": "search.block_ngram_repeat: must be at least 0, got -1",
    "search: {length_penalty: {type: gnmt, alpha: -1}}": (
        "search.length_penalty.alpha: must be at least 0, got -1"
    ),
    "search: {stop: soon}": "search.stop: must be one of 'exact' or 'heuristic', got 'soon'",
    "evaluation: {metrics: bleu}": "evaluation.metrics: expected a list, got 'bleu'",
    "evaluation: {metrics: [bleu, blue]}": (
        "evaluation.metrics: must be one of 'bleu', 'chrf', 'ter' or 'exact', got 'blue'"
    ),
    "evaluation: {tokenize: 13}": "evaluation.tokenize: expected text (put it in quotes), got 13",
    "plugins: mine.py": "plugins: expected a list, got mine.py",
    "plugins: 3": "plugins: expected a list, got 3",
    "plugins: [mine.py]": "plugins: not found: mine.py",
    "1: 2": "1: unknown key; known: data, model, training, search, evaluation, plugins",
    "'{}': 2": "{}: unknown key; known: data, model, training, search, evaluation, plugins",
    "model: {decoder: '{x}'}": (
        f"model.decoder: unknown decoder '{{x}}'; known: {', '.join(DECODERS)}"
    ),
}


@pytest.mark.parametrize(("text", "line"), ONE_ERROR.items(), ids=ONE_ERROR.keys())
def test_an_invalid_value_is_reported_once(text: str, line: str, errors: Errors) -> None:
    assert errors(f"{REQUIRED_KEYS}{text}\n") == [f"e.yaml:3: {line}"]


@pytest.mark.parametrize("rate", ["0", "0.0", "-1e-3", ".nan", "true", "fast"])
def test_a_learning_rate_must_be_greater_than_0(rate: str, errors: Errors) -> None:
    text = f"training: {{epochs: 1, optimizer: {{type: adam, learning_rate: {rate}}}}}\n"
    (line,) = errors(REQUIRED_KEYS.splitlines()[0] + "\n" + text)
    assert line.startswith("e.yaml:2: training.optimizer.learning_rate: ")
    assert ("must be greater than 0" in line) == (rate not in (".nan", "true", "fast"))


@pytest.mark.parametrize(
    ("train", "reported"),
    [
        ("1", [": expected a file name, got 1"]),
        ("[a, 3]", [".1: expected a file name, got 3"]),
        ("[true, 3]", [".0: expected a file name, got true", ".1: expected a file name, got 3"]),
        ("{path: 3}", [".path: expected a file name, got 3"]),
        (
            "[{weight: 0}]",
            [".0.path: is missing; add it", ".0.weight: must be greater than 0, got 0"],
        ),
        ("[]", [": the list of corpora is empty; give at least one"]),
    ],
)
def test_a_value_of_several_types_is_reported_once_or_per_item(
    train: str, reported: list[str], errors: Errors
) -> None:
    assert errors(REQUIRED_KEYS.replace("train: train", f"train: {train}")) == [
        f"e.yaml:1: data.train{message}" for message in reported
    ]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0", "must be at least 1 or 'auto', got 0"),
        ("many", "expected a whole number or 'auto', got 'many'"),
    ],
)
def test_alternatives_of_different_types_are_listed(
    value: str, message: str, errors: Errors
) -> None:
    assert errors(REQUIRED_KEYS, f"training.batch_tokens={value}") == [
        f"command line: training.batch_tokens: {message}"
    ]


def test_missing_sections_are_reported(errors: Errors) -> None:
    missing = [
        "e.yaml: data: is missing; add a section 'data'",
        "e.yaml: training: is missing; add a section 'training'",
    ]
    assert errors("model: {}\n") == missing
    assert errors("# nothing\n") == missing


def test_a_missing_required_option_is_reported(errors: Errors) -> None:
    text = f"{REQUIRED_KEYS.splitlines()[0]}\ntraining:\n  epochs: 1\n  schedule: luong\n"
    assert errors(text) == [
        "e.yaml:4: training.schedule.start: is missing; add it",
        "e.yaml:4: training.schedule.every: is missing; add it",
    ]


def test_training_requires_an_end(errors: Errors) -> None:
    text = REQUIRED_KEYS.replace("{epochs: 1}", "{seed: 2}")
    assert errors(text) == [
        "e.yaml:2: training: has no end; set at least one of epochs, steps, minutes"
    ]


def test_the_metric_of_early_stopping_must_be_measured(errors: Errors) -> None:
    text = REQUIRED_KEYS.replace("epochs: 1", "epochs: 1, early_stopping: {metric: [bleu, ter]}")
    assert errors(f"{text}search: {{beam_size: 0}}\n") == [
        "e.yaml:2: training.early_stopping.metric: must be one of loss, chrf, bleu, got 'ter'; "
        "add it to evaluation.metrics",
        "e.yaml:3: search.beam_size: must be at least 1, got 0",
    ]


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (
            "{model: a.model, size: 500, type: bpe}",
            "size, type has no effect with model; remove one of them",
        ),
        (
            "{model: [a.model, b.model, c.model]}",
            "model: expected one file, or one for source and one for target, got 3",
        ),
        (
            "{type: char, sampling: {alpha: 0.2}}",
            "sampling requires type: unigram or bpe, got char; remove sampling or change the type",
        ),
    ],
)
def test_conflicting_vocabulary_options_are_reported(
    vocabulary: str, message: str, errors: Errors
) -> None:
    text = REQUIRED_KEYS.replace("target: en", f"target: en, vocabulary: {vocabulary}")
    assert errors(text) == [f"e.yaml:1: data.vocabulary: {message}"]


@pytest.mark.parametrize("nbest", [-2, 0, 1, 513])
def test_nbest_must_allow_a_choice(nbest: int, errors: Errors) -> None:
    assert errors(REQUIRED_KEYS, f"data.vocabulary.sampling.nbest={nbest}") == [
        "command line: data.vocabulary.sampling.nbest: must be 2 to 512, or -1 for all "
        f"segmentations, got {nbest}"
    ]


@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        ("[a b]", "must be text without white space, got 'a b'"),
        ("['']", "must be text without white space, got ''"),
        ("[x, y, x]", "contains 'x' twice; remove one"),
        ("[</s>]", "'</s>' is reserved by SentencePiece; use another symbol"),
        ("[a▁b]", "'a▁b' is reserved by SentencePiece; use another symbol"),
    ],
)
def test_symbols_are_single_words_that_sentencepiece_does_not_use(
    symbols: str, message: str, errors: Errors
) -> None:
    key = "data.vocabulary.user_defined_symbols"
    assert errors(REQUIRED_KEYS, f"{key}={symbols}") == [f"command line: {key}: {message}"]


def test_python_values_are_validated_like_those_of_a_file() -> None:
    model = ModelConfig(decoder=ComponentConfig("luong", {"hidden_size": 9}))
    assert model.decoder.options["layers"] == 1
    with pytest.raises(UserErrors) as error:
        validate(
            SearchOptions,
            {
                "beam_size": "5",
                "beam": 1,
                "length_penalty": ComponentConfig("gnmt", {"alhpa": 1.0}),
            },
        )
    assert [line.partition(" known:")[0] for line in error.value.lines] == [
        "beam_size: expected a whole number, got '5'",
        "length_penalty.alhpa: unknown option of 'gnmt'; did you mean 'alpha'?",
        "beam: unknown key; did you mean 'beam_size'?",
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_default_options_are_valid(family: str) -> None:
    for spec in FAMILIES[family].specs().values():
        defaults = {name: option.default for name, option in spec.options.items()}
        if REQUIRED not in defaults.values():
            assert options_model(spec).model_validate({}).model_dump() == defaults


def test_the_experiment_file_is_validated_without_importing_torch(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(f"{REQUIRED_KEYS}model: {{decoder: luong, score: dot}}\n", encoding="utf-8")
    code = (
        "import sys; from pathlib import Path; from nmt.config.loader import load_experiment; "
        f"load_experiment(Path({str(file)!r})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("given", "rules"),
    [
        ("{}", ("nmt_nfkc", "identity")),
        ("{normalization: nmt_nfkc_cf}", ("nmt_nfkc_cf", "nmt_nfkc_cf")),
        ("{normalization: {source: nmt_nfkc_cf}}", ("nmt_nfkc_cf", "identity")),
        ("{normalization: {target: nfkc}}", ("nmt_nfkc", "nfkc")),
        ("{normalization: [identity, nfkc]}", ("identity", "nfkc")),
    ],
)
def test_normalization_is_per_side(given: str, rules: tuple[str, str], tmp_path: Path) -> None:
    text = REQUIRED_KEYS.replace("target: en", f"target: en, vocabulary: {given}")
    (tmp_path / "e.yaml").write_text(text, encoding="utf-8")
    found = load_experiment(tmp_path / "e.yaml").experiment.data.vocabulary.normalization
    assert (found.source, found.target) == rules


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nkfc", "normalization: must be one of nmt_nfkc, nmt_nfkc_cf, nfkc, nfkc_cf, identity"),
        ("[nfkc]", "normalization: expected one rule, or two for source and target, got 1"),
        ("{source: nkfc}", "normalization.source: must be one of"),
        ("{sorce: nfkc}", "normalization.sorce: unknown key; did you mean 'source'?"),
        ("3", "normalization: expected a section of keys, got 3"),
    ],
)
def test_unknown_rules_are_reported(given: str, message: str, errors: Errors) -> None:
    vocabulary = f"vocabulary: {{normalization: {given}}}"
    (line,) = errors(REQUIRED_KEYS.replace("target: en", f"target: en, {vocabulary}"))
    assert message in line


def test_former_rules_of_a_run_with_a_given_model_are_accepted(
    errors: Errors, tmp_path: Path
) -> None:
    given = "{model: a.model, normalization: nmt_nfkc}"
    text = REQUIRED_KEYS.replace("target: en", f"target: en, vocabulary: {given}")
    (tmp_path / "former.yaml").write_text(text, encoding="utf-8")
    rules = load_experiment(tmp_path / "former.yaml").experiment.data.vocabulary.normalization
    assert (rules.source, rules.target) == ("nmt_nfkc", "nmt_nfkc")
    (line,) = errors(text.replace("nmt_nfkc", "nfkc"))
    assert "normalization has no effect with model" in line


def test_trackers_are_one_component_or_a_list(read: Read) -> None:
    assert read("").training.report is None
    assert read("", "training.report=[]").training.report == []
    for value in ("csv", "[csv]", "{type: csv}", "[{type: csv}]"):
        assert read("", f"training.report={value}").training.report == [ComponentConfig("csv", {})]
    trackers = read("", "training.report=[{type: wandb, project: mine}]").training.report
    assert trackers is not None
    assert trackers[0].options["project"] == "mine"
    assert trackers[0].options["entity"] is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[csv, csv]", "training.report: contains 'csv' twice; remove one"),
        ("[csv, 3]", "training.report: expected NAME or {type: NAME, option: value}, got 3"),
        ("[csv, tensorbord]", "unknown tracker 'tensorbord'; did you mean 'tensorboard'?"),
        (
            "[{type: wandb, projct: x}, csv]",
            "training.report.wandb.projct: unknown option of 'wandb'; did you mean 'project'?",
        ),
        (
            "[csv, {type: wandb, project: 3}]",
            "training.report.wandb.project: expected text (put it in quotes), got 3",
        ),
    ],
)
def test_mistakes_in_a_list_of_trackers_name_the_tracker(
    value: str, message: str, errors: Errors
) -> None:
    (line,) = errors(REQUIRED_KEYS, f"training.report={value}")
    assert message in line


def test_a_share_of_the_training_text_may_be_held_out(read: Read, errors: Errors) -> None:
    data = read("", "data.valid=0.05").data
    assert data.held_out == 0.05
    assert data.to_dict()["valid"] == 0.05
    assert validate(Experiment, Experiment.model_dump(read("", "data.valid=0.05"))).data == data
    assert read("").data.held_out is None
    for value in ("0", "-1", "0.6", "1e300", "9" * 100):
        (line,) = errors(REQUIRED_KEYS, f"data.valid={value}")
        assert "data.valid: a share of the training text must be greater than 0" in line


def test_equal_bounds_of_two_types_are_named_once(errors: Errors) -> None:
    schedule = "epochs: 1, schedule: {type: cosine, warmup: -1}"
    assert errors(REQUIRED_KEYS.replace("epochs: 1", schedule)) == [
        "e.yaml:2: training.schedule.warmup: must be at least 0, got -1"
    ]
