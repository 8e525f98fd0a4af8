#!/usr/bin/env python3
"""Makes the date task: a date as people write it in, its ISO form out.

    friday, november 20, 2026  ->  2026-11-20
    2026년 11월 20일 금요일      ->  2026-11-20

Dates run from 1969-01-01 to 2068-12-31, each written in one of the forms of `ENGLISH` (as it
stands, in small or in capital letters) and `OTHER`. Every text has one reading, by these rules:

- slashes with the year last are month first, 11/20/26 and 11/20/2026; with the year first,
  2026/11/20, year, month, day;
- dots and hyphens are day first, 20.11.2026 and 20-11-2026; with the year first, "2026. 11. 20.",
  year, month, day;
- a year of two digits follows POSIX: 69 to 99 mean 1969 to 1999, 00 to 68 mean 2000 to 2068;
- weekdays are the true ones.

Written are `train`, `valid` and `test`, each as `.text` (the dates, one a line) and `.iso` (the
answers). The split is by text: no text stands twice, neither in one part nor in two. The same day
may stand in several parts, written in different ways; what is held out is this way of writing this
day, not the day. The same seed gives the same files.
"""

import argparse
import random
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

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

Form = Callable[[date], str]


def month(day: date) -> str:
    """Its English name."""
    return MONTHS[day.month - 1]


def weekday(day: date) -> str:
    """Its English name."""
    return WEEKDAYS[day.weekday()]


def ordinal(number: int) -> str:
    """A number of a day as English counts it: 1st, 2nd, 3rd, 4th, 11th, 21st."""
    ending = "th" if number in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def korean_number(number: int) -> str:
    """A number from 1 to 9999 in Sino-Korean words: 2026 is 이천이십육."""
    words = ""
    for value, unit in ((1000, "천"), (100, "백"), (10, "십"), (1, "")):
        digit = number // value % 10
        if digit:
            words += ("" if digit == 1 and unit else KOREAN_DIGITS[digit]) + unit
    return words


def korean_words(day: date) -> str:
    """The day as it is spoken: 2026-11-20 is 이천이십육년 십일월 이십일."""
    year, number = korean_number(day.year), korean_number(day.day)
    return f"{year}년 {KOREAN_MONTHS[day.month - 1]} {number}일"


ENGLISH: list[Form] = [
    lambda day: f"{day.day} {month(day)[:3]} {day.year}",
    lambda day: f"{day.day} {month(day)} {day.year}",
    lambda day: f"{month(day)} {day.day}, {day.year}",
    lambda day: f"{month(day)[:3]} {ordinal(day.day)}, {day.year}",
    lambda day: f"{weekday(day)}, {month(day)} {day.day}, {day.year}",
    lambda day: f"{weekday(day)[:3]} {day.day} {month(day)[:3]} {day.year}",
    lambda day: f"the {ordinal(day.day)} of {month(day)} {day.year}",
    lambda day: f"{day.day}-{month(day)[:3]}-{day.year}",
]
OTHER: list[Form] = [
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
# A quarter of the different texts: drawing stays quick as few draws repeat an earlier one.
MOST = ((LAST - FIRST).days + 1) * (len(ENGLISH) * len(CASES) + len(OTHER)) // 4


def write_date(day: date, random_state: random.Random) -> str:
    """The day in a form drawn evenly from all, an English one in one of three cases."""
    number = random_state.randrange(len(ENGLISH) + len(OTHER))
    if number < len(ENGLISH):
        return random_state.choice(CASES)(ENGLISH[number](day))
    return OTHER[number - len(ENGLISH)](day)


def pairs(seed: int) -> Iterator[tuple[str, str]]:
    """Pairs (text, ISO form) without end, no text twice; at most `MOST` should be asked for."""
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
    """Write pairs (text, ISO form) as `name.text` and `name.iso`."""
    for column, suffix in enumerate(("text", "iso")):
        lines = "".join(f"{pair[column]}\n" for pair in part)
        (folder / f"{name}.{suffix}").write_text(lines, encoding="utf-8", newline="\n")


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("data/dates"), help="folder to write")
    for name, size in (("train", 20_000), ("valid", 1_000), ("test", 1_000)):
        parser.add_argument(f"--{name}", type=int, default=size, help=f"pairs (default {size})")
    parser.add_argument("--seed", type=int, default=1, help="of the random choices (default 1)")
    options = parser.parse_args(arguments)
    sizes = {"train": options.train, "valid": options.valid, "test": options.test}
    if min(sizes.values()) < 0 or sum(sizes.values()) > MOST:
        parser.error(f"sizes must be 0 or more and {MOST} at most together")
    options.output.mkdir(parents=True, exist_ok=True)
    source = pairs(options.seed)
    for name, size in sizes.items():
        write_part(options.output, name, [next(source) for _ in range(size)])


if __name__ == "__main__":
    main()
