"""Attention over a picture: where the light falls, the panels, the page."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from PIL import Image

from nmt.evaluation.inspection import attention_entry, draw_translations
from nmt.evaluation.overlays import DARK, Overlay, draw_overlay, light, spread
from nmt.search.translation import Translation
from tests.evaluation.test_page import read

WHITE = np.full((40, 60, 3), 255, np.uint8)


def overlay(*places: int, words: list[str] | None = None) -> Overlay:
    """Each word read from one place of a grid of 2 rows and 3 columns."""
    weights_ts = torch.eye(6)[list(places)]
    return Overlay(WHITE, (2, 3), words or [f"w{place}" for place in places], weights_ts)


@pytest.mark.parametrize("place", range(6))
def test_the_light_falls_on_the_place_that_was_read(place: int) -> None:
    (shares_yx,) = spread(overlay(place))
    assert shares_yx.shape == (40, 60)
    row, column = divmod(int(shares_yx.argmax()), 60)
    assert (row // 20, column // 20) == divmod(place, 3)
    assert shares_yx.max() == pytest.approx(1)
    assert shares_yx.min() >= 0
    middle = shares_yx[20 * (place // 3) + 10, 20 * (place % 3) + 10]
    assert middle > 0.9
    other = 5 - place
    assert shares_yx[20 * (other // 3) + 10, 20 * (other % 3) + 10] < 0.1


def test_weights_that_are_all_alike_leave_the_picture_as_it_is() -> None:
    even = overlay(0)._replace(weights_ts=torch.full((1, 6), 1 / 6))
    (shares_yx,) = spread(even)
    assert np.allclose(shares_yx, 1, atol=1e-5)
    picture = np.random.default_rng(2).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    assert np.array_equal(light(picture, np.ones((40, 60))), picture)
    dark = light(picture, np.zeros((40, 60)))
    assert np.abs(dark - DARK * picture).max() <= 0.5


def test_a_word_without_weights_is_dark() -> None:
    (shares_yx,) = spread(overlay(0)._replace(weights_ts=torch.zeros(1, 6)))
    assert (shares_yx == 0).all()


def test_a_picture_has_a_panel_a_word_after_the_picture_itself(tmp_path: Path) -> None:
    sizes = {}
    for count in (1, 4, 8):
        path = tmp_path / f"{count}.png"
        draw_overlay(overlay(*[0] * count), path)
        sizes[count] = imread(path).shape[:2]
    assert sizes[4][1] == pytest.approx(2.5 * sizes[1][1], rel=0.05)
    assert sizes[4][0] == pytest.approx(sizes[1][0], abs=3)
    assert sizes[8][0] == pytest.approx(2 * sizes[1][0], rel=0.1)  # nine panels take two rows


def test_long_words_are_shortened_and_dollars_are_no_formula(tmp_path: Path) -> None:
    draw_overlay(overlay(0, 1), tmp_path / "a.png")
    draw_overlay(overlay(0, 1, words=["x" * 400, "$\\no_formula$"]), tmp_path / "b.png")
    assert imread(tmp_path / "b.png").shape == imread(tmp_path / "a.png").shape


def caption(source: str, pieces: tuple[str, ...]) -> Translation:
    rows = torch.eye(4).repeat(3, 1)[: len(pieces) + 1]
    return Translation(source, pieces=pieces, attention=rows, grid=(2, 2))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(WHITE[:, :40]).save(tmp_path / "p.png")
    return tmp_path / "p.png"


def test_pieces_of_a_word_share_a_panel_and_the_end_has_none(picture: Path) -> None:
    found = attention_entry(caption(str(picture), ("▁re", "d", "▁sky")))
    assert isinstance(found, Overlay)
    assert found.words == ["red", "sky"]
    assert found.weights_ts.tolist() == [[0.5, 0.5, 0, 0], [0, 0, 1, 0]]
    assert found.picture.shape == (40, 40, 3)


def test_a_caption_of_one_word_is_shown_by_its_pieces(picture: Path) -> None:
    found = attention_entry(caption(str(picture), ("▁", "하", "늘")))
    assert isinstance(found, Overlay)
    assert found.words == ["▁", "하", "늘"]


def test_feature_maps_are_drawn_on_white(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((4, 3)))
    found = attention_entry(caption(str(tmp_path / "a.npy"), ("▁a", "▁b")))
    assert isinstance(found, Overlay)
    assert found.picture.shape == (64, 64, 3) and (found.picture == 255).all()


def test_captions_are_drawn_beside_a_page_that_holds_their_pictures(
    picture: Path, tmp_path: Path
) -> None:
    evil = caption(str(picture), ("▁<b>", "▁sky"))
    files = draw_translations(tmp_path / "drawn", "7", [evil, evil])
    assert [file.name for file in files] == ["7.png", "7-2.png", "7.html"]
    text = files[-1].read_text(encoding="utf-8")
    assert text.count("url(data:image/png;base64,") == 2
    assert "<b>" not in text and "&lt;b&gt;" in text


def test_a_page_has_a_cell_a_place_and_each_words_shares(tmp_path: Path) -> None:
    weights_ts = torch.tensor([[0.1, 0.2, 0.2, 0.5, 0.0, 0.0]])
    page = read(tmp_path / "a.html", Overlay(WHITE, (2, 3), ["sky"], weights_ts))
    shown = [a["data-weights"] for _, a in page.tags if "data-weights" in a]
    assert shown == ["0.200 0.400 0.400 1.000 0.000 0.000"]
    assert [tag for tag, _ in page.tags].count("span") == 6 + 1
    assert page.spans == ["sky"]
