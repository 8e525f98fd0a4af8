"""Models for other engines: equal translations, and refusal of what they cannot represent.

The engines are large packages, so most of these tests run only where they are installed.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nmt.config.loader import load_values
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.export.ctranslate2 import write_ctranslate2
from nmt.export.onnx import write_onnx
from nmt.inference.ctranslate2 import load_engine
from nmt.inference.saved_model import SavedModel, load_saved_model
from nmt.model.attention.mechanisms.global_attention import GlobalAttention
from nmt.model.attention.scores.additive import AdditiveScore
from nmt.model.build import build_model
from nmt.search.translator import Translator
from tests.commands import PHRASES

LINES = PHRASES.with_suffix(".de").read_text(encoding="utf-8").splitlines()
LAYERS = {"type": "transformer", "layers": 2, "heads": 4, "feed_forward_size": 24}
BILSTM = {"type": "bilstm", "hidden_size": 16}


@pytest.fixture(scope="module")
def saved(trained: Path) -> SavedModel:
    return load_saved_model(trained)


def random_model(saved: SavedModel, **options: Any) -> SavedModel:
    """Return a model with random weights and the vocabularies of another one."""
    data = {"train": "a", "valid": "b", "source": "de", "target": "en"}
    values = {"data": data, "model": {"embedding_size": 32, **options}}
    experiment = load_values(values, {"training.epochs": 1}).experiment
    torch.manual_seed(1)
    size = len(saved.target_vocabulary)
    model = build_model(experiment.model, size, size).eval().requires_grad_(False)
    # Smaller weights repeat one token.
    for parameter in model.parameters():
        parameter.mul_(2.0)
    return replace(saved, model=model, experiment=experiment)


def greedy(saved: SavedModel, lines: list[str], **options: Any) -> list[str]:
    translator = Translator(
        [saved.model],
        saved.source,
        saved.target_vocabulary,
        saved.experiment.search,
        device=torch.device("cpu"),
    )
    return [one.text for one in translator.translate(lines, beam_size=1, **options)]


def run_example(folder: Path, lines: list[str]) -> list[str]:
    """Run the example of a folder as its user would."""
    text = "".join(f"{line}\n" for line in lines)
    command = [sys.executable, str(folder / "translate.py")]
    called = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return called.stdout.splitlines()


@pytest.mark.parametrize(
    "options",
    [
        {"encoder": LAYERS, "decoder": LAYERS},
        {
            "encoder": LAYERS | {"norm": "pre", "activation": "gelu", "positions": "learned"},
            "decoder": LAYERS | {"norm": "pre", "activation": "gelu", "alignment_head": 1},
            "tied_embeddings": "all",
        },
        {"encoder": LAYERS, "decoder": LAYERS | {"layers": 3}, "tied_embeddings": "decoder"},
    ],
)
def test_ctranslate2_translates_like_the_transformer(
    saved: SavedModel, tmp_path: Path, options: dict[str, Any]
) -> None:
    engine = pytest.importorskip("ctranslate2")
    model = random_model(saved, **options)
    write_ctranslate2(tmp_path / "a", model)
    assert isinstance(saved.source, Vocabulary)
    tokens = [saved.source.tokens(saved.source.encode(line)) for line in LINES]
    translator = engine.Translator(str(tmp_path / "a"), compute_type="float32")
    found = translator.translate_batch(tokens, beam_size=1, max_decoding_length=12)
    target = saved.target_vocabulary
    ids = {token: i for i, token in enumerate(target.tokens(range(len(target))))}
    texts = [target.decode([ids[token] for token in one.hypotheses[0]]) for one in found]
    assert len({*texts}) > 5
    assert texts == greedy(model, LINES, max_length=12)


# Not of a Transformer: its sizes are tensors in a trace, which the type checks of tests refuse.
@pytest.mark.parametrize(
    "options",
    [
        {"encoder": BILSTM, "decoder": {"type": "bahdanau", "hidden_size": 24}},
        {
            "encoder": BILSTM | {"cell": "gru"},
            "decoder": {"type": "luong", "hidden_size": 24, "cell": "gru"},
            "score": "general",
        },
    ],
    ids=["bahdanau", "luong"],
)
def test_onnx_translates_like_greedy_search(
    saved: SavedModel, tmp_path: Path, options: dict[str, Any]
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = random_model(saved, **options)
    write_onnx(tmp_path / "a", model)
    lines = [*LINES[:10], "", "  "]
    expected = greedy(model, lines)
    assert len({*expected}) > 2
    assert run_example(tmp_path / "a", lines) == expected
    # Tracing leaves the model as it was.
    assert not model.model.training


def test_component_that_cannot_be_traced_is_refused(
    saved: SavedModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = random_model(saved, encoder={"type": "ntm"}, decoder={"type": "ntm"})
    with pytest.raises(UserError, match=r"cannot be traced.*; write FILE\.nmt"):
        write_onnx(tmp_path / "a", model)
    assert not (tmp_path / "a").exists()
    assert capfd.readouterr() == ("", "")


def test_missing_packages_are_named_with_their_extra(
    saved: SavedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformer = random_model(saved, encoder=LAYERS, decoder=LAYERS)
    for name in ("ctranslate2.specs", "onnx"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"requires the package ctranslate2; .*\[ctranslate2\]'"):
        write_ctranslate2(tmp_path / "a", transformer)
    message = r"backend ctranslate2: requires the package ctranslate2; .*\[ctranslate2\]'"
    with pytest.raises(UserError, match=message):
        load_engine(transformer, device=torch.device("cpu"), precision="fp32")
    with pytest.raises(UserError, match=r"requires the package onnx; .*\[onnx\]'"):
        write_onnx(tmp_path / "a", transformer)


def test_other_decoders_have_no_counterpart_in_ctranslate2(
    saved: SavedModel, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="requires the encoder and the decoder transformer"):
        write_ctranslate2(tmp_path / "a", saved)


def test_attention_for_alignments_is_refused(saved: SavedModel, tmp_path: Path) -> None:
    model = random_model(saved, encoder=LAYERS, decoder=LAYERS)
    model.model.alignment = GlobalAttention(AdditiveScore(32, 32))
    message = r"model\.alignment_size has no counterpart there; write FILE\.nmt"
    with pytest.raises(UserError, match=f"--ctranslate2: {message}"):
        write_ctranslate2(tmp_path / "a", model)
    with pytest.raises(UserError, match=r"backend ctranslate2: .* model\.alignment_size"):
        load_engine(model, device=torch.device("cpu"), precision="fp32")
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    with pytest.raises(UserError, match=f"--onnx: {message}"):
        write_onnx(tmp_path / "a", model)
