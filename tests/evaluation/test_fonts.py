"""Selection of fonts."""

import logging
from importlib.metadata import PackageNotFoundError, files
from types import SimpleNamespace

import matplotlib
import pytest

from nmt.evaluation import fonts
from nmt.evaluation.fonts import candidate_families, select_fonts


def has_packaged_font() -> bool:
    try:
        return bool(files(fonts.FONT_PACKAGE))
    except PackageNotFoundError:
        return False


needs_hangul = pytest.mark.skipif(
    not has_packaged_font(), reason=f"{fonts.FONT_PACKAGE} is not installed"
)


@needs_hangul
def test_packaged_font_is_used_only_for_characters_missing_in_dejavu() -> None:
    assert select_fonts(["weiße ▁", "Привет"]) == (["DejaVu Sans"], ["weiße ▁", "Привет"])
    families, texts = select_fonts(["한국"])
    assert families[0] == "DejaVu Sans" and len(families) == 2
    assert texts == ["한국"]


@needs_hangul
def test_decomposed_hangul_is_composed() -> None:
    assert select_fonts(["\u1112\u1161\u11ab"])[1] == ["한"]


def test_characters_without_font_are_replaced_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fonts.warn_missing_font.cache_clear()
    with caplog.at_level(logging.WARNING):
        # Code points for private use, which installed fonts do not cover.
        assert select_fonts(["a\U00100001"])[1] == ["a\N{REPLACEMENT CHARACTER}"]
        select_fonts(["b\U00100002"])
    assert caplog.text.count("no font for the characters U+100000 to U+1000FF") == 1
    assert "pip install koreanize-matplotlib" in caplog.text


def test_each_character_uses_first_family_that_covers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    characters = {
        "DejaVu Sans": "ab",
        "Malgun Gothic": "ab한",
        "NanumGothic": "ab한漢",
        "Zed": "한漢🙂",
    }
    monkeypatch.setattr(fonts, "candidate_families", lambda: iter(characters))
    monkeypatch.setattr(fonts, "font_characters", lambda family: frozenset(characters[family]))
    assert select_fonts(["ab한"])[0] == ["DejaVu Sans", "Malgun Gothic"]
    assert select_fonts(["한漢"])[0] == ["DejaVu Sans", "Malgun Gothic", "NanumGothic"]
    assert select_fonts(["🙂"])[0] == ["DejaVu Sans", "Zed"]


def test_candidate_families_are_preferred_then_packaged_then_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundled = f"{matplotlib.get_data_path()}/fonts/ttf"
    system = "/usr/share/fonts"
    installed = [
        SimpleNamespace(name=name, fname=f"{directory}/{name}.ttf", weight=weight)
        for name, directory, weight in [
            ("STIXGeneral", bundled, 400),
            ("Zed", system, "normal"),
            ("Zed Black", system, 900),
            ("Arvo", system, 400),
            ("Last Resort", system, 400),
            ("Malgun Gothic", system, 400),
        ]
    ]
    monkeypatch.setattr(fonts, "fontManager", SimpleNamespace(ttflist=installed))
    monkeypatch.setattr(fonts, "add_packaged_font", lambda: True)
    order = ["DejaVu Sans", "Malgun Gothic", "NanumGothic", "Arvo", "Zed"]
    assert list(candidate_families()) == order
    installed.append(SimpleNamespace(name="NanumGothic", fname=f"{system}/n.ttf", weight=400))
    monkeypatch.setattr(fonts, "add_packaged_font", lambda: pytest.fail("already installed"))
    assert list(candidate_families()) == order
