"""Date task: dates in common formats as source, their ISO format as target.

    friday, november 20, 2026  ->  2026-11-20
    2026년 11월 20일 금요일      ->  2026-11-20

Dates range from 1969-01-01 to 2068-12-31, each in one of the formats of `ENGLISH` (in original,
lower or upper case) and `OTHER`. Each text has exactly one reading, by these rules:

- slashes with the year last are month first, 11/20/26 and 11/20/2026; with the year first,
  2026/11/20, they are year, month, day;
- dots and hyphens are day first, 20.11.2026 and 20-11-2026; with the year first, "2026. 11. 20.",
  they are year, month, day;
- years of two digits follow POSIX: 69 to 99 mean 1969 to 1999, 00 to 68 mean 2000 to 2068;
- weekdays are the real ones.

Writes `train`, `valid` and `test`, each as `.text` (dates, one per line) and `.iso` (answers).
The split is by text: no text occurs twice, neither in one part nor in two. The same day may occur
in several parts in different formats; held out are combinations of day and format, not days. The
same seed gives the same files.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path

from nmt.examples.sizes import check_sizes

SIZES = {"train": 20_000, "valid": 1_000, "test": 1_000}
FIRST = date(1969, 1, 1)
LAST = date(2068, 12, 31)
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
KOREAN_WEEKDAYS = "월화수목금토일"
KOREAN_DIGITS = ("", "일", "이", "삼", "사", "오", "육", "칠", "팔", "구")
# June and October lose their final consonants when spoken: 유월 and 시월, not 육월 and 십월.
KOREAN_MONTHS = [
    "일월",
    "이월",
    "삼월",
    "사월",
    "오월",
    "유월",
    "칠월",
    "팔월",
    "구월",
    "시월",
    "십일월",
    "십이월",
]

Format = Callable[[date], str]


def month(day: date) -> str:
    """Return the English name of the month."""
    return MONTHS[day.month - 1]


def weekday(day: date) -> str:
    """Return the English name of the weekday."""
    return WEEKDAYS[day.weekday()]


def ordinal(number: int) -> str:
    """Format an English ordinal number: 1st, 2nd, 3rd, 4th, 11th, 21st."""
    ending = "th" if number in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def korean_number(number: int) -> str:
    """Spell a number from 1 to 9999 in Sino-Korean words: 2026 is 이천이십육."""
    words = ""
    for value, unit in ((1000, "천"), (100, "백"), (10, "십"), (1, "")):
        digit = number // value % 10
        if digit:
            words += ("" if digit == 1 and unit else KOREAN_DIGITS[digit]) + unit
    return words


def korean_words(day: date) -> str:
    """Spell a day in Korean: 2026-11-20 is 이천이십육년 십일월 이십일."""
    year, number = korean_number(day.year), korean_number(day.day)
    return f"{year}년 {KOREAN_MONTHS[day.month - 1]} {number}일"


ENGLISH: list[Format] = [
    lambda day: f"{day.day} {month(day)[:3]} {day.year}",
    lambda day: f"{day.day} {month(day)} {day.year}",
    lambda day: f"{month(day)} {day.day}, {day.year}",
    lambda day: f"{month(day)[:3]} {ordinal(day.day)}, {day.year}",
    lambda day: f"{weekday(day)}, {month(day)} {day.day}, {day.year}",
    lambda day: f"{weekday(day)[:3]} {day.day} {month(day)[:3]} {day.year}",
    lambda day: f"the {ordinal(day.day)} of {month(day)} {day.year}",
    lambda day: f"{day.day}-{month(day)[:3]}-{day.year}",
]
OTHER: list[Format] = [
    lambda day: f"{day.month}/{day.day}/{day.year % 100:02}",
    lambda day: f"{day.month:02}/{day.day:02}/{day.year}",
    lambda day: f"{day.year}/{day.month:02}/{day.day:02}",
    lambda day: f"{day.day}.{day.month}.{day.year}",
    lambda day: f"{day.day:02}-{day.month:02}-{day.year}",
    lambda day: f"{day.year}. {day.month}. {day.day}.",
    lambda day: f"{day.year}년 {day.month}월 {day.day}일",
    lambda day: f"{day.year}년 {day.month}월 {day.day}일 {KOREAN_WEEKDAYS[day.weekday()]}요일",
    lambda day: f"{day.year % 100:02}년 {day.month}월 {day.day}일",
    korean_words,
]
CASES: list[Callable[[str], str]] = [str, str.lower, str.upper]
# A quarter of all possible texts, so that few draws repeat an earlier text.
MAX_PAIRS = ((LAST - FIRST).days + 1) * (len(ENGLISH) * len(CASES) + len(OTHER)) // 4


def write_date(day: date, random_state: random.Random) -> str:
    """Write the day in a random format, English formats in a random case."""
    number = random_state.randrange(len(ENGLISH) + len(OTHER))
    if number < len(ENGLISH):
        return random_state.choice(CASES)(ENGLISH[number](day))
    return OTHER[number - len(ENGLISH)](day)


def pairs(seed: int) -> Iterator[tuple[str, str]]:
    """Yield pairs (text, ISO format) without end and without duplicates; up to `MAX_PAIRS`."""
    random_state = random.Random(seed)
    seen: set[str] = set()
    days = (LAST - FIRST).days + 1
    while True:
        day = FIRST + timedelta(days=random_state.randrange(days))
        text = write_date(day, random_state)
        if text not in seen:
            seen.add(text)
            yield text, day.isoformat()


def write_part(folder: Path, name: str, part: list[tuple[str, str]]) -> None:
    """Write pairs (text, ISO format) as `name.text` and `name.iso`."""
    for column, suffix in enumerate(("text", "iso")):
        lines = "".join(f"{pair[column]}\n" for pair in part)
        (folder / f"{name}.{suffix}").write_text(lines, encoding="utf-8", newline="\n")


def write(folder: Path, sizes: Mapping[str, int] = SIZES, seed: int = 1) -> None:
    """Write all parts into an existing directory.

    Args:
        folder: the directory
        sizes: number of pairs of each part
        seed: random seed

    Raises:
        ValueError: if a size is negative, or more than `MAX_PAIRS` pairs are requested
    """
    check_sizes(sizes, most=MAX_PAIRS)
    source = pairs(seed)
    for name, size in sizes.items():
        write_part(folder, name, [next(source) for _ in range(size)])
