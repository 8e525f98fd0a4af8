"""Every mistake in an experiment file is told at once, in the words of the file, with its line."""

from pathlib import Path

import pytest

from nmt.config.loader import load_experiment
from nmt.errors import UserError
from nmt.registry import DECODERS
from tests.config.conftest import NEEDED, Complain, Read


def test_all_mistakes_are_told_at_once_each_with_its_line(complain: Complain) -> None:
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
    assert complain(text) == [
        "e.yaml:1: data.valid: is missing; add it",
        "e.yaml:6: model.embeding_size: no key 'embeding_size'; did you mean 'embedding_size'? "
        "known: embedding_size, embedding_dropout, tied_embeddings, encoder, decoder, attention, "
        "score",
        "e.yaml:7: model.embedding_dropout: must be less than 1.0, got 1.0",
        "e.yaml:9: model.encoder.hidden_size: must be at least 1, got 0",
        "e.yaml:10: model.decoder: no decoder 'loung'; did you mean 'luong'? known: "
        + ", ".join(DECODERS),
        "e.yaml:11: model.score.width: no option of 'additive' 'width'; known: hidden_size",
        "e.yaml:13: training.epochs: expected a whole number, got 'three'",
        "e.yaml:14: training.precision: 'fp8' is not allowed; use one of 'auto', 'fp32', 'bf16' or "
        "'fp16'",
        "e.yaml:15: serch: no key 'serch'; did you mean 'search'? known: data, model, training, "
        "search, evaluation, plugins",
    ]


ONE_MISTAKE = {
    "model: {embedding_size: 2.5}": "model.embedding_size: expected a whole number, got 2.5",
    "model: {embedding_size: true}": "model.embedding_size: expected a whole number, got true",
    "model: {embedding_dropout: true}": "model.embedding_dropout: expected a number, got true",
    "model: {embedding_dropout: '0.1'}": "model.embedding_dropout: expected a number, got '0.1'",
    "model: {encoder: {type: bilstm, residual: no}}": (
        "model.encoder.residual: expected true or false, got 'no'"
    ),
    "model: {encoder: {type: bilstm, merge: max}}": (
        "model.encoder.merge: 'max' is not allowed; use one of 'concat', 'sum' or 'mean'"
    ),
    "model: {encoder: [bilstm]}": (
        "model.encoder: expected a name or {type: NAME, option: value}, got ['bilstm']"
    ),
    "model: {encoder: {hidden_size: 3}}": (
        "model.encoder: expected a name or {type: NAME, option: value}, got a mapping"
    ),
    "model: [encoder]": "model: expected a section of keys, got ['encoder']",
    "model: small": "model: expected a section of keys, got 'small'",
    "model:": "model: expected a section of keys, got nothing",
    "search: {block_ngram_repeat: -1}": "search.block_ngram_repeat: must be at least 0, got -1",
    "search: {length_penalty: {type: gnmt, alpha: -1}}": (
        "search.length_penalty.alpha: must be at least 0.0, got -1"
    ),
    "evaluation: {metrics: bleu}": "evaluation.metrics: expected a list, got 'bleu'",
    "evaluation: {metrics: [bleu, blue]}": (
        "evaluation.metrics: 'blue' is not allowed; use one of 'bleu', 'chrf', 'ter' or 'exact'"
    ),
    "evaluation: {tokenize: 13}": "evaluation.tokenize: expected text (put it in quotes), got 13",
    "plugins: mine.py": "plugins: expected a list, got mine.py",
    "plugins: 3": "plugins: expected a list, got 3",
    "plugins: [mine.py]": "plugins: no file mine.py",
    "1: 2": "1: no key '1'; known: data, model, training, search, evaluation, plugins",
}


@pytest.mark.parametrize(("text", "line"), ONE_MISTAKE.items(), ids=ONE_MISTAKE.keys())
def test_a_mistake_is_told_in_the_words_of_the_file(
    text: str, line: str, complain: Complain
) -> None:
    assert complain(f"{NEEDED}{text}\n") == [f"e.yaml:3: {line}"]


@pytest.mark.parametrize("rate", ["0", "0.0", "-1e-3", ".nan", "true", "fast"])
def test_a_rate_is_more_than_nothing(rate: str, complain: Complain) -> None:
    text = f"training: {{epochs: 1, optimizer: {{type: adam, learning_rate: {rate}}}}}\n"
    (line,) = complain(NEEDED.splitlines()[0] + "\n" + text)
    assert line.startswith("e.yaml:2: training.optimizer.learning_rate: ")
    assert ("must be more than 0.0" in line) == (rate not in ("true", "fast"))


@pytest.mark.parametrize(
    ("train", "told"), [("1", ["1"]), ("[a, 3]", ["3"]), ("[true, 3]", ["true", "3"])]
)
def test_a_value_of_none_of_several_types_is_one_mistake(
    train: str, told: list[str], complain: Complain
) -> None:
    assert complain(NEEDED.replace("train: train", f"train: {train}")) == [
        f"e.yaml:1: data.train: expected a file name, got {value}" for value in told
    ]


def test_sections_that_are_missing_are_named(complain: Complain) -> None:
    assert complain("model: {}\n") == [
        "e.yaml: data: is missing; write a section 'data:'",
        "e.yaml: training: training has no end; set one of epochs, steps, minutes",
    ]


def test_an_empty_file_is_an_experiment_without_sections(complain: Complain) -> None:
    assert complain("# nothing\n")[0] == "e.yaml: data: is missing; write a section 'data:'"


def test_an_option_that_a_part_needs_is_asked_for(complain: Complain) -> None:
    text = f"{NEEDED.splitlines()[0]}\ntraining:\n  epochs: 1\n  schedule: cosine\n"
    assert complain(text) == ["e.yaml:4: training.schedule.steps: is missing; add it"]


def test_training_without_an_end_is_told(complain: Complain) -> None:
    text = NEEDED.replace("{epochs: 1}", "{seed: 2}")
    assert complain(text) == [
        "e.yaml:2: training: training has no end; set one of epochs, steps, minutes"
    ]


def test_a_metric_that_is_watched_must_be_measured(complain: Complain) -> None:
    text = NEEDED.replace("epochs: 1", "epochs: 1, early_stopping: {metric: chrf}")
    (line,) = complain(text)
    assert "training.early_stopping.metric: 'chrf' is not measured; use one of loss, bleu" in line


def test_options_beside_a_ready_vocabulary_are_without_use(complain: Complain) -> None:
    vocabulary = "vocabulary: {model: a.model, size: 500, type: bpe}"
    assert complain(NEEDED.replace("target: en", f"target: en, {vocabulary}")) == [
        "e.yaml:1: data.vocabulary: a ready model leaves size, type without use; remove them"
    ]


def test_only_pieces_with_probabilities_are_sampled(complain: Complain) -> None:
    vocabulary = "vocabulary: {type: bpe, sampling: {alpha: 0.2}}"
    assert complain(NEEDED.replace("target: en", f"target: en, {vocabulary}")) == [
        "e.yaml:1: data.vocabulary: sampling: pieces of type bpe have no probabilities to sample "
        "by; use type: unigram or remove sampling"
    ]


@pytest.mark.parametrize("nbest", [-2, 0, 1, 513])
def test_a_number_of_cuts_that_leaves_no_choice_is_told(nbest: int, complain: Complain) -> None:
    assert complain(NEEDED, f"data.vocabulary.sampling.nbest={nbest}") == [
        f"command line: data.vocabulary.sampling.nbest: is {nbest}; "
        "give 2 to 512 cuts, or -1 for many"
    ]


NOT_YAML = {
    "training: {epochs: 2\n": "e.yaml:2: not YAML: expected ',' or '}', but got '<stream end>'",
    "a: b: c\n": "e.yaml:1: not YAML: mapping values are not allowed here",
    "data:\n\ttrain: a\n": "e.yaml:2: not YAML: found character '\\t' that cannot start any token",
    "x: 1\na: *b\n": "e.yaml:2: not YAML: found undefined alias 'b'",
    "x: 1\na: &b [*b]\n": "e.yaml:2: an alias stands inside what it names; write out what is meant",
    "a: &b\n  c: {d: *b}\n": "e.yaml:1: an alias stands inside what it names",
    "x: !!int abc\n": "e.yaml:1: not YAML: invalid literal for int() with base 10: 'abc'",
    "x: !thing 3\n": "e.yaml:1: not YAML: could not determine a constructor for the tag '!thing'",
    "[a]: 3\n": "e.yaml:1: a key is a word, not a list or a mapping",
    "- a\n- b\n": "e.yaml:1: an experiment file is a mapping of sections",
    "words\n": "e.yaml:1: an experiment file is a mapping of sections",
    "data:\n  train: a\n  valid: b\n  train: c\n": "e.yaml:4: 'train' is given twice; remove one",
    "data: {}\nmodel: {}\ndata: {}\n": "e.yaml:3: 'data' is given twice; remove one",
}


@pytest.mark.parametrize(("text", "line"), NOT_YAML.items(), ids=map(repr, NOT_YAML))
def test_what_is_not_yaml_is_told_with_its_line(text: str, line: str, complain: Complain) -> None:
    (told,) = complain(text)
    assert told.startswith(line)


def test_an_alias_may_be_used_twice(read: Read) -> None:
    experiment = read("search: {beam_size: &three 3, block_ngram_repeat: *three}\n")
    assert (experiment.search.beam_size, experiment.search.block_ngram_repeat) == (3, 3)


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: no such file"):
        load_experiment(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("model: {}\ndata: Mädchen\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.yaml:2: is not UTF-8; save it as UTF-8 text"):
        load_experiment(tmp_path / "latin.yaml")
    with pytest.raises(UserError, match="cannot be read: Is a directory; give a file"):
        load_experiment(tmp_path)
