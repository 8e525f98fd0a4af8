from pathlib import Path

import pytest
from matplotlib.image import imread

from plots import Line, draw_lines, save, spread, start_figure


def test_names_at_one_height_are_spread_downwards_in_their_order() -> None:
    assert spread([100.0, 3.0, 100.0, 99.0], 5.0) == [100.0, 3.0, 95.0, 90.0]


def test_names_far_apart_stay() -> None:
    assert spread([10.0, 50.0], 5.0) == [10.0, 50.0]


def test_a_reference_has_the_colour_of_its_line_and_no_name() -> None:
    _, (axes,) = start_figure(1)
    lines = [Line("a", [1.0, 2.0]), Line("b", [3.0, 4.0]), Line("b", [5.0, 6.0], reference=True)]
    draw_lines(axes, [1, 2], lines, (0, 10))
    a, b, reference = axes.get_lines()
    assert a.get_color() != b.get_color() == reference.get_color()
    assert [text.get_text() for text in axes.texts] == ["a", "b"]
    assert axes.get_ylim() == (0, 10)


@pytest.mark.parametrize("panels", [1, 2])
def test_a_figure_is_written_on_white(tmp_path: Path, panels: int) -> None:
    figure, _ = start_figure(panels)
    save(figure, tmp_path / "a.png")
    assert imread(tmp_path / "a.png")[0, 0].tolist() == [1, 1, 1, 1]
