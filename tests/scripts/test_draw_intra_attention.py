from pathlib import Path

import pytest
import torch
from draw_intra_attention import decoder_attention, encoder_attention, main
from matplotlib.image import imread

from nmt.inference.saved_model import load_saved_model
from nmt.search.translator import Translator
from tests.commands import nmt_train, write_experiment
from tests.conftest import tiny_experiment


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train an LSTMN on both sides for two updates."""
    folder = tmp_path_factory.mktemp("reader")
    tree = tiny_experiment()
    tree["model"]["encoder"] = {"type": "lstmn", "hidden_size": 8, "direction": "both"}
    tree["model"]["decoder"] = {"type": "lstmn", "hidden_size": 16, "fusion": "deep"}
    tree["training"] |= {"epochs": None, "steps": 2}
    tree["evaluation"] |= {"samples": 0, "pictures": 0}
    called = nmt_train(write_experiment(folder / "reader.yaml", tree), "--run", folder / "run")
    assert called.code == 0, called.err
    return folder / "run"


def _height(run: Path, file: Path, *arguments: str) -> int:
    assert main([str(run), "ein Haus", "-o", str(file), *arguments]) == 0
    return int(imread(file).shape[0])


@pytest.mark.slow
def test_plot_of_a_longer_translation_is_higher(reader: Path, tmp_path: Path) -> None:
    short, long = (
        _height(reader, tmp_path / "a.png", "--side", "target", "--target", text)
        for text in ("a house", "a house and another house")
    )
    assert short < long
    assert _height(reader, tmp_path / "b.png") > 0


def test_encoder_attends_to_the_left_and_to_the_right(reader: Path, sources: list[str]) -> None:
    translator = Translator.load(reader)
    weights_ts, tape, read = encoder_attention(
        load_saved_model(reader).model, translator, sources[0]
    )
    assert tape == read == [*translator.translate([sources[0]])[0].source_pieces, "</s>"]
    for side in (weights_ts.tril(-1)[1:], weights_ts.triu(1)[:-1]):
        torch.testing.assert_close(side.sum(dim=1), torch.ones(len(read) - 1))
    assert weights_ts.diagonal().abs().sum() == 0


def test_decoder_attends_to_its_start_and_its_own_output(reader: Path, sources: list[str]) -> None:
    translator = Translator.load(reader)
    vocabulary = translator.target_vocabulary
    weights_ts, tape, read = decoder_attention(
        load_saved_model(reader).model, translator, sources[0], "good night"
    )
    pieces = vocabulary.tokens(vocabulary.encode("good night"))
    assert read == ["<s>", *pieces]
    assert tape == ["start", "<s>", *pieces[:-1]]
    torch.testing.assert_close(weights_ts.tril().sum(dim=1), torch.ones(len(read)))
    own = translator.translate([sources[0]])[0].text
    one, other = (
        decoder_attention(load_saved_model(reader).model, translator, sources[0], t)
        for t in (None, own)
    )
    assert one.read == other.read
    assert torch.equal(one.weights_ts, other.weights_ts)


def test_model_without_memory_tapes_is_rejected(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side, part in (("source", "encoder"), ("target", "decoder")):
        arguments = [str(trained), "ein Haus", "-o", str(tmp_path / "a.png"), "--side", side]
        assert main(arguments) == 2
        assert f"the {part} has no memory tapes; requires type lstmn" in capsys.readouterr().err
    arguments = [str(trained), "ein Haus", "-o", str(tmp_path / "a.png"), "--target", "a house"]
    assert main(arguments) == 2
    assert "--target requires --side target" in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()
