"""Files of the report."""

import base64
import hashlib
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nmt.errors import UserError
from nmt.evaluation.report import writer
from nmt.evaluation.report.page import render_frame
from nmt.evaluation.report.writer import open_report
from nmt.search.translation import Translation
from tests.evaluation.report.pages import Page, attended, decompress

EVIL = "</script><script>alert(1)</script> <img src=x onerror=alert(2)>"
ONE = attended("a b", "c d", [[0.75, 0.25], [0.0, 1.0]])


def write(path: Path, count: int = 1, title: str = "test") -> Page:
    with open_report(path, title) as report:
        for number in range(count):
            report.add(number, replace(ONE, source=f"{number} b"), reference="c d")
    return Page(path)


def test_page_holds_all_sentences_in_order(tmp_path: Path) -> None:
    page = write(tmp_path / "a.html", 3)
    assert [row["source"] for row in page.rows] == ["0 b", "1 b", "2 b"]
    assert page.details[2]["targets"][0]["views"][0]["words"] == [[191, 64], [0, 255]]
    assert [file.name for file in tmp_path.iterdir()] == ["a.html"]


def test_page_loads_nothing_and_its_policy_allows_its_own_script_alone(tmp_path: Path) -> None:
    page = write(tmp_path / "a.html")
    for _, attributes in page.tags:
        assert not attributes.keys() & {
            "src",
            "href",
            "action",
            "data",
            "srcset",
            "onclick",
            "style",
        }
    assert page.policy.startswith("default-src 'none'; ")
    for kind in ("script", "style"):
        digest = hashlib.sha256(page.texts[kind][0].encode()).digest()
        source = f"{kind}-src 'sha256-{base64.b64encode(digest).decode()}';"
        assert source in page.policy
    assert "url(" not in page.texts["style"][0] and "@import" not in page.texts["style"][0]
    assert "import " not in page.texts["script"][0]


def test_html_in_texts_and_title_is_escaped(tmp_path: Path) -> None:
    with open_report(tmp_path / "a.html", EVIL) as report:
        report.add(0, attended(EVIL, EVIL, [[0.25] * 4] * 4), reference=EVIL)
    page = Page(tmp_path / "a.html")
    assert page.texts["title"] == [EVIL]
    assert page.rows[0]["source"] == EVIL
    tags = [tag for tag, _ in page.tags]
    assert "img" not in tags and tags.count("script") == 3


def test_large_report_is_a_page_and_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PART_SENTENCES", 2)
    monkeypatch.setattr(writer, "MAX_PAGE_BYTES", 700)
    page = write(tmp_path / "a.html", 5)
    assert "part" not in page.texts and len(page.rows) == 5
    files = sorted((tmp_path / "a_parts").iterdir())
    assert [file.name for file in files] == ["0.js", "1.js", "2.js"]
    found = re.fullmatch(r'receivePart\(1,"(.*)"\)\n', files[1].read_text())
    assert found is not None
    assert [one["targets"][0]["text"] for one in decompress(found[1])] == ["c d", "c d"]
    assert "'strict-dynamic'" in page.policy
    # A smaller report of the same name leaves no parts behind.
    write(tmp_path / "a.html", 1)
    assert [file.name for file in tmp_path.iterdir()] == ["a.html"]


def test_directory_of_other_files_is_neither_removed_nor_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_parts").mkdir()
    (tmp_path / "a_parts" / "mine.txt").write_text("mine")
    write(tmp_path / "a.html")
    monkeypatch.setattr(writer, "MAX_PAGE_BYTES", 1)
    with pytest.raises(UserError, match="a_parts: exists and is not part of a report"):
        write(tmp_path / "a.html")
    assert (tmp_path / "a_parts" / "mine.txt").read_text() == "mine"


def test_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing: is not a directory; create it"):
        write(tmp_path / "missing" / "a.html")


def test_failed_report_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PART_SENTENCES", 1)
    monkeypatch.setattr(writer, "MAX_PAGE_BYTES", 1)

    def fail() -> None:
        with open_report(tmp_path / "a.html", "test") as report:
            report.add(0, ONE)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_thousand_sentences_of_fifteen_words_are_below_five_megabytes(tmp_path: Path) -> None:
    """22 subwords, weights without structure: real ones compress better."""
    torch.manual_seed(1)
    words = [f"w{n}" for n in range(22)]
    with open_report(tmp_path / "a.html", "test") as report:
        for number in range(50):
            weights = (torch.randn(22, 22) * 3).softmax(-1).tolist()
            report.add(number, attended(" ".join(words), " ".join(words), weights))
    assert (tmp_path / "a.html").stat().st_size < 5_000_000 / 20


def test_frame_shows_texts_without_scripts() -> None:
    frame = render_frame(replace(ONE, n_best=(ONE, replace(ONE, text="<i>"))))
    assert frame.count("<td") == 3 and "&lt;i&gt;" in frame and "<i>" not in frame
    assert 'srcdoc="&lt;!doctype html&gt;' in frame
    assert "iframe" not in render_frame(Translation("a", "b"))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_list_does_not_scroll_sideways(tmp_path: Path) -> None:
    sync = pytest.importorskip("playwright.sync_api")
    write(tmp_path / "a.html", 3)
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page()
        page.goto((tmp_path / "a.html").as_uri())
        page.wait_for_selector("#rows tr")
        for width in (400, 900, 1300, 1920, 2600):
            page.set_viewport_size({"width": width, "height": 800})
            script = "(list) => list.scrollWidth - list.clientWidth"
            assert page.eval_on_selector(".scroll", script) == 0, width
        browser.close()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_part_that_cannot_be_loaded_is_named_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = pytest.importorskip("playwright.sync_api")
    monkeypatch.setattr(writer, "PART_SENTENCES", 1)
    monkeypatch.setattr(writer, "MAX_PAGE_BYTES", 1)
    write(tmp_path / "a.html", 3)
    part = tmp_path / "a_parts" / "1.js"
    whole = part.read_text()
    part.write_text(whole[:-9])
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.goto((tmp_path / "a.html").as_uri())
        heading = page.locator("#heading")
        heading.get_by_text("Sentence 0").wait_for()
        page.keyboard.press("j")
        heading.get_by_text("1.js is damaged").wait_for()
        assert page.locator("#text *").count() == 0
        part.unlink()
        page.locator("tr[aria-current]").click()
        heading.get_by_text("1.js cannot be loaded").wait_for()
        part.write_text(whole)
        page.locator("tr[aria-current]").click()
        heading.get_by_text("Sentence 1").wait_for()
        browser.close()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_browser_shows_the_selected_sentence(tmp_path: Path) -> None:
    write(tmp_path / "a.html", 3)
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--virtual-time-budget=4000", f"{(tmp_path / 'a.html').as_uri()}#2"]
    dom = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Sentence 2" in dom and "3 of 3" in dom
    assert 'aria-label="d: b 1.00"' in dom
    assert dom.count('class="word ') == 4 and "<circle" not in dom
