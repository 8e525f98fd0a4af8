import logging
import sys
import warnings
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.image import imread

from nmt.evaluation import fonts
from nmt.evaluation.fonts import fit_fonts
from nmt.evaluation.pictures import draw_attention


def has_packaged_font() -> bool:
    try:
        return bool(files(fonts.PACKAGE))
    except PackageNotFoundError:
        return False


needs_hangul = pytest.mark.skipif(not has_packaged_font(), reason=f"without {fonts.PACKAGE}")


def size(path: Path) -> tuple[int, int]:
    height, width = imread(path).shape[:2]
    return width, height


def test_a_picture_grows_by_a_cell_a_word(tmp_path: Path) -> None:
    for rows, columns in ((4, 6), (4, 10), (9, 6)):
        labels = ["aa"] * rows, ["bb"] * columns
        draw_attention(
            torch.rand(rows, columns), labels[1], labels[0], tmp_path / f"{rows}{columns}.png"
        )
    small, wide, high = (size(tmp_path / f"{name}.png") for name in ("46", "410", "96"))
    cell = 36  # 0.3 inches of 120 dots
    assert wide[0] - small[0] == pytest.approx(4 * cell, abs=1) and wide[1] == small[1]
    assert high[1] - small[1] == pytest.approx(5 * cell, abs=1) and high[0] == small[0]


def test_the_greatest_weight_is_the_brightest_cell(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    draw_attention(torch.eye(3)[[1, 0, 2]], list("abc"), list("xyz"), path)
    picture = imread(path)[..., :3]
    yellow = np.array([253, 231, 37]) / 255  # the bright end of viridis
    is_yellow = np.abs(picture - yellow).max(axis=2) < 0.01
    # A cell is 36 dots high, the bright end of the bar only a few.
    columns = np.array_split(np.flatnonzero(is_yellow.sum(axis=0) > 30), 3)
    tops = [is_yellow[:, column[18]].argmax() for column in columns]
    assert tops[1] < tops[0] < tops[2]


@needs_hangul
def test_hangul_is_drawn_with_real_letters_beside_the_mark_of_pieces(tmp_path: Path) -> None:
    settings = dict(matplotlib.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_attention(
            torch.rand(3, 2),
            ["▁weiße", "</s>"],
            ["▁한국", "漢字", "</s>"],
            tmp_path / "a.png",
            "제목",
        )
    assert dict(matplotlib.rcParams) == settings
    assert "koreanize_matplotlib" not in sys.modules


@needs_hangul
def test_the_packaged_font_is_asked_only_for_what_dejavu_lacks() -> None:
    assert fit_fonts(["weiße ▁", "Привет"]) == (["DejaVu Sans"], ["weiße ▁", "Привет"])
    families, texts = fit_fonts(["한국"])
    assert families[0] == "DejaVu Sans" and len(families) == 2
    assert texts == ["한국"]


@needs_hangul
def test_hangul_in_its_parts_is_put_together() -> None:
    assert fit_fonts(["\u1112\u1161\u11ab"])[1] == ["한"]


def test_letters_without_a_font_are_marked_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    fonts._warn_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        # Letters set aside for private use, which no font of a system has at this place.
        assert fit_fonts(["a\U00100001"])[1] == ["a\N{REPLACEMENT CHARACTER}"]
        fit_fonts(["b\U00100002"])
    assert caplog.text.count("no font for letters of U+100000 to U+1000FF") == 1
    assert "pip install koreanize-matplotlib" in caplog.text


def test_each_letter_comes_from_the_first_font_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    letters = {
        "DejaVu Sans": "ab",
        "Malgun Gothic": "ab한",
        "NanumGothic": "ab한漢",
        "Zed": "한漢🙂",
    }
    monkeypatch.setattr(fonts, "_families", lambda: iter(letters))
    monkeypatch.setattr(fonts, "_letters", lambda family: frozenset(letters[family]))
    assert fit_fonts(["ab한"])[0] == ["DejaVu Sans", "Malgun Gothic"]
    assert fit_fonts(["한漢"])[0] == ["DejaVu Sans", "Malgun Gothic", "NanumGothic"]
    assert fit_fonts(["🙂"])[0] == ["DejaVu Sans", "Zed"]


def test_known_fonts_of_the_system_go_before_the_packaged_one_and_others_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = f"{matplotlib.get_data_path()}/fonts/ttf"
    here = "/usr/share/fonts"
    found = [
        SimpleNamespace(name=name, fname=f"{folder}/{name}.ttf", weight=weight)
        for name, folder, weight in [
            ("STIXGeneral", own, 400),
            ("Zed", here, "normal"),
            ("Zed Black", here, 900),
            ("Arvo", here, 400),
            ("Last Resort", here, 400),
            ("Malgun Gothic", here, 400),
        ]
    ]
    monkeypatch.setattr(fonts, "fontManager", SimpleNamespace(ttflist=found))
    monkeypatch.setattr(fonts, "_add_packaged_font", lambda: True)
    order = ["DejaVu Sans", "Malgun Gothic", "NanumGothic", "Arvo", "Zed"]
    assert list(fonts._families()) == order
    found.append(SimpleNamespace(name="NanumGothic", fname=f"{here}/n.ttf", weight=400))
    monkeypatch.setattr(fonts, "_add_packaged_font", lambda: pytest.fail("the system has it"))
    assert list(fonts._families()) == order


def test_dollars_are_no_formula_and_long_labels_are_shortened(tmp_path: Path) -> None:
    path, plain = tmp_path / "a.png", tmp_path / "b.png"
    draw_attention(torch.rand(1, 2), ["$\\no_formula$", "x" * 400], ["$^$"], path, title="$_$")
    draw_attention(torch.rand(1, 2), ["x", "x" * 41], ["$^$"], plain, title="$_$")
    assert size(path)[1] == size(plain)[1]
