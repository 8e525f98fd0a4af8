import numpy as np
import pytest
import torch

from nmt.evaluation.overlay import AttentionOverlay
from tests.scripts.loading import load

script = load("attention_in_boxes")
SHAPES = [
    {"color": "red", "kind": "circle", "box": [0, 0, 10, 10]},
    {"color": "blue", "kind": "square", "box": [30, 20, 40, 30]},
]


def test_shares_in_box_equal_the_share_of_pixels() -> None:
    grid, size = (3, 4), (40, 30)  # cells of 10 x 10 pixels
    for box in ((0, 0, 10, 10), (5, 5, 15, 30), (13, 2, 18, 4), (0, 0, 40, 30)):
        covered = np.zeros((30, 40))
        left, top, right, bottom = box
        covered[top:bottom, left:right] = 1
        expected = covered.reshape(3, 10, 4, 10).mean(axis=(1, 3)).flatten()
        assert script.shares_in_box(box, grid, size).tolist() == pytest.approx(expected.tolist())


def measure(words: str, cells: list[int]) -> dict[str, list[tuple[float, float]]]:
    weights_ts = torch.eye(12)[cells]
    entry = AttentionOverlay(np.zeros((30, 40, 3), np.uint8), (3, 4), words.split(), weights_ts)
    found: dict[str, list[tuple[float, float]]] = {}
    for name in ("first color", "first kind", "second color", "second kind"):
        found[name] = []
    script._measure(entry, SHAPES, (40, 30), found)
    return found


def test_attention_of_correct_words_is_measured_in_their_own_box() -> None:
    found = measure("a red circle above a blue square", [5, 0, 1, 2, 5, 11, 0])
    masses = {name: [inside for inside, _ in some] for name, some in found.items()}
    assert masses == {
        "first color": [1],
        "first kind": [0],
        "second color": [1],
        "second kind": [0],
    }
    for some in found.values():
        assert [baseline for _, baseline in some] == [pytest.approx(100 / 1200)]


def test_wrong_words_are_excluded() -> None:
    found = measure("a red square left of a red square", [0] * 8)
    assert [len(some) for some in found.values()] == [1, 0, 0, 1]
    assert all(not some for some in measure("a", [0]).values())


def test_table_contains_means_in_percent() -> None:
    found = {"first kind": [script.WordAttention(1, 0.1), script.WordAttention(0.5, 0.2)]}
    text = script.table(found)
    assert "| first kind | 2 | 75.0 % | 15.0 % |" in text
    assert "| all | 2 | 75.0 % | 15.0 % |" in text
