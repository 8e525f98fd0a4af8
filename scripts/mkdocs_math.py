"""MkDocs hook that renders the equations of the documentation as MathML.

Browsers display MathML without scripts, so the pages need no network.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

# Written by the Markdown extension arithmatex: \(...\) in a line, \[...\] in a block.
EQUATION = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.S
)


def on_page_content(content: str, **_: Any) -> str:
    """Replace the equations of a page; MkDocs calls this function."""
    return EQUATION.sub(_render, content)


def _render(match: re.Match[str]) -> str:
    display = "block" if match["tag"] == "div" else "inline"
    return convert(html.unescape(match["latex"]), display=display)
