"""Attention plots: matrices between words, and overlays on images."""

import sys
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.image import imread

from nmt.evaluation.overlay import MIN_BRIGHTNESS, AttentionOverlay
from nmt.evaluation.plots import (
    MARGIN_INCHES,
    darken,
    plot_matrix,
    plot_overlay,
    upsample_weights,
)
from nmt.search.alignment import AttentionMatrix
from tests.evaluation.test_fonts import needs_hangul

WHITE = np.full((40, 60, 3), 255, np.uint8)


def size(path: Path) -> tuple[int, int]:
    height, width = imread(path).shape[:2]
    return width, height


def test_matrix_grows_by_one_cell_per_word(tmp_path: Path) -> None:
    for rows, columns in ((4, 6), (4, 10), (9, 6)):
        attention = AttentionMatrix(["bb"] * columns, ["aa"] * rows, torch.rand(rows, columns))
        plot_matrix(attention).savefig(tmp_path / f"{rows}{columns}.png")
    small, wide, high = (size(tmp_path / f"{name}.png") for name in ("46", "410", "96"))
    cell = 36  # 0.3 inches of 120 dots
    assert wide[0] - small[0] == pytest.approx(4 * cell, abs=1) and wide[1] == small[1]
    assert high[1] - small[1] == pytest.approx(5 * cell, abs=1) and high[0] == small[0]


def test_matrix_cell_of_greatest_weight_is_brightest(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    plot_matrix(AttentionMatrix("abc", "xyz", torch.eye(3)[[1, 0, 2]])).savefig(path)
    plot = imread(path)[..., :3]
    yellow = np.array([253, 231, 37]) / 255  # the bright end of viridis
    is_yellow = np.abs(plot - yellow).max(axis=2) < 0.01
    # A cell is 36 dots high, the bright end of the color bar only a few.
    columns = np.array_split(np.flatnonzero(is_yellow.sum(axis=0) > 30), 3)
    tops = [is_yellow[:, column[18]].argmax() for column in columns]
    assert tops[1] < tops[0] < tops[2]


@needs_hangul
def test_hangul_is_drawn_without_warnings_or_changed_settings(tmp_path: Path) -> None:
    settings = dict(matplotlib.rcParams)
    attention = AttentionMatrix(["▁weiße", "</s>"], ["▁한국", "漢字", "</s>"], torch.rand(3, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_matrix(attention).savefig(tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == settings
    assert "koreanize_matplotlib" not in sys.modules


def test_matrix_labels_are_truncated_and_not_parsed_as_math(tmp_path: Path) -> None:
    path, plain = tmp_path / "a.png", tmp_path / "b.png"
    weights_ts = torch.rand(1, 2)
    math = AttentionMatrix(["$\\no_formula$", "x" * 400], ["$^$"], weights_ts)
    plot_matrix(math).savefig(path)
    plot_matrix(AttentionMatrix(["x", "x" * 41], ["$^$"], weights_ts)).savefig(plain)
    assert size(path)[1] == size(plain)[1]


def test_columns_of_text_from_right_to_left_are_in_its_order() -> None:
    for words, is_reversed in ((["(קרא", "ספר"], True), (["read", "ספר"], False)):
        left, right = (
            plot_matrix(AttentionMatrix(words, ["a"], torch.rand(1, 2))).axes[0].get_xlim()
        )
        assert (left > right) == is_reversed


def overlay(*regions: int, words: list[str] | None = None) -> AttentionOverlay:
    """Return an overlay whose words attend to one region each, in a grid of 2 x 3."""
    weights_ts = torch.eye(6)[list(regions)]
    return AttentionOverlay(
        WHITE, (2, 3), words or [f"w{region}" for region in regions], weights_ts
    )


@pytest.mark.parametrize("region", range(6))
def test_upsampled_weights_have_their_maximum_in_the_region(region: int) -> None:
    (weights_yz,) = upsample_weights(overlay(region))
    assert weights_yz.shape == (40, 60)
    row, column = divmod(int(weights_yz.argmax()), 60)
    assert (row // 20, column // 20) == divmod(region, 3)
    assert weights_yz.max() == pytest.approx(1)
    assert weights_yz.min() >= 0
    center = weights_yz[20 * (region // 3) + 10, 20 * (region % 3) + 10]
    assert center > 0.9
    other = 5 - region
    assert weights_yz[20 * (other // 3) + 10, 20 * (other % 3) + 10] < 0.1


def test_uniform_weights_leave_the_image_unchanged() -> None:
    uniform = overlay(0)._replace(weights_ts=torch.full((1, 6), 1 / 6))
    (weights_yz,) = upsample_weights(uniform)
    assert np.allclose(weights_yz, 1, atol=1e-5)
    image = np.random.default_rng(2).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    assert np.array_equal(darken(image, np.ones((40, 60))), image)
    dark = darken(image, np.zeros((40, 60)))
    assert np.abs(dark - MIN_BRIGHTNESS * image).max() <= 0.5


def test_zero_weights_upsample_to_zero() -> None:
    (weights_yz,) = upsample_weights(overlay(0)._replace(weights_ts=torch.zeros(1, 6)))
    assert (weights_yz == 0).all()


def test_overlay_has_a_panel_per_word_after_the_image(tmp_path: Path) -> None:
    sizes = {}
    for count in (1, 4, 8):
        path = tmp_path / f"{count}.png"
        plot_overlay(overlay(*[0] * count)).savefig(path)
        sizes[count] = imread(path).shape[:2]
    assert sizes[4][1] == pytest.approx(2.5 * sizes[1][1], rel=0.05)
    assert sizes[4][0] == pytest.approx(sizes[1][0], abs=3)
    assert sizes[8][0] == pytest.approx(2 * sizes[1][0], rel=0.1)  # nine panels take two rows


def test_overlay_titles_are_truncated_and_not_parsed_as_math(tmp_path: Path) -> None:
    plot_overlay(overlay(0, 1)).savefig(tmp_path / "a.png")
    plot_overlay(overlay(0, 1, words=["x" * 400, "$\\no_formula$"])).savefig(tmp_path / "b.png")
    assert imread(tmp_path / "b.png").shape == imread(tmp_path / "a.png").shape


def test_figure_has_no_labels_beyond_its_edges(tmp_path: Path) -> None:
    """The file with a tight bounding box, which contains all that is drawn, is no larger."""
    labels = ["a long source label", "b"], ["a much longer target label", "c", "d"]
    figure = plot_matrix(AttentionMatrix(*labels, torch.rand(3, 2)))
    figure.savefig(tmp_path / "a.png")
    figure.savefig(tmp_path / "tight.png", bbox_inches="tight", pad_inches=MARGIN_INCHES)
    assert size(tmp_path / "tight.png") == pytest.approx(size(tmp_path / "a.png"), abs=2)
    for suffix in ("svg", "pdf"):
        figure.savefig(tmp_path / f"a.{suffix}")
    assert figure._repr_png_() == (tmp_path / "a.png").read_bytes()
