"""Selection of fonts."""

import logging
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import pytest
from matplotlib.font_manager import FontManager, FontProperties, findfont, fontManager

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
    fonts._warned_scripts.clear()
    with caplog.at_level(logging.WARNING):
        # Code points for private use, which installed fonts do not cover.
        assert select_fonts(["a\U00100001"])[1] == ["a\N{REPLACEMENT CHARACTER}"]
        select_fonts(["b\U00100002"])
    assert caplog.text.count("no font for") == 1
    assert "no font for U+100001 (UNNAMED), drawn as" in caplog.text
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


def test_characters_are_those_of_the_font_that_draws_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oblique font of DejaVu Sans has no Arabic; which one is listed first is accidental."""
    upright = findfont(FontProperties(family="DejaVu Sans"))
    oblique = findfont(FontProperties(family="DejaVu Sans", style="oblique"))
    assert upright != oblique
    for listed in (fontManager.ttflist, fontManager.ttflist[::-1]):
        monkeypatch.setattr(fontManager, "ttflist", listed)
        fonts.font_characters.cache_clear()
        assert select_fonts(["سلام"]) == (["DejaVu Sans"], ["سلام"])
        assert fonts.font_characters("DejaVu Sans") >= frozenset("سلامʼⴰ")


@needs_hangul
def test_fonts_installed_after_matplotlib_listed_them_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (packaged,) = (f for f in files(fonts.FONT_PACKAGE) or [] if f.name == "NanumGothic.ttf")
    damaged = tmp_path / "damaged.ttf"
    damaged.write_bytes(b"no font")
    monkeypatch.setattr(fonts, "fontManager", FontManager())
    monkeypatch.setattr(fonts, "add_packaged_font", lambda: False)
    monkeypatch.setattr(fonts, "findSystemFonts", lambda: [str(packaged.locate()), str(damaged)])
    fonts.font_characters.cache_clear()
    fonts.add_new_fonts.cache_clear()
    assert select_fonts(["한국"])[1] == ["한국"]
    assert select_fonts(["\U00100001"])[1] == ["\N{REPLACEMENT CHARACTER}"]
    fonts.font_characters.cache_clear()
    fonts.add_new_fonts.cache_clear()
