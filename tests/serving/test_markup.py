"""Translation of HTML."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from nmt.serving.markup import MarkupText


def translated(text: str, *, reverse: bool = False, aligned: bool = True) -> str:
    """Return HTML whose words are written in capitals, and in reverse order if wanted."""
    parsed = MarkupText(text)

    def translations() -> Iterator[dict[str, Any]]:
        for sentence in parsed.sentences():
            words = sentence.upper().split()
            numbers = list(range(len(words)))[:: -1 if reverse else 1]
            links = [(source, target) for target, source in enumerate(numbers)]
            own = " ".join(words[number] for number in numbers)
            yield {"translation": own, "alignment": links if aligned else None}

    return parsed.render(translations())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain & simple", "PLAIN &amp; SIMPLE"),
        ("<p>one <b>two three</b> four</p>", "<p>ONE <b>TWO THREE</b> FOUR</p>"),
        ("<p>a</p>\n<p class='x'>b</p>", "<p>A</p>\n<p class='x'>B</p>"),
        ("a <b>b <i>c</i></b> d<br>e &lt;f&gt;", "A <b>B <i>C</i></b> D<br>E &lt;F&gt;"),
        ("a <code>keep <b>me</b></code> b", "A <code>keep <b>me</b></code> B"),
        ("<pre>x &amp; y</pre><script>a<b</script>z", "<pre>x &amp; y</pre><script>a<b</script>Z"),
        ("<b>one <span translate=no>Two</span> c", "<b>ONE <span translate=no>Two</span> C"),
        ("<a href='?a=1&b=2'>one. Two</a>", "<a href='?a=1&b=2'>ONE. TWO</a>"),
        ("one <b>two. Three</b> four.", "ONE <b>TWO. THREE</b> FOUR."),
        ("<!DOCTYPE html><!-- x --><b>one", "<!DOCTYPE html><!-- x --><b>ONE"),
        ("stray</b> end</p>", "STRAY</b> END</p>"),
        ("a < b", "A &lt; B"),
        ("a<script>b</scr c", "A<script>b</scr c"),
        ("<![CDATA[a]]>b <![if IE]>c<![endif]>", "<![CDATA[a]]>B <![if IE]>C<![endif]>"),
        ("<img src=x> a <img src=y>", "<img src=x> A <img src=y>"),
        ("", ""),
    ],
)
def test_markup_stays_in_place(text: str, expected: str) -> None:
    assert translated(text) == expected


def test_elements_follow_their_words_and_stay_nested() -> None:
    text = "<p>one <b>two <i>three</i></b> <u>four</u></p>"
    assert translated(text, reverse=True) == "<p><u>FOUR</u> <b><i>THREE</i> TWO</b> ONE</p>"


def test_deep_and_long_markup_keeps_its_tags() -> None:
    for text in (
        "<b>" * 1200 + "x" + "</b>" * 1200,
        "<i>a</i> " * 1000,
        "&amp;" * 20_000 + "<b>x</b>",
        "</b>" * 1000,
        "<code>" * 1000,
    ):
        assert re.findall("<[^>]+>", translated(text)) == re.findall("<[^>]+>", text)


@pytest.mark.parametrize("reverse", [False, True])
def test_every_tag_is_written_once_without_alignment_too(reverse: bool) -> None:
    text = "<div>a <b>b</b> <i>c <u>d</u> e</i><br/> f <em></em> g</div>"
    for aligned in (True, False):
        found = translated(text, reverse=reverse, aligned=aligned)
        assert sorted(re.findall("<[^>]+>", found)) == sorted(re.findall("<[^>]+>", text))
        assert sorted(re.sub("<[^>]+>", " ", found).split()) == list("ABCDEFG")
