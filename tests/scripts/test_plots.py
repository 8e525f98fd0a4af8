from pathlib import Path

import pytest
from matplotlib.image import imread

from plots import Line, draw_lines, save, start_figure


def test_reference_has_the_color_of_its_line_and_no_legend_entry() -> None:
    _, (axes,) = start_figure(1)
    lines = [Line("a", [1.0, 2.0]), Line("b", [3.0, 4.0]), Line("b", [5.0, 6.0], reference=True)]
    draw_lines(axes, [1, 2], lines, (0, 10))
    a, b, reference = axes.get_lines()
    assert a.get_color() != b.get_color() == reference.get_color()
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    assert axes.get_ylim() == (0, 10)


@pytest.mark.parametrize("panels", [1, 2])
def test_figure_has_a_white_background(tmp_path: Path, panels: int) -> None:
    figure, _ = start_figure(panels)
    save(figure, tmp_path / "a.png")
    assert imread(tmp_path / "a.png")[0, 0].tolist() == [1, 1, 1, 1]
