"""Attention of translations, as matrices between words and as overlays on images."""

import base64
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nmt.data.vocabulary import Span
from nmt.evaluation.overlay import AttentionOverlay
from nmt.evaluation.report.sentence import quantize
from nmt.evaluation.samples import _warn_once, extract_attention, write_attention
from nmt.search.translation import Translation
from tests.evaluation.report.pages import Page, attended

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


def test_captions_are_written_as_plots_and_a_report_with_their_images(
    image: Path, tmp_path: Path
) -> None:
    with_html = caption(str(image), ("▁<b>", "▁sky"))
    write_attention(tmp_path / "plots", "7", [with_html, with_html], ["a", "b"])
    files = sorted(file.name for file in (tmp_path / "plots").iterdir())
    assert files == ["7-2.png", "7.html", "7.png"]
    (target,) = Page(tmp_path / "plots" / "7.html").details[1]["targets"]
    assert target["grid"] == [2, 2]
    assert target["levels"]["words"]["target"] == ["<b>", "sky", "</s>"]
    assert target["views"][0]["words"] == quantize(torch.eye(4)[:3])
    data = base64.b64decode(target["image"].removeprefix("data:image/png;base64,"))
    assert Image.open(BytesIO(data)).size == (40, 40)


def test_translation_without_attention_writes_no_files(tmp_path: Path) -> None:
    write_attention(tmp_path / "plots", "7", [Translation("a", pieces=("▁b",))], ["c"])
    assert not (tmp_path / "plots").exists()


def test_attention_is_a_report_without_plots_if_matplotlib_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_text: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "nmt.evaluation.plots", None)
    _warn_once.cache_clear()
    one = attended("a b", "c", [[0.5, 0.5]])
    for name in ("1", "2"):
        write_attention(tmp_path, name, [one], ["c"])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1.html", "2.html"]
    (record,) = log_text.records
    assert "[plots]'" in record.getMessage()
