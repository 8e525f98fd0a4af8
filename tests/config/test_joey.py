"""Conversion of configs of JoeyNMT."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from nmt.config.joey import convert_joey
from nmt.config.loader import load_experiment
from nmt.config.writing import write_yaml
from nmt.errors import UserError

RECURRENT = """
data:
    train: text/train
    dev: text/dev
    dataset_type: plain
    src: {lang: de, max_length: 30, lowercase: False, level: bpe, voc_file: bpe.txt,
          tokenizer_type: subword-nmt, tokenizer_cfg: {codes: bpe.codes, dropout: 0.1}}
    trg: {lang: en, max_length: 40, lowercase: False, level: bpe, voc_file: bpe.txt,
          tokenizer_type: subword-nmt, tokenizer_cfg: {codes: bpe.codes, pretokenizer: none}}
testing: {beam_size: 5, beam_alpha: 1.0, eval_metrics: [bleu, token_accuracy]}
training:
    random_seed: 42
    optimizer: adam
    learning_rate: 0.005
    learning_rate_min: 0.0001
    clip_grad_val: 1.0
    batch_size: 10
    scheduling: plateau
    patience: 5
    decrease_factor: 0.5
    updates: 100
    validation_freq: 10
    early_stopping_metric: loss
    use_cuda: False
    something_new: 3
model:
    initializer: xavier_uniform
    encoder: {type: recurrent, rnn_type: gru, embeddings: {embedding_dim: 16, scale: False},
              hidden_size: 30, bidirectional: False, dropout: 0.2, num_layers: 3}
    decoder: {type: recurrent, rnn_type: gru, embeddings: {embedding_dim: 16}, hidden_size: 30,
              dropout: 0.1, hidden_dropout: 0.2, num_layers: 2, input_feeding: False,
              init_hidden: last, attention: luong}
"""
TRANSFORMER = """
data:
    train: text/train
    dev: text/dev
    dataset_type: tsv
    src: {lang: de, lowercase: True, level: bpe, voc_limit: 900, tokenizer_type: sentencepiece,
          tokenizer_cfg: {model_type: bpe, pretokenizer: moses}}
    trg: {lang: en, level: bpe, voc_limit: 900, tokenizer_type: sentencepiece,
          tokenizer_cfg: {model_type: bpe, pretokenizer: moses}}
testing: {beam_size: 4, sacrebleu_cfg: {tokenize: intl}}
training: {optimizer: adam, adam_betas: [0.9, 0.98], scheduling: noam, learning_rate_warmup: 400,
           learning_rate_factor: 2, batch_size: 4096, batch_type: token, epochs: 7,
           label_smoothing: 0.1, clip_grad_norm: 2.0, early_stopping_metric: bleu}
model:
    tied_embeddings: True
    tied_softmax: True
    encoder: {type: transformer, num_layers: 2, num_heads: 4, hidden_size: 64, ff_size: 128,
              embeddings: {embedding_dim: 64, dropout: 0.2}, dropout: 0.3, layer_norm: post}
    decoder: {type: transformer, num_layers: 2, num_heads: 4, hidden_size: 64, ff_size: 128,
              embeddings: {embedding_dim: 64}, dropout: 0.3, layer_norm: post}
"""
FORMER = """
data: {src: de, trg: en, train: text/train, dev: text/dev, test: text/dev, level: bpe,
       lowercase: False, max_sent_length: 62}
training: {optimizer: adam, learning_rate: 0.001, weight_decay: 0.1, batch_size: 80, epochs: 3}
model:
    encoder: {rnn_type: lstm, embeddings: {embedding_dim: 16}, hidden_size: 8}
    decoder: {rnn_type: lstm, embeddings: {embedding_dim: 16}, hidden_size: 8}
"""


def convert(text: str, path: Path) -> tuple[dict[str, Any], str]:
    """Convert a config, load the experiment, and return its settings and notes."""
    (path / "configs").mkdir()
    (path / "text").mkdir()
    for name in ("train.de", "train.en", "dev.de", "dev.en", "train.tsv", "dev.tsv"):
        (path / "text" / name).write_text("x\n", encoding="utf-8")
    for name in ("bpe.txt", "bpe.codes"):
        (path / name).write_text("x\n", encoding="utf-8")
    file, output = path / "configs" / "joey.yaml", path / "my.yaml"
    file.write_text(text, encoding="utf-8")
    settings, notes = convert_joey(file, output)
    output.write_text(write_yaml(settings, {}, "\n".join(notes)), encoding="utf-8")
    load_experiment(output)
    return settings, "\n".join(notes)


def test_recurrent_model_with_merge_operations(tmp_path: Path) -> None:
    settings, notes = convert(RECURRENT, tmp_path)
    assert settings["data"] == {
        "train": "text/train",
        "valid": "text/dev",
        "source": "de",
        "target": "en",
        "max_length": 40,
        "vocabulary": {"codes": "bpe.codes", "model": "bpe.txt"},
    }
    assert settings["model"] == {
        "embedding_size": 16,
        "encoder": {
            "type": "bilstm",
            "hidden_size": 30,
            "layers": 3,
            "cell": "gru",
            "dropout": 0.2,
            "direction": "forward",
        },
        "decoder": {
            "type": "luong",
            "hidden_size": 30,
            "layers": 2,
            "cell": "gru",
            "dropout": 0.2,
            "initial_state": "last",
            "input_feeding": False,
        },
        "score": "general",
    }
    training = settings["training"]
    assert training["schedule"] == {
        "type": "plateau",
        "decay": 0.5,
        "patience": 5,
        "floor": 0.02,
    }
    assert (training["batch_sentences"], training["steps"], training["seed"]) == (10, 100, 42)
    assert training["clip_norm"] is None and "epochs" not in training
    assert settings["search"] == {
        "beam_size": 5,
        "length_penalty": {"type": "gnmt", "alpha": 1.0},
    }
    for key in (
        "training.something_new: has no counterpart",
        "training.clip_grad_val",
        "data.src.tokenizer_cfg.dropout: has no counterpart",
        "testing.eval_metrics: token_accuracy has no counterpart",
        "model.decoder.hidden_dropout",
    ):
        assert key in notes
    assert not any(key in notes for key in ("initializer", "use_cuda", "not found", "scale"))


def test_transformer_with_sentencepiece(tmp_path: Path) -> None:
    settings, notes = convert(TRANSFORMER, tmp_path)
    assert settings["data"] == {
        "train": "text/train.tsv",
        "valid": "text/dev.tsv",
        "source": "de",
        "target": "en",
        "vocabulary": {
            "type": "bpe",
            "size": 900,
            "joint": True,
            "normalization": {"source": "nmt_nfkc_cf", "target": "identity"},
        },
        "pre": "moses",
        "post": ["moses"],
    }
    layers = {"layers": 2, "heads": 4, "feed_forward_size": 128, "dropout": 0.3, "norm": "post"}
    assert settings["model"] == {
        "embedding_size": 64,
        "embedding_dropout": 0.2,
        "tied_embeddings": "all",
        "encoder": {"type": "transformer", **layers},
        "decoder": {"type": "transformer", **layers},
    }
    training = settings["training"]
    # Vaswani et al. 2017, eq. 3: the rate at the end of the warm-up is factor / sqrt(64 * 400).
    assert training["optimizer"] == {
        "type": "adam",
        "learning_rate": 0.0125,
        "beta1": 0.9,
        "beta2": 0.98,
    }
    assert training["schedule"] == {"type": "inverse_sqrt", "warmup": 400}
    assert (training["batch_tokens"], training["epochs"], training["clip_norm"]) == (4096, 7, 2.0)
    assert settings["evaluation"] == {"metrics": ["bleu"], "tokenize": "intl"}
    assert notes == ""


def test_config_before_version_2(tmp_path: Path) -> None:
    settings, notes = convert(FORMER, tmp_path)
    assert settings["data"]["max_length"] == 62 and settings["data"]["post"] == ["subword_nmt"]
    assert settings["data"]["vocabulary"]["type"] == "word"
    assert settings["training"]["optimizer"] == {
        "type": "adamw",
        "learning_rate": 0.001,
        "weight_decay": 0.1,
    }
    assert "data.test: give the test text to nmt-translate" in notes


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("type: recurrent, rnn_type", "type: conv, rnn_type", ":28: model.encoder.type: 'conv'"),
        ("optimizer: adam", "optimizer: lion", ":13: training.optimizer: must be one of adam"),
        ("batch_size: 10", "batch_size: many", ":17: training.batch_size: must be a number"),
        (
            "dataset_type: plain",
            "dataset_type: huggingface",
            ":5: data.dataset_type: 'huggingface'",
        ),
        ("{lang: de, ", "{", "data.src.lang: must be the suffix"),
        ("    dev: text/dev\n", "", "data: has no dev"),
    ],
)
def test_value_without_counterpart_is_an_error_at_its_line(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    assert old in RECURRENT
    with pytest.raises(UserError) as raised:
        convert(RECURRENT.replace(old, new, 1), tmp_path)
    assert message in str(raised.value)


def test_file_of_another_kind_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "onmt.yaml"
    file.write_text(yaml.safe_dump({"data": {}, "rnn_size": 64}), encoding="utf-8")
    with pytest.raises(UserError, match=r"onmt\.yaml: has no section training; give a config of"):
        convert_joey(file, tmp_path / "my.yaml")
