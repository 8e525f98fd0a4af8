import re

from mkdocs_math import on_page_content

from tests.docs.pages import ROOT

CONCEPTS = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")


def test_equations_become_mathml() -> None:
    inline = r'<p><span class="arithmatex">\(k&lt;2\)</span></p>'
    rendered = on_page_content(inline + r'<div class="arithmatex">\[v\]</div>')
    assert rendered.count("<math") == 2
    assert 'display="inline"' in rendered and 'display="block"' in rendered
    assert "arithmatex" not in rendered
    assert "<mo>&#x0003C;</mo>" in rendered, "the escaped < is one character of the equation"


def test_every_command_of_the_equations_is_known() -> None:
    equations = re.findall(r"\$\$(.+?)\$\$|\$(.+?)\$", CONCEPTS, re.S)
    assert len(equations) > 40
    for block, inline in equations:
        rendered = on_page_content(rf'<span class="arithmatex">\({block or inline}\)</span>')
        assert "\\" not in re.sub(r"<[^>]*>", "", rendered), block or inline
