"""The interactive attention page."""

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import torch

from nmt.evaluation.attention_page import write_attention_page
from nmt.evaluation.overlay import AttentionOverlay
from nmt.search.alignment import AttentionMatrix

EVIL = '<img src=x onerror="alert(1)">&amp;'


class PageParser(HTMLParser):
    """Parser that collects every tag with its attributes, and the text of every span."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.spans: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if [tag for tag, _ in self.tags[-2:]] == ["span", "bdi"] and data.strip():
            self.spans.append(data)


def write_and_parse(path: Path, *attentions: AttentionMatrix | AttentionOverlay) -> PageParser:
    write_attention_page(attentions, path)
    parser = PageParser()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


def test_page_contains_words_and_weights(tmp_path: Path) -> None:
    weights = torch.tensor([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]])
    matrix = AttentionMatrix(["ein", "</s>"], ["하나", "one", "</s>"], weights)
    page = write_and_parse(tmp_path / "a.html", matrix, matrix)
    assert page.spans == ["ein", "</s>", "하나", "one", "</s>"] * 2
    shown = [
        attributes["data-weights"] for _, attributes in page.tags if "data-weights" in attributes
    ]
    assert shown == ["0.250 0.750", "1.000 0.000", "0.500 0.500"] * 2
    cells = [attributes["style"] for tag, attributes in page.tags if tag == "td"]
    assert cells[:3] == ["--weight:0.250", "--weight:0.750", "--weight:1.000"] and len(cells) == 12


def test_html_in_text_is_escaped(tmp_path: Path) -> None:
    matrix = AttentionMatrix([EVIL], ["</script><script>alert(2)</script>"], torch.ones(1, 1))
    page = write_and_parse(tmp_path / "a.html", matrix)
    assert page.spans == [EVIL, "</script><script>alert(2)</script>"]
    tags = [tag for tag, _ in page.tags]
    assert "img" not in tags and tags.count("script") == 1


def test_page_has_no_external_references_and_forbids_them(tmp_path: Path) -> None:
    page = write_and_parse(tmp_path / "a.html", AttentionMatrix(["a"], ["b"], torch.ones(1, 1)))
    for _, attributes in page.tags:
        assert not attributes.keys() & {"src", "href", "action", "data", "srcset"}
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "url(" not in text and "@import" not in text and "http:" not in text
    assert "default-src 'none'" in text


def test_every_placeholder_of_the_template_is_replaced(tmp_path: Path) -> None:
    write_and_parse(tmp_path / "a.html", AttentionMatrix(["a"], ["b"], torch.ones(1, 1)))
    assert "$" not in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_dollar_sign_in_text_is_kept(tmp_path: Path) -> None:
    matrix = AttentionMatrix(["$sections"], ["$5"], torch.ones(1, 1))
    page = write_and_parse(tmp_path / "a.html", matrix)
    assert page.spans == ["$sections", "$5"]


def test_words_of_right_to_left_text_are_isolated_and_ordered(tmp_path: Path) -> None:
    arabic = AttentionMatrix(["قال", "</s>"], ["he", "</s>"], torch.ones(2, 2))
    english = AttentionMatrix(["1.", "said"], ["قال"], torch.ones(1, 2))
    page = write_and_parse(tmp_path / "a.html", arabic, english)
    directions = [(tag, attributes["dir"]) for tag, attributes in page.tags if "dir" in attributes]
    assert directions == [
        *(("p", "rtl"), ("p", "ltr"), ("table", "rtl")),
        *(("p", "ltr"), ("p", "rtl"), ("table", "ltr")),
    ]
    inside = [tag for (before, _), (tag, _) in pairwise(page.tags) if before in ("span", "th")]
    assert set(inside) == {"bdi", "th"}  # the corner of a table is an empty <th>


def test_heads_of_columns_rotate_all_scripts_alike(tmp_path: Path) -> None:
    write_and_parse(tmp_path / "a.html", AttentionMatrix(["図書館"], ["b"], torch.ones(1, 1)))
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    (heads,) = re.findall(r"thead th \{(.*?)\}", page, re.DOTALL)
    # Without it, vertical text keeps CJK upright, and the rotation turns it upside down.
    assert "rotate(180deg)" in heads and "text-orientation: sideways" in heads
