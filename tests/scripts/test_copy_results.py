from pathlib import Path

import torch
from copy_results import draw, letters_right
from matplotlib.image import imread


def test_letter_is_correct_only_at_its_own_position() -> None:
    assert letters_right(["abcd", "ab"], ["abxd", "xabc"]) == 3 / 8
    assert letters_right(["abcd", ""], ["ab", "ab"]) == 2 / 4


def test_plot_contains_black_and_white(tmp_path: Path) -> None:
    draw(torch.eye(30, 8), torch.eye(30, 8).flip(1), tmp_path / "memory.png")
    greys = {tuple(pixel[:3]) for row in imread(tmp_path / "memory.png") for pixel in row}
    assert {(0.0, 0.0, 0.0), (1.0, 1.0, 1.0)} <= greys
