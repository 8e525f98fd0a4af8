"""Every option of an experiment file acts, or is an error at its line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from nmt.config.loader import load_experiment
from nmt.config.schema import Experiment, VocabularyConfig
from nmt.config.search_options import BEAM_OPTIONS, SearchOptions
from nmt.config.sections import section_of, walk
from nmt.errors import UserError
from nmt.training.datasets import prepare_datasets
from nmt.training.dry_run import check_components
from tests.commands import write_experiment

PLAIN = "model: {decoder: plain}"
START = "training: {start_from: run}"
SAMPLING = "search: {sampling: {}, mbr: chrf}"
IMAGES = "data: {pictures: {size: 64}}\nmodel: {encoder: convolution}"
MODEL = "data: {vocabulary: {model: m.model}}"
CODES = "data: {vocabulary: {codes: codes}}"
WORDS = "data: {vocabulary: {type: word}}"
MODELS = "data: {vocabulary: {model: [s.model, t.model]}}"

# Options, each in a file in which it has no effect, and words of the error about it.
WITHOUT_EFFECT = [
    ("data.columns", "[1, 2]", "", "has no effect without a .tsv or .csv file"),
    ("data.temperature", "5.0", "", "has no effect with one training corpus"),
    (
        "data.temperature",
        "5.0",
        "data: {train: [train, {path: valid, weight: 2}]}",
        "has no effect with weights of corpora",
    ),
    ("data.train.tag", "<bt>", IMAGES, "tag has no effect with data.pictures"),
    ("data.pictures.positions", "49", IMAGES, "has no effect with size"),
    ("data.pre", "moses", IMAGES, "pre has no effect with pictures"),
    ("data.placeholders", "['%s']", IMAGES, "placeholders has no effect with pictures"),
    ("data.tokenized", "true", "data: {post: moses}", "tokenized has no effect without pre"),
    ("data.vocabulary.joint", "false", IMAGES, "has no effect with data.pictures"),
    ("data.vocabulary.joint", "false", MODEL, "has no effect with model"),
    ("data.vocabulary.joint", "true", MODELS, "has no effect with model"),
    ("data.vocabulary.normalization.source", "identity", IMAGES, "images have no text"),
    *(
        (f"data.vocabulary.sampling.{name}", value, extra, f"has no effect with {cause}; remove it")
        for name, value, extra, cause in [
            ("alpha", "0.2", "data: {vocabulary: {type: bpe}}", "type: bpe"),
            ("nbest", "-1", CODES, "codes"),
            ("dropout", "0.1", "", "type: unigram"),
        ]
    ),
    *(
        (f"data.vocabulary.{name}", value, MODEL, "has no effect with model; remove one of them")
        for name, value in {
            "size": "8000",
            "type": "unigram",
            "byte_fallback": "false",
            "normalization.target": "identity",
            "character_coverage": "1.0",
            "lines": "400000",
            "user_defined_symbols": "[]",
            "split_digits": "false",
        }.items()
    ),
    *(
        (f"data.vocabulary.{name}", value, extra, f"has no effect with {cause}")
        for extra, cause in ((CODES, "codes"), (WORDS, "type: word"))
        for name, value in {
            "byte_fallback": "false",
            "character_coverage": "1.0",
            "split_digits": "false",
        }.items()
    ),
    ("data.vocabulary.size", "8000", CODES, "has no effect with codes"),
    ("data.vocabulary.type", "word", CODES, "has no effect with codes"),
    (
        "data.vocabulary.joint",
        "true",
        "data: {vocabulary: {codes: [a, b]}}",
        "has no effect with codes",
    ),
    ("model.attention", "global", PLAIN, "has no effect with decoder 'plain'"),
    ("model.score", "additive", PLAIN, "has no effect without attention"),
    ("training.recurrence", "fused", PLAIN, "the fused recurrence requires"),
    ("search.coverage_penalty", "gnmt", PLAIN, "has no effect with decoder 'plain'"),
    ("search.replace_unknown", "true", PLAIN, "has no effect with decoder 'plain'"),
    ("search.replace_unknown", "true", IMAGES, "has no effect with images"),
    ("search.tag", "<bt>", IMAGES, "has no effect with images"),
    ("evaluation.pictures", "3", PLAIN, "has no effect with decoder 'plain'"),
    *(
        (f"search.{name}", value, SAMPLING, "has no effect with sampling; remove one of them")
        for name, value in {
            "beam_size": "5",
            "length_penalty": "average",
            "coverage_penalty": "none",
            "block_ngram_repeat": "0",
            "early_stopping": "exact",
            "beam_tree": "true",
            "mbr_scale": "0.3",
        }.items()
    ),
    *(
        (f"training.minimum_risk.{name}", value, "", "requires start_from")
        for name, value in {"metric": "chrf", "samples": "5", "sharpness": "0.1"}.items()
    ),
    ("training.r_drop.weight", "1.0", "", "has no effect without dropout"),
    ("search.n_best", "2", "search: {beam_size: 1}", "has no effect with a beam of 1"),
    ("search.mbr", "chrf", "search: {beam_size: 1}", "requires several candidates"),
    ("search.mbr_scale", "1.0", "", "has no effect without mbr"),
    ("search.candidates", "9", "", "has no effect without mbr; add it, or remove this"),
    ("search.early_stopping", "exact", "search: {beam_size: 1}", "has no effect with beam_size 1"),
    ("data.alignments", "links", "", "has no effect without training.guided_alignment"),
    ("training.guided_alignment.weight", "1.0", "", "requires data.alignments"),
    ("model.alignment_size", "8", "", "requires training.guided_alignment"),
    ("evaluation.alignments.gold", "gold", PLAIN, "has no effect with decoder 'plain'"),
    ("evaluation.alignments.gold", "gold", IMAGES, "has no effect with images"),
    ("evaluation.tokenize", "zh", "evaluation: {metrics: [chrf]}", "has no effect without bleu"),
    ("evaluation.lowercase", "true", "evaluation: {metrics: [ter]}", "has no effect on ter"),
]

# Another value of each option of a vocabulary, and the difference from that of `run`.
OTHER_VOCABULARIES = [
    ("size", "61", "size is 60 there, not 61"),
    ("size", "8000", "size is 60 there, not 8000"),
    ("type", "bpe", "type is unigram there, not bpe"),
    ("joint", "false", "joint is true there, not false"),
    ("byte_fallback", "true", "byte_fallback is false there, not true"),
    ("character_coverage", "0.5", "character_coverage is 1.0 there, not 0.5"),
    ("lines", "7", "lines is 400000 there, not 7"),
    ("user_defined_symbols", "[x]", "user_defined_symbols is [] there, not ['x']"),
    ("split_digits", "true", "split_digits is false there, not true"),
    ("model", "m.model", "model is null there, not /"),
    ("codes", "codes", "codes is null there, not /"),
    (
        "normalization",
        "identity",
        "normalization is {source: nfkc, target: identity} there, not {source: identity, ",
    ),
]

# Options that act in every valid experiment.
ALWAYS_ACTING = {
    *(f"training.scheduled_sampling.{name}" for name in ("decay", "k", "minimum")),
    *(f"data.train.{name}" for name in ("path", "source", "target", "weight")),
    *(f"data.valid.{name}" for name in ("path", "tag", "source", "target")),
    "data.source",
    "data.target",
    "data.pictures.size",
    "data.pictures.features",
    "data.target_order",
    "training.bucket_pairs",  # or the text fits into one
    "training.gradient_exchange",  # or it is a warning, of a single process
    "data.max_length",
    "data.pre",
    "data.post",
    "data.placeholders",
    "data.vocabulary.model",
    "data.vocabulary.codes",  # or it is an error of a model with its own segmentation
    "data.vocabulary.sampling.sides",
    "data.cache",
    "search.quality",
    "search.shortlist",  # or it is an error of a model without one
    "model.embedding_size",
    "model.embedding_dropout",
    "model.source_word_dropout",  # an error with images
    "model.target_word_dropout",
    "model.tied_embeddings",
    "model.encoder",
    "model.decoder",
    "training.optimizer",
    "training.schedule",
    "training.batch_tokens",
    "training.batch_sentences",
    "training.accumulate",
    "training.epochs",
    "training.steps",
    "training.minutes",
    "training.clip_norm",
    "training.label_smoothing",
    "training.output_chunk",
    "training.precision",
    "training.seed",
    "training.threads",
    "training.deterministic",  # of GPUs, as its description says
    "training.ema",
    "training.validate_every",
    "training.save_every",
    "training.log_every",
    "training.report",
    "training.log_seconds",
    "training.at_end",
    "training.keep",
    "training.early_stopping.metric",
    "training.early_stopping.patience",
    *(
        f"training.start_from.{name}"
        for name in ("run", "checkpoint", "vocabulary", "layers", "freeze")
    ),
    "training.guided_alignment.until",
    "search.max_length",
    "search.batch_tokens",
    "search.alternatives",
    "search.batch_sentences",
    "search.sampling.temperature",
    "search.sampling.top_k",
    "search.sampling.top_p",
    "search.sampling.seed",
    "evaluation.metrics",
    "evaluation.samples",
    "evaluation.alignments.text.path",
    "evaluation.alignments.text.tag",
    "evaluation.alignments.text.source",
    "evaluation.alignments.text.target",
    "plugins",
}


def experiment_file(path: Path, extra: str = "", key: str = "", value: str = "") -> Path:
    """Write an experiment with some more YAML, and one more option with a value as YAML."""
    tree: dict[str, Any] = {
        "data": {"train": "train", "valid": "valid", "source": "de", "target": "en"},
        "training": {"epochs": 1},
    }
    for section, values in (yaml.safe_load(extra) or {}).items():
        tree.setdefault(section, {}).update(values)
    if key:
        *parents, name = key.split(".")
        section = tree
        for parent in parents:
            below = section.setdefault(parent, {})
            section[parent] = {"path": below} if isinstance(below, str) else below
            section = section[parent]
        section[name] = yaml.safe_load(value)
    return write_experiment(path / "e.yaml", tree)


def errors_of(file: Path) -> str:
    with pytest.raises(UserError) as raised:
        _check(file)
    return str(raised.value)


def _check(file: Path) -> None:
    loaded = load_experiment(file)
    check_components(loaded)
    with loaded.located():
        prepare_datasets(loaded.experiment, None)


@pytest.mark.parametrize(("key", "value", "extra", "words"), WITHOUT_EFFECT)
def test_options_without_effect_are_errors_at_their_line(
    key: str, value: str, extra: str, words: str, tmp_path: Path
) -> None:
    for name in ("train.de", "train.en", "valid.de", "valid.en"):
        (tmp_path / name).write_text("x\n", encoding="utf-8")
    file = experiment_file(tmp_path, extra, key, value)
    errors = errors_of(file)
    assert words in errors
    assert str(file) in errors
    # The error is about this option: without it, the checks pass.
    if key != "data.columns":
        check_components(load_experiment(experiment_file(tmp_path, extra)))


def test_every_option_of_the_schema_is_covered() -> None:
    """A new option acts always, or belongs to `WITHOUT_EFFECT` with a file that ignores it."""
    covered = ALWAYS_ACTING | {key for key, *_ in WITHOUT_EFFECT}
    options = {".".join(key) for key, info in walk(Experiment) if not section_of(info)}
    assert options == covered


def test_every_option_of_beam_search_is_an_error_with_sampling() -> None:
    cases = [key for key, _, extra, _ in WITHOUT_EFFECT if extra == SAMPLING]
    assert {key.removeprefix("search.") for key in cases} == BEAM_OPTIONS
    options = SearchOptions()
    values = options.to_dict()
    for name in BEAM_OPTIONS:
        with pytest.raises(UserError, match=f"{name}: has no effect with sampling"):
            options.updated({"sampling": {}, name: values[name]})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a directory with the config of a run whose vocabulary has 60 tokens."""
    vocabulary = "data: {vocabulary: {size: 60, normalization: {source: nfkc}}}"
    loaded = load_experiment(experiment_file(tmp_path, vocabulary))
    (tmp_path / "run").mkdir()
    write_experiment(tmp_path / "run" / "config.yaml", loaded.experiment.to_dict())
    return tmp_path


@pytest.mark.parametrize(
    "given", ["{size: 60}", "{normalization: {source: nfkc}, lines: 400000}", "null", "{}"]
)
def test_vocabulary_of_start_from_may_be_repeated(given: str, run: Path) -> None:
    check_components(load_experiment(experiment_file(run, START, "data.vocabulary", given)))


@pytest.mark.parametrize(("name", "value", "difference"), OTHER_VOCABULARIES)
def test_another_vocabulary_than_that_of_start_from_is_refused(
    name: str, value: str, difference: str, run: Path
) -> None:
    key = f"data.vocabulary.{name}"
    errors = errors_of(experiment_file(run, START, key, value))
    assert f"{key}: differs from the vocabulary of training.start_from" in errors
    assert difference in errors


def test_every_option_of_the_vocabulary_is_compared() -> None:
    compared = {name for name, *_ in OTHER_VOCABULARIES}
    assert compared == set(VocabularyConfig.model_fields) - {"sampling"}


def test_a_chain_of_runs_has_the_vocabulary_of_its_first(run: Path) -> None:
    (run / "second").mkdir()
    loaded = load_experiment(experiment_file(run, START))
    write_experiment(run / "second" / "config.yaml", loaded.experiment.to_dict())
    start = "training: {start_from: second}"
    same, other = ((run / name) for name in ("same", "other"))
    for folder in (same, other):
        folder.mkdir()
    (same / "second").symlink_to(run / "second")
    (other / "second").symlink_to(run / "second")
    check_components(load_experiment(experiment_file(same, start, "data.vocabulary.size", "60")))
    errors = errors_of(experiment_file(other, start, "data.vocabulary.size", "8000"))
    assert "size is 60 there, not 8000" in errors


def test_resolved_file_may_contain_defaults_of_replaced_options(run: Path) -> None:
    file = experiment_file(run, f"{START}\n{SAMPLING}")
    resolved = load_experiment(file).experiment.to_dict()
    check_components(load_experiment(write_experiment(run / "r.yaml", resolved)))
    resolved["data"]["vocabulary"]["size"] = 77
    assert "size is 60 there, not 77" in errors_of(write_experiment(run / "r.yaml", resolved))


@pytest.mark.parametrize("key", ["model", "search", "evaluation", "data.vocabulary"])
def test_null_gives_a_section_its_defaults(key: str, tmp_path: Path) -> None:
    extra = "data: {vocabulary: {size: 9}}\nsearch: {beam_size: 2}\nevaluation: {samples: 1}"
    file = experiment_file(tmp_path, extra)
    section: Any = load_experiment(file, [f"{key}=null"]).experiment
    for name in key.split("."):
        section = getattr(section, name)
    assert section == type(section)()
