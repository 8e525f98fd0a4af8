"""Every system learns a tiny task through the real commands, on words it has not seen."""

from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.commands import Called, lines_of, nmt_train, nmt_translate, write_experiment

WORDS = ["".join(letters) for letters in product("abcde", repeat=3)]
UNSEEN = Random(1).sample(WORDS, 25)
READER = {"type": "lstmn", "hidden_size": 16, "direction": "both"}
WRITER = {"type": "lstmn", "hidden_size": 32}
BAHDANAU = {"type": "bahdanau", "hidden_size": 32}
LUONG = {"type": "luong", "hidden_size": 32}
TRANSFORMER = {
    "type": "transformer",
    "layers": 2,
    "heads": 4,
    "feed_forward_size": 32,
    "dropout": 0.0,
    "norm": "pre",
}
STACK = {"type": "gnmt", "hidden_size": 24, "layers": 4}
LAST = {"hidden_size": 32, "initial_state": "last"}
ENDING = {"type": "bilstm", "hidden_size": 32, "direction": "backward"}

LOOKING: dict[str, dict[str, Any]] = {
    "bahdanau, gated units": {
        "encoder": {"type": "bilstm", "hidden_size": 16, "cell": "gru"},
        "decoder": {**BAHDANAU, "cell": "gru"},
    },
    "luong, before the output only": {
        "decoder": {**LUONG, "input_feeding": False},
        "score": "general",
    },
    "local_m": {"decoder": LUONG, "attention": {"type": "local_m", "window": 1}},
    "local_p": {"decoder": LUONG, "attention": {"type": "local_p", "window": 2}},
    "multi_head": {"decoder": BAHDANAU, "attention": {"type": "multi_head", "heads": 2}},
    "gnmt": {"encoder": STACK, "decoder": STACK},
    "lstmn, shallow": {"encoder": READER, "decoder": WRITER},
    "lstmn, deep": {"encoder": READER, "decoder": {**WRITER, "fusion": "deep"}},
    "soft": {"decoder": BAHDANAU, "attention": {"type": "soft", "doubly_stochastic": 0.1}},
    "hard": {"decoder": BAHDANAU, "attention": {"type": "hard", "reward": "step"}},
    "recurrent encoder, transformer decoder": {"decoder": TRANSFORMER},
    "transformer encoder, recurrent decoder": {"encoder": TRANSFORMER, "decoder": BAHDANAU},
    "ntm": {
        "encoder": {"type": "ntm", "hidden_size": 32, "slots": 8, "width": 8},
        "decoder": {"type": "ntm", "hidden_size": 32},
    },
}
BLIND: dict[str, dict[str, Any]] = {
    "plain": {"encoder": ENDING, "decoder": {"type": "plain", **LAST}},
    "peeky": {"encoder": ENDING, "decoder": {"type": "peeky", **LAST}},
}


def _write(folder: Path, part: str, words: list[str]) -> None:
    for side, texts in (("low", words), ("up", [word.upper() for word in words])):
        (folder / f"{part}.{side}").write_text("".join(f"{text}\n" for text in texts))


@pytest.fixture
def task(here: Path) -> Path:
    """100 words of three letters and the same in capitals, and 25 others."""
    _write(here, "train", [word for word in WORDS if word not in UNSEEN])
    _write(here, "valid", UNSEEN)
    return here


def _learn(
    task: Path,
    model: dict[str, Any],
    *options: str,
    steps: int = 150,
    learning_rate: float = 0.015,
) -> Called:
    """Train a model; translate the unseen words with these options."""
    encoder = {"type": "bilstm", "hidden_size": 16}
    tree = {
        "data": {
            "train": "train",
            "valid": "valid",
            "source": "low",
            "target": "up",
            "vocabulary": {"type": "char", "size": 12, "joint": False},
        },
        "model": {"embedding_size": 16, "encoder": encoder, **model},
        "training": {
            "optimizer": {"type": "adam", "learning_rate": learning_rate},
            "schedule": {"type": "cosine", "steps": steps, "warmup": 20},
            "batch_sentences": 25,
            "steps": steps,
            "validate_every": steps,
            "label_smoothing": 0.0,
            "threads": 1,
        },
        "search": {"beam_size": 2, "max_length": 8},
        "evaluation": {"metrics": ["exact"]},
    }
    called = nmt_train(write_experiment(task / "task.yaml", tree), "--run", "run")
    assert called.code == 0, called.err
    return nmt_translate("-m", "run", "valid.low", "-o", "found.up", *options)


def _right() -> int:
    found = lines_of(Path("found.up"))
    return sum(text == word.upper() for text, word in zip(found, UNSEEN, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOKING)
def test_system_with_attention_learns_and_returns_its_weights(name: str, task: Path) -> None:
    # The external memory takes longer to learn.
    steps, learning_rate = (250, 0.01) if name == "ntm" else (150, 0.015)
    links = ["--alignment-level", "piece", "--alignments", "links"]
    called = _learn(task, LOOKING[name], *links, steps=steps, learning_rate=learning_rate)
    assert called.code == 0, called.err
    assert _right() >= 20
    assert len(lines_of(Path("links"))) == len(UNSEEN)


@pytest.mark.slow
@pytest.mark.parametrize("model", BLIND.values(), ids=BLIND.keys())
def test_a_system_without_attention_learns_and_has_no_alignments(
    model: dict[str, Any], task: Path
) -> None:
    assert _learn(task, model).code == 0
    assert _right() >= 20
    refused = nmt_translate("-m", "run", "valid.low", "--alignments", "links")
    assert "attention" in refused.complaint
