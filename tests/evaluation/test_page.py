from html.parser import HTMLParser
from pathlib import Path

import torch

from nmt.evaluation.overlays import Overlay
from nmt.evaluation.page import Entry, write_attention_page

EVIL = '<img src=x onerror="alert(1)">&amp;'


class Reader(HTMLParser):
    """Every tag with its attributes, and the text of every span."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.spans: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "span" and data.strip():
            self.spans.append(data)


def read(path: Path, *entries: Entry | Overlay, title: str = "Attention") -> Reader:
    write_attention_page(entries, path, title=title)
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def test_a_page_has_the_words_and_the_weights_of_each_target_word(tmp_path: Path) -> None:
    weights = torch.tensor([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]])
    entry = Entry(["ein", "</s>"], ["하나", "one", "</s>"], weights)
    page = read(tmp_path / "a.html", entry, entry)
    assert page.spans == ["ein", "</s>", "하나", "one", "</s>"] * 2
    shown = [
        attributes["data-weights"] for _, attributes in page.tags if "data-weights" in attributes
    ]
    assert shown == ["0.250 0.750", "1.000 0.000", "0.500 0.500"] * 2
    cells = [attributes["style"] for tag, attributes in page.tags if tag == "td"]
    assert cells[:3] == ["--w:0.250", "--w:0.750", "--w:1.000"] and len(cells) == 12


def test_text_cannot_become_a_tag(tmp_path: Path) -> None:
    entry = Entry([EVIL], ["</script><script>alert(2)</script>"], torch.ones(1, 1))
    page = read(tmp_path / "a.html", entry, title=EVIL)
    assert page.spans == [EVIL, "</script><script>alert(2)</script>"]
    tags = [tag for tag, _ in page.tags]
    assert "img" not in tags and tags.count("script") == 1


def test_a_page_loads_nothing_and_forbids_it(tmp_path: Path) -> None:
    page = read(tmp_path / "a.html", Entry(["a"], ["b"], torch.ones(1, 1)))
    for _, attributes in page.tags:
        assert not attributes.keys() & {"src", "href", "action", "data", "srcset"}
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "url(" not in text and "@import" not in text and "http:" not in text
    assert "default-src 'none'" in text
