import re
from datetime import date, datetime
from pathlib import Path

import make_dates
import pytest

from nmt.examples import dates

DIGITS = {digit: number for number, digit in enumerate("일이삼사오육칠팔구", start=1)}
UNITS = {"십": 10, "백": 100, "천": 1000}
CLOCK = "%d %b %Y|%d %B %Y|%B %d, %Y|%b %d, %Y|%A, %B %d, %Y|%a %d %b %Y|the %d of %B %Y|%d-%b-%Y"
NUMERIC = "%m/%d/%y|%m/%d/%Y|%Y/%m/%d|%d.%m.%Y|%d-%m-%Y|%Y. %m. %d.|%Y년 %m월 %d일|%y년 %m월 %d일"


def read_korean(words: str) -> int:
    """Read a number in Sino-Korean words: 이천이십육 is 2 x 1000 + 2 x 10 + 6."""
    total, digit = 0, 0
    for letter in words:
        if letter in UNITS:
            total, digit = total + max(digit, 1) * UNITS[letter], 0
        else:
            digit = DIGITS[letter]
    return total + digit


def readings(text: str) -> set[str]:
    """Return all days that a text can mean by the documented rules."""
    spoken = re.fullmatch(r"([가-힣]+)년 ([가-힣]+)월 ([가-힣]+)일", text)
    if spoken:
        year, month, day = spoken.groups()
        month = {"유": "육", "시": "십"}.get(month, month)
        return {date(*map(read_korean, (year, month, day))).isoformat()}
    plain = re.sub(r"(?<=\d)(st|nd|rd|th)\b", "", text, flags=re.IGNORECASE)
    plain, weekday = re.subn(r" [월화수목금토일]요일$", "", plain)
    found = set()
    for form in f"{CLOCK}|{NUMERIC}".split("|"):
        try:
            day = datetime.strptime(plain, form)
        except ValueError:
            continue
        if weekday:
            assert text[-3] == "월화수목금토일"[day.weekday()]
        if "%a" in form.lower():
            assert plain[:3].lower() == day.strftime("%a").lower()
        found.add(day.date().isoformat())
    return found


def test_formats_of_2026_11_20() -> None:
    day = date(2026, 11, 20)
    assert [form(day) for form in dates.ENGLISH + dates.OTHER] == [
        "20 Nov 2026",
        "20 November 2026",
        "November 20, 2026",
        "Nov 20th, 2026",
        "Friday, November 20, 2026",
        "Fri 20 Nov 2026",
        "the 20th of November 2026",
        "20-Nov-2026",
        "11/20/26",
        "11/20/2026",
        "2026/11/20",
        "20.11.2026",
        "20-11-2026",
        "2026. 11. 20.",
        "2026년 11월 20일",
        "2026년 11월 20일 금요일",
        "26년 11월 20일",
        "이천이십육년 십일월 이십일",
    ]


def test_korean_months_and_numbers() -> None:
    assert dates.korean_words(date(1999, 6, 21)) == "천구백구십구년 유월 이십일일"
    assert dates.korean_words(date(2000, 10, 1)) == "이천년 시월 일일"
    assert dates.korean_words(date(2010, 12, 11)) == "이천십년 십이월 십일일"


def test_ordinal_endings() -> None:
    counted = [dates.ordinal(number) for number in (1, 2, 3, 4, 10, 11, 12, 13, 21, 22, 23, 31)]
    assert " ".join(counted) == "1st 2nd 3rd 4th 10th 11th 12th 13th 21st 22nd 23rd 31st"


def write(folder: Path, seed: int = 1) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    dates.write(folder, {"train": 3000, "valid": 200, "test": 300}, seed)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_every_text_has_exactly_one_reading_the_target(tmp_path: Path) -> None:
    files = write(tmp_path / "new" / "dates")
    for part, size in (("train", 3000), ("valid", 200), ("test", 300)):
        texts, answers = (files[f"{part}.{suffix}"].splitlines() for suffix in ("text", "iso"))
        assert len(texts) == len(answers) == size
        for text, answer in zip(texts, answers, strict=True):
            assert readings(text) == {answer}


def test_no_text_occurs_twice(tmp_path: Path) -> None:
    files = write(tmp_path)
    texts = [line for name in files if name.endswith(".text") for line in files[name].splitlines()]
    assert len(texts) == len(set(texts)) == 3500


def test_files_are_determined_by_the_seed(tmp_path: Path) -> None:
    first, again, other = (
        write(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again
    assert all(first[name] != other[name] for name in first)


@pytest.mark.parametrize("size", ["-1", "999999999"])
def test_impossible_sizes_are_rejected(
    tmp_path: Path, size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        make_dates.main(["--output", str(tmp_path / "x"), "--train", size])
    assert caught.value.code == 2
    assert "sizes must be" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
