"""Attention of translations, as matrices between words and as overlays on images."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nmt.data.vocabulary import Span
from nmt.evaluation.overlay import AttentionOverlay
from nmt.evaluation.samples import _warn_once, extract_attention, plot_translations
from nmt.search.translation import Translation
from tests.evaluation.test_attention_page import write_and_parse

WHITE = np.full((40, 60, 3), 255, np.uint8)


def caption(source: str, tokens: tuple[str, ...]) -> Translation:
    weights_ts = torch.eye(4).repeat(3, 1)[: len(tokens) + 1]
    text, spans = "", list[Span]()
    for token in tokens:
        surface = token.replace("▁", " " if text else "")
        spans.append((len(text), len(text) + len(surface)))
        text += surface
    return Translation(
        source, text, pieces=tokens, attention=weights_ts, grid=(2, 2), spans=tuple(spans)
    )


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.fromarray(WHITE[:, :40]).save(tmp_path / "p.png")
    return tmp_path / "p.png"


def test_tokens_of_a_word_share_a_panel_and_end_of_sentence_has_none(image: Path) -> None:
    overlay = extract_attention(caption(str(image), ("▁re", "d", "▁sky")))
    assert isinstance(overlay, AttentionOverlay)
    assert overlay.words == ["red", "sky"]
    assert overlay.weights_ts.tolist() == [[0.5, 0.5, 0, 0], [0, 0, 1, 0]]
    assert overlay.image.shape == (40, 40, 3)


def test_caption_of_one_word_is_split_into_tokens(image: Path) -> None:
    overlay = extract_attention(caption(str(image), ("▁", "하", "늘")))
    assert isinstance(overlay, AttentionOverlay)
    assert overlay.words == ["▁", "하", "늘"]


def test_feature_maps_have_a_white_image(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((4, 3)))
    overlay = extract_attention(caption(str(tmp_path / "a.npy"), ("▁a", "▁b")))
    assert isinstance(overlay, AttentionOverlay)
    assert overlay.image.shape == (64, 64, 3) and (overlay.image == 255).all()


def test_captions_are_written_as_plots_and_a_page_with_their_images(
    image: Path, tmp_path: Path
) -> None:
    with_html = caption(str(image), ("▁<b>", "▁sky"))
    files = plot_translations(tmp_path / "plots", "7", [with_html, with_html])
    assert [file.name for file in files] == ["7.png", "7-2.png", "7.html"]
    text = files[-1].read_text(encoding="utf-8")
    assert text.count("url(data:image/png;base64,") == 2
    assert "<b>" not in text and "&lt;b&gt;" in text


def test_page_has_a_cell_per_region_and_relative_weights(tmp_path: Path) -> None:
    weights_ts = torch.tensor([[0.1, 0.2, 0.2, 0.5, 0.0, 0.0]])
    overlay = AttentionOverlay(WHITE, (2, 3), ["sky"], weights_ts)
    page = write_and_parse(tmp_path / "a.html", overlay)
    weights = [a["data-weights"] for _, a in page.tags if "data-weights" in a]
    assert weights == ["0.200 0.400 0.400 1.000 0.000 0.000"]
    assert [tag for tag, _ in page.tags].count("span") == 6 + 1
    assert page.spans == ["sky"]


def test_translation_without_attention_writes_no_files(tmp_path: Path) -> None:
    assert plot_translations(tmp_path / "plots", "7", [Translation("a", pieces=("▁b",))]) == []
    assert not (tmp_path / "plots").exists()


def test_attention_is_a_page_without_plots_if_matplotlib_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_text: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "nmt.evaluation.plots", None)
    _warn_once.cache_clear()
    translation = Translation(
        "a b", "c", source_pieces=("a", "b"), pieces=("c",), attention=torch.rand(2, 3)
    )
    for name in ("1", "2"):
        files = plot_translations(tmp_path, name, [translation])
        assert files == [tmp_path / f"{name}.html"]
        assert files[0].is_file()
    (record,) = log_text.records
    assert "[plots]'" in record.getMessage()
