"""The tree of the beam on the page, in a browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nmt.evaluation.report.writer import open_report
from nmt.search.beam_tree import BeamNode, BeamTree
from tests.evaluation.report.pages import attended

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
]

EOS = 9
LATIN = ["▁we", "▁go", "▁I", "▁am"]
KOREAN = ["▁우리는", "▁간다", "▁나는", "▁있다"]
ARABIC = ["▁نحن", "▁نذهب", "▁أنا", "▁هنا"]


def tree_of(pieces: list[str], *, right_to_left: bool = False) -> BeamTree:
    """Return the tree of "0 1 </s>" and "0 3", from which "2" and "2 1" left the beam."""
    zero, one, two, three = pieces
    rows: list[tuple[int, int | None, str, float]] = [
        *[(1, None, zero, -0.25), (1, None, two, -1.5)],
        *[(2, 0, one, -0.5), (2, 1, one, -0.125), (2, 0, three, -2.0)],
        *[(3, 2, "</s>", -0.25), (3, 4, three, -3.0)],
    ]
    nodes: list[BeamNode] = []
    for step, parent, piece, log_prob in rows:
        total = log_prob + (0.0 if parent is None else nodes[parent].log_prob)
        token = EOS if piece == "</s>" else 0
        nodes.append(BeamNode(step, parent, token, log_prob, total, total / step, piece=piece))
    return BeamTree.from_nodes(nodes, EOS)._replace(n_best=(5, 6), right_to_left=right_to_left)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        one = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield one
        one.close()


def open_tree(
    browser: Any,
    folder: Path,
    pieces: list[str],
    *,
    tree: BeamTree | None,
    n_best: tuple[Any, ...] = (),
    **options: Any,
) -> Any:
    text = "".join(pieces[:2]).replace("▁", " ").strip()
    translation = attended("a b", text, [[1.0, 0.0], [0.0, 1.0]], beam_tree=tree, n_best=n_best)
    with open_report(folder / "a.html", "test") as report:
        report.add(0, translation)
    page = browser.new_page(**options)
    page.set_default_timeout(10_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.goto((folder / "a.html").as_uri())
    page.locator("#heading").get_by_text("Sentence 0").wait_for()
    page.errors = errors
    return page


def test_every_hypothesis_is_a_box_with_its_state(browser: Any, tmp_path: Path) -> None:
    page = open_tree(browser, tmp_path, LATIN, tree=tree_of(LATIN))
    assert page.locator("#tree h2").all_text_contents() == ["Beam: 7 hypotheses in 3 steps"]
    assert page.locator(".beam .edge").count() == 5
    found = {
        state: [one.text_content() for one in page.locator(f".beam .node.{state} text").all()]
        for state in ("extended", "finished", "pruned", "active", "muted", "best", "listed")
    }
    assert found == {
        "extended": ["we", "I", "go", "am"],
        "finished": ["</s> #1"],
        "pruned": ["go"],
        "active": ["am #2"],
        "muted": ["I", "go"],
        "best": ["we", "go", "</s> #1"],
        "listed": ["am", "am #2"],
    }
    # The best translation is one row; nothing overlaps.
    places = [one.bounding_box() for one in page.locator(".beam .best rect").all()]
    assert len({place["y"] for place in places}) == 1
    every = [one.bounding_box() for one in page.locator(".beam .node rect").all()]
    assert len({(round(place["x"]), round(place["y"])) for place in every}) == 7
    assert page.errors == []


@pytest.mark.parametrize(
    ("pieces", "right_to_left", "grows_left"),
    [
        (LATIN, False, False),
        (KOREAN, False, False),
        (ARABIC, False, True),
        (LATIN, True, True),
        (ARABIC, True, False),
    ],
)
def test_tree_grows_in_the_direction_of_the_text(
    pieces: list[str], right_to_left: bool, grows_left: bool, browser: Any, tmp_path: Path
) -> None:
    tree = tree_of(pieces, right_to_left=right_to_left)
    page = open_tree(browser, tmp_path, pieces, tree=tree)
    centers = [
        place["x"] + place["width"] / 2
        for one in page.locator(".beam .best rect").all()
        if (place := one.bounding_box())
    ]
    assert len(centers) == 3
    assert centers == sorted(centers, reverse=grows_left)
    words = [piece.replace("▁", "") for piece in pieces[:2]]
    shown = page.locator("#tree .hypothesis p").first
    assert shown.text_content().split() == (words[::-1] if right_to_left else words)
    assert shown.get_attribute("dir") == ("rtl" if pieces is ARABIC else "ltr")
    forward, back = ("ArrowLeft", "ArrowRight") if grows_left else ("ArrowRight", "ArrowLeft")
    page.locator(".beam .node").nth(1).focus()
    page.keyboard.press(forward)
    assert page.locator(".beam .node.pruned.on").count() == 1
    page.keyboard.press(back)
    assert page.locator(".beam .on").count() == 1
    assert page.errors == []


def test_selected_hypothesis_is_shown_with_its_scores(browser: Any, tmp_path: Path) -> None:
    page = open_tree(browser, tmp_path, LATIN, tree=tree_of(LATIN))
    text, scores = page.locator("#tree .hypothesis p").all()
    assert text.text_content().strip() == "we go"
    assert "translation 1 · complete · log-probability -0.250, cumulative -1.000" in (
        scores.text_content()
    )
    page.locator(".beam .node.active").hover()
    assert text.text_content().strip() == "we am am"
    assert "step 3 · translation 2 · in the beam when the search ended" in scores.text_content()
    assert "log-probability -3.000, cumulative -5.250, score -1.750" in scores.text_content()
    assert page.locator(".beam .node.on").count() == 3
    assert page.locator(".beam .edge.on").count() == 2
    # One box is in the order of the Tab key, from which the arrow keys move on.
    assert page.locator(".beam [tabindex='0']").count() == 1
    page.locator(".beam [tabindex='0']").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    assert text.text_content().strip() == "we go"
    assert "step 2 · continued" in scores.text_content()


def test_list_and_labels_name_every_hypothesis(browser: Any, tmp_path: Path) -> None:
    page = open_tree(browser, tmp_path, LATIN, tree=tree_of(LATIN))
    labels = [one.get_attribute("aria-label") for one in page.locator(".beam .node").all()]
    assert labels[3] == (
        "go: log-probability -0.125, cumulative -1.625, score -0.813, step 2, left the beam"
    )
    page.locator("#tree summary").click()
    items = page.locator("#tree details li")
    # A hypothesis without siblings continues the item of its parent.
    assert [" ".join(one.split()) for one in items.all_inner_texts()] == [
        "we gotranslation 1, complete, score -0.333 am amtranslation 2, in the beam when the "
        "search ended, score -1.750",
        "gotranslation 1, complete, score -0.333",
        "am amtranslation 2, in the beam when the search ended, score -1.750",
        "I goleft the beam, score -0.813",
    ]


def test_lists_have_the_direction_of_the_text_and_scores_are_not_mirrored(
    browser: Any, tmp_path: Path
) -> None:
    tree = tree_of(ARABIC)
    first, second = (
        attended("a b", " ".join(words).replace("▁", ""), [[1.0, 0.0]] * 2)
        for words in (ARABIC[:2], [ARABIC[0], "؟"])
    )
    page = open_tree(browser, tmp_path, ARABIC, tree=tree, n_best=(first, second))
    page.locator("#tree summary").click()
    for name in ("#tree > ul", "#tree details > ul"):
        notes = page.locator(f"{name} li:not(:has(li))")
        assert notes.count() >= 2
        for one in notes.all():
            text, note = (
                one.locator("span").last.bounding_box(),
                one.locator("small").bounding_box(),
            )
            assert note["x"] < text["x"], "the note follows the text, to its left"
            assert one.locator("small").get_attribute("dir") == "ltr"


def test_long_tree_scrolls_inside_its_own_box(browser: Any, tmp_path: Path) -> None:
    nodes = [
        BeamNode(
            step, None if step == 1 else step - 2, 0, -1.0, -1.0 * step, -1.0, piece="▁sentence"
        )
        for step in range(1, 200)
    ]
    tree = BeamTree.from_nodes(nodes, EOS)._replace(n_best=(198,))
    page = open_tree(browser, tmp_path, LATIN, tree=tree, viewport={"width": 500, "height": 800})
    wider = "node => node.scrollWidth > 10 * node.clientWidth"
    assert page.locator("#tree .canvas").evaluate(wider)
    assert page.locator("#detail").evaluate("node => node.scrollWidth <= node.clientWidth")


def test_best_translation_has_a_row_of_its_own(browser: Any, tmp_path: Path) -> None:
    rows: list[tuple[int, int | None, str]] = [
        *[(1, None, "</s>"), (1, None, "▁we")],
        *[(2, 1, "▁go"), (2, 1, "▁am")],  # the second one would fit behind the best translation
    ]
    nodes = [
        BeamNode(step, parent, EOS if piece == "</s>" else 0, -1.0, -1.0, -1.0, piece=piece)
        for step, parent, piece in rows
    ]
    tree = BeamTree.from_nodes(nodes, EOS)._replace(n_best=(0,))
    page = open_tree(browser, tmp_path, LATIN, tree=tree)
    rects = page.locator(".beam .node rect").all()
    best, *others = [float(one.get_attribute("y")) for one in rects]  # without the frame's width
    assert len(others) == 3 and best < min(others)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_of_boxes_has_contrast(scheme: str, browser: Any, tmp_path: Path) -> None:
    page = open_tree(browser, tmp_path, LATIN, tree=tree_of(LATIN), color_scheme=scheme)
    script = """node => {
      const canvas = document.createElement("canvas").getContext("2d");
      const luminance = (color) => {
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        const bytes = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
        const rgb = bytes.map((byte) => {
          const value = byte / 255;
          return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
      };
      const [low, high] = ["rect", "text"].map((name) =>
        luminance(getComputedStyle(node.querySelector(name)).fill)).sort((a, b) => a - b);
      return (high + 0.05) / (low + 0.05);
    }"""
    for box in page.locator(".beam .node").all():
        assert box.evaluate(script) >= 4.5, box.text_content()


def test_printed_tree_fits_on_the_page(browser: Any, tmp_path: Path) -> None:
    page = open_tree(browser, tmp_path, LATIN, tree=tree_of(LATIN))
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 150, "height": 800})
    place = page.locator(".beam").bounding_box()
    assert place["width"] <= 150
    assert page.locator("#tree details").is_hidden()


def test_sentence_without_a_tree_has_none(browser: Any, tmp_path: Path) -> None:
    page = open_tree(browser, tmp_path, LATIN, tree=None)
    assert page.locator("#tree *").count() == 0
