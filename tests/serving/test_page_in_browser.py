"""The browser page in Chromium: typing, alternatives, attention by hand, locked words, keyboard.

The service is replaced by canned translations, so that requests and display are known exactly.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = Path("/usr/bin/chromium")

from fastapi import FastAPI  # noqa: E402
from fastapi.testclient import TestClient  # noqa: E402

from nmt.serving.page import page_router  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="requires Chromium"),
    # A socket of the browser's own process may close after it.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
MODELS = [{"name": name, "source": "de", "target": "en"} for name in ("first", "second")]
SETTINGS = {"charLimit": 60, "keyRequired": False}


def _spans(text: str) -> list[tuple[int, int]]:
    """Return two pieces per long word: the first letter with the space before it, and the rest."""
    spans, start = [], 0
    for word in text.split(" "):
        begin, cut = max(0, start - 1), start + 1
        end = start + len(word)
        spans += [(begin, cut), (cut, end)] if len(word) > 3 else [(begin, end)]
        start = end + 1
    return spans


def _translation(source: str, text: str) -> dict[str, Any]:
    spans, source_spans = _spans(text), _spans(source)
    rows, columns = len(spans) + 1, len(source_spans) + 1
    attention = [
        [0.9 if s == min(t, columns - 1) else 0.1 / (columns - 1) for s in range(columns)]
        for t in range(rows)
    ]
    return {
        "source": source,
        "translation": text,
        "source_pieces": [source[a:b] for a, b in source_spans],
        "pieces": [text[a:b].replace(" ", "▁") for a, b in spans],
        "source_spans": source_spans,
        "spans": spans,
        "score": -0.25,
        "finished": True,
        "piece_scores": [-0.1] * rows,
        "attention": attention,
        "alternatives": [[{"piece": f"▁x{t}", "score": -2.0}] for t in range(rows)],
    }


class Page:
    """The page with canned translations, and the sentences that it has requested."""

    def __init__(self, browser: Any, **options: Any) -> None:
        app = FastAPI()
        app.include_router(page_router())
        self.client, self.requested = TestClient(app), list[dict[str, Any]]()
        self.errors = list[str]()
        self.page = browser.new_page(**options)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.route("**/*", self._answer)
        self.page.goto("http://page.test/")

    def _answer(self, route: Any) -> None:
        path = route.request.url.removeprefix("http://page.test")
        if path == "/v1/models":
            return route.fulfill(json=MODELS)
        if path == "/frontend/settings":
            return route.fulfill(json=SETTINGS)
        if path == "/v1/translate":
            given = json.loads(route.request.post_data)
            self.requested += [{"model": given["model"], **one} for one in given["sentences"]]
            return route.fulfill(json={"sentences": list(map(_translate, given["sentences"]))})
        found = self.client.get(path)
        return route.fulfill(
            status=found.status_code, headers=dict(found.headers), body=found.content
        )

    def type(self, text: str) -> None:
        self.page.fill("#text", text)
        self.wait(text.split(".")[0].upper())

    def wait(self, text: str) -> None:
        self.page.locator(".view >> nth=0 >> .translation", has_text=text).wait_for(timeout=10_000)

    def words(self) -> list[str]:
        return self.page.locator(".view >> nth=0 >> .word").all_inner_texts()


def _translate(given: dict[str, Any]) -> dict[str, Any]:
    if given.get("prefix", "").endswith("unmöglich"):
        return {**_translation(given["text"], ""), "pieces": [], "spans": [], "finished": False}
    begin = "".join(given.get("pieces", [])).replace("▁", " ").strip() or given.get("prefix", "")
    text = f"{begin} AND ON" if begin else given["text"].upper()
    return _translation(given["text"], text)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as starter:
        yield starter.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture
def page(browser: Any) -> Iterator[Page]:
    opened = Page(browser, viewport={"width": 1000, "height": 900})
    yield opened
    assert opened.errors == []
    opened.page.close()


def test_text_is_translated_while_typing_sentence_by_sentence(page: Page) -> None:
    page.type("Ein Haus. Das Buch.")
    assert page.words() == ["EIN", "HAUS.", "DAS", "BUCH."]
    # Only the sentence that is new is requested.
    count = len(page.requested)
    page.type("Ein Haus. Ein Hund.")
    page.wait("HUND")
    assert [one["text"] for one in page.requested[count:]] == ["Ein Hund."]
    page.page.fill("#text", "zu lang " * 10)
    page.page.locator("#message", has_text="longer than 60 characters").wait_for()


def test_alternative_fixes_the_pieces_up_to_it(page: Page) -> None:
    page.type("Ein Haus steht da")
    page.page.locator(".word").nth(1).click()
    page.page.locator(".rest", has_text="AND ON").wait_for()
    page.page.keyboard.press("1")
    page.wait("EIN x1 AND ON")
    assert page.requested[-1]["pieces"][:2] == ["EIN", "▁x1"]
    page.page.locator(".undo").first.click()
    page.wait("HAUS")
    page.page.locator(".word").nth(1).click()
    page.page.locator(".other input").fill("Gebäude")
    page.page.locator(".other button").click()
    page.wait("EIN Gebäude AND ON")
    assert "EIN Gebäude" in [one.get("prefix") for one in page.requested]
    # The focus has returned to the word.
    page.page.keyboard.press("Control+z")
    page.wait("HAUS")


def test_change_without_a_translation_is_taken_back(page: Page) -> None:
    page.type("Ein Haus steht da")
    page.page.locator(".word").nth(1).click()
    page.page.locator(".other input").fill("unmöglich")
    page.page.locator(".other button").click()
    page.page.locator("#message", has_text="No translation satisfies these changes").wait_for()
    assert page.words() == ["EIN", "HAUS", "STEHT", "DA"]


def test_drag_in_the_matrix_sets_the_attention_of_the_row(page: Page) -> None:
    page.type("Ein Haus steht da")
    box = page.page.locator(".matrix").first
    cells = box.evaluate(
        """matrix => { const found = {}, frame = matrix.getBoundingClientRect();
        for (let y = 3; y < frame.height; y += 3) for (let x = 3; x < frame.width; x += 3) {
          const cell = matrix.cellAt({clientX: frame.left + x, clientY: frame.top + y});
          if (cell) found[`${cell.t} ${cell.s}`] ??= [frame.left + x + 4, frame.top + y + 4]; }
        return found; }"""
    )
    mouse = page.page.mouse
    mouse.move(*cells["1 2"])
    mouse.down()
    mouse.move(*cells["1 3"])
    mouse.up()
    page.wait("EIN AND ON")
    sent = next(one for one in reversed(page.requested) if "attention" in one)
    # HAUS has two pieces, "steht" two and "da" one.
    assert sent["pieces"] == ["EIN"]
    assert sent["attention"] == {step: [0, 0, 0, 0.25, 0.25, 0.5, 0] for step in ("1", "2")}
    assert page.page.locator(".frame.set").count() >= 1


def test_locked_word_is_a_term_of_later_translations(page: Page) -> None:
    page.type("Ein Haus steht da")
    page.page.locator(".word").nth(3).click()
    page.page.keyboard.press("l")
    assert page.page.locator(".word.locked").all_inner_texts() == ["DA"]
    page.page.keyboard.press("ArrowLeft")
    page.page.keyboard.press("1")
    page.wait("EIN HAUS x3 AND ON")
    assert page.requested[-1]["terms"] == ["DA"]


def test_second_model_has_a_translation_of_its_own(page: Page) -> None:
    page.type("Ein Haus")
    page.page.select_option("#other", "second")
    page.page.locator(".view >> nth=1 >> .word").first.wait_for()
    assert page.requested[-1]["model"] == "second"


def test_page_fits_a_phone_and_right_to_left_text(browser: Any) -> None:
    opened = Page(browser, viewport={"width": 390, "height": 800}, has_touch=True)
    opened.type("ذهب الولد إلى السوق")
    opened.page.locator(".word").nth(1).tap()
    opened.page.locator(".panel").first.wait_for()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert opened.page.locator(".translation").first.get_attribute("dir") == "rtl"
    first, last = (opened.page.locator(".word").nth(n).bounding_box() for n in (0, -1))
    assert first["x"] > last["x"]
    assert opened.errors == []
    opened.page.close()
