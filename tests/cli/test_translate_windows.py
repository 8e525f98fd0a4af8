"""Reading of windows, and the loop that translates them over several ranks."""

from typing import Any

import pytest

from nmt.cli.translate import translate_windows
from nmt.cli.translate_io import full_windows, pair_lines
from nmt.distributed.process_group import SINGLE_PROCESS_GROUP, ProcessGroup
from nmt.distributed.rank import RankInfo
from nmt.errors import UserError
from nmt.search.source_line import SourceLine, number_lines
from nmt.search.translation import Translation


class RecordedGroup(ProcessGroup):
    """One of several ranks that run one after the other, with the broadcast values given before."""

    def __init__(self, info: RankInfo, values: list[Any], gathered: dict[int, list[Any]]) -> None:
        super().__init__(info)
        self.values, self.gathered = values, gathered

    def broadcast(self, value: Any) -> Any:
        return value if self.is_first else self.values.pop(0)

    def gather(self, value: Any) -> list[Any]:
        self.gathered.setdefault(self.rank, []).append(value)
        if not self.is_first:
            return []
        return [self.gathered[number].pop(0) for number in range(self.world_size)]


def translate(lines: list[SourceLine]) -> list[Translation]:
    return [Translation(line.text, f"{line.text} at {line.number}") for line in lines]


def test_windows_over_ranks_give_all_translations_in_order_on_the_first_rank() -> None:
    lines = list(number_lines("abcdefghi"))
    windows = [lines[:5], lines[5:6], lines[6:]]
    gathered: dict[int, list[Any]] = {}
    texts = {}
    for number in (1, 2, 0):
        group = RecordedGroup(RankInfo(number, 3), [*windows, None], gathered)
        own = iter(windows) if number == 0 else iter(())
        texts[number] = [one.text for one in translate_windows(own, translate, group)]
    assert texts == {0: [f"{text} at {n}" for n, text in enumerate("abcdefghi")], 1: [], 2: []}
    alone = translate_windows(iter(windows), translate, SINGLE_PROCESS_GROUP)
    assert [one.text for one in alone] == texts[0]


def test_closing_the_translations_releases_the_other_ranks() -> None:
    class RecordingGroup(ProcessGroup):
        values: list[Any] = []  # noqa: RUF012

        def broadcast(self, value: Any) -> Any:
            self.values.append(value)
            return value

    group = RecordingGroup()
    translations = translate_windows(iter([list(number_lines("ab"))]), translate, group)
    next(translations)
    translations.close()
    assert group.values[-1] is None


def test_full_windows_have_the_given_size_except_for_the_last() -> None:
    assert list(full_windows("abcde", 2)) == [["a", "b"], ["c", "d"], ["e"]]
    assert list(full_windows("", 2)) == []


@pytest.mark.parametrize(
    ("texts", "targets", "message"),
    [
        ("abc", "x", "targets: 1 lines, but input has 3; give one target per line"),
        ("a", "xyz", "targets: 3 lines, but input has 1; give one target per line"),
        (["a", " "], "xy", "targets:2: translates an empty line of input"),
    ],
)
def test_paired_lines_that_do_not_correspond_raise(texts: Any, targets: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(pair_lines(iter(texts), iter(targets), "input", "targets"))


def test_paired_lines_are_numbered_and_may_both_be_empty() -> None:
    lines = list(pair_lines(iter(["a", "", " "]), iter(["x", "", " "]), "input", "targets"))
    assert lines == [SourceLine(0, "a", "x"), SourceLine(1, "", ""), SourceLine(2, " ", " ")]
