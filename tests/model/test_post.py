"""What is sent to the CPU arrives in order, and as late as was said."""

from typing import Any, ClassVar, NamedTuple

import pytest
import torch
from torch import Tensor

from nmt.model.post import Post

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class Letter(NamedTuple):
    number: Tensor
    names: list[int]


class FakeEvent:
    """Of a GPU that is done with nothing until somebody waits."""

    waited: ClassVar[list[int]] = []
    made = 0

    def __init__(self) -> None:
        self.number, FakeEvent.made = FakeEvent.made, FakeEvent.made + 1

    def record(self) -> None:
        """Nothing to do."""

    def synchronize(self) -> None:
        self.waited.append(self.number)


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Which letters were waited for, by their numbers."""
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(FakeEvent, "waited", [])
    monkeypatch.setattr(FakeEvent, "made", 0)
    return FakeEvent.waited


def _letter(number: int) -> Letter:
    return Letter(torch.tensor(number), [number, number + 1])


def _numbers(letters: Any) -> list[int]:
    found = [(int(letter.number), letter.names) for letter in letters]
    assert all(names == [number, number + 1] for number, names in found)
    return [number for number, _ in found]


def test_from_a_cpu_all_is_there_at_once() -> None:
    post: Post[Letter] = Post(CPU, behind=3)
    for number in range(3):
        post.send(_letter(number))
        assert _numbers(post.arrived()) == [number]
    assert _numbers(post.rest()) == []


@pytest.mark.parametrize("behind", [0, 1, 2])
def test_from_a_gpu_the_last_are_under_way(behind: int, waited: list[int]) -> None:
    post: Post[Letter] = Post(GPU, behind)
    for number in range(5):
        post.send(_letter(number))
        assert _numbers(post.arrived()) == ([number - behind] if number >= behind else [])
        assert waited == list(range(number - behind + 1))
    assert _numbers(post.rest()) == list(range(5 - behind, 5))
    assert waited == list(range(5))
    assert _numbers(post.rest()) == []
