"""Faults of sentence pairs are found, reported and removed."""

import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest

from nmt.data.corpus import find_corpus
from nmt.data.examination.corpus import corpus_warnings
from nmt.data.examination.faults import FAULTS, find_faults, removal_reasons
from nmt.data.examination.measurements import Measurements, measure
from nmt.data.examination.report import examine, report
from nmt.data.examination.shift import Shift, find_shift
from nmt.data.examination.split import TEST, TRAIN, VALID, divide
from nmt.data.examination.writing import Copy, remove
from nmt.data.languages import identify, script_of
from nmt.data.readers.inputs import find_inputs
from nmt.data.readers.pair_text import NumberedPairs, Pair

WORDS = {
    **{"der": "the", "das": "the", "Haus": "house", "Baum": "tree", "Kind": "child", "Hund": "dog"},
    **{"sieht": "sees", "trägt": "carries", "kleine": "small", "große": "great", "und": "and"},
    **{"Straße": "street", "morgen": "tomorrow", "schnell": "fast"},
}
Pairs = list[tuple[str, str]]


class Text(NumberedPairs):
    """Pairs in memory."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.name, self._pairs = "memory", list(pairs)

    def pairs(self) -> Iterator[Pair]:
        return (Pair(number, *pair) for number, pair in enumerate(self._pairs, start=1))

    def location(self, index: int, number: int) -> str:
        return f"memory:{number}"


def translations(count: int, seed: int = 1) -> Pairs:
    """Return word-by-word translations of random sentences, a third of them questions."""
    random = Random(seed)
    pairs = []
    for _ in range(count):
        words = random.choices(list(WORDS), k=random.randint(4, 14))
        end = random.choice("?..")
        pairs.append((" ".join(words) + end, " ".join(map(WORDS.__getitem__, words)) + end))
    return pairs


def measured(pairs: Iterable[tuple[str, str]]) -> Measurements:
    return measure(Text(pairs).pairs(), identify_languages=False)


FAULTY = {
    "empty": ("Haus", " \u200b "),
    "identical": ("the tree and the house.", "the tree and the house."),
    "script": ("Большой дом и дерево", "the great house and the tree"),
    "ratio": ("das Haus", "the house and the tree and the child and the dog carries"),
    "long": ("Haus " * 300, "house " * 300),
    "control": ("das Haus\x07", "the house"),
    "markup": ("das <b>Haus</b>", "the house"),
    "normalization": (unicodedata.normalize("NFD", "große Bäume"), "great trees"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_faulty_pair_is_found_alone(name: str) -> None:
    pairs = translations(300)
    assert find_faults(measured(pairs)) == {}
    found = find_faults(measured([*pairs, FAULTY[name]]))
    assert list(found) == [name]
    assert np.flatnonzero(found[name]).tolist() == [300]


@pytest.mark.parametrize("change", [str, str.upper, lambda text: f" {text.replace(' ', '  ')}"])
def test_duplicate_is_the_later_pair(change: type[str]) -> None:
    pairs = translations(300)
    again = (change(pairs[7][0]), pairs[7][1])
    found = find_faults(measured([*pairs, again]))
    assert np.flatnonzero(found["duplicate"]).tolist() == [300]
    assert "duplicate" not in find_faults(measured([*pairs, (pairs[7][0], pairs[8][1])]))


def test_swapped_pair_has_exchanged_scripts() -> None:
    pairs = [(f"나는 집을 보았다 {i}", f"I saw the house {i}") for i in range(100)]
    found = find_faults(measured([*pairs, ("we saw a tree", "우리는 나무를 보았다")]))
    assert np.flatnonzero(found["swapped"]).tolist() == [100]
    assert "script" not in found


def test_ordinary_marks_are_no_faults() -> None:
    pairs = [
        *translations(200),
        ("3 < 5 & 7 > 2", "3 < 5 & 7 > 2"),
        ("AT&T kauft das Haus", "AT&T buys the house"),
        ("das Haus\u00a0\u2026", "the house\u2009\u2026"),
        ("Ja.", "Ja."),
    ]
    assert find_faults(measured(pairs)) == {}


@pytest.mark.parametrize("lag", [-2, -1, 1, 2])
@pytest.mark.parametrize("start", [0, 1200])
def test_shifted_target_is_found_with_its_lag(lag: int, start: int) -> None:
    sources, targets = zip(*translations(2400), strict=True)
    shifted = [*targets[:start], *np.roll(targets[start:], lag)]
    found = find_shift(measured(zip(sources, shifted, strict=True)))
    assert found is not None
    assert found.lag == lag
    assert abs(found.first - start) <= 600


@pytest.mark.parametrize("count", [60, 1000])
def test_shift_of_a_short_text_is_found(count: int) -> None:
    sources, targets = zip(*translations(count), strict=True)
    assert find_shift(measured(zip(sources[:-1], targets[1:], strict=True))) == Shift(-1, 0)


@pytest.mark.parametrize("is_sorted", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_aligned_text_has_no_shift(is_sorted: bool, seed: int) -> None:
    pairs = translations(800, seed)
    if is_sorted:
        pairs.sort(key=lambda pair: len(pair[0]))
    assert find_shift(measured(pairs)) is None


def test_unrelated_text_has_no_shift() -> None:
    sources, targets = translations(800), translations(800, seed=2)
    pairs = [(one[0], other[1]) for one, other in zip(sources, targets, strict=True)]
    assert find_shift(measured(pairs)) is None


def _parts(pairs: Pairs, seed: int = 1) -> list[int]:
    hashes = measured(pairs).hashes
    usable = np.ones(len(pairs), np.bool_)
    return divide(hashes, usable, (len(pairs) // 10, len(pairs) // 10), seed).parts.tolist()


def test_pairs_that_share_a_side_are_in_one_part() -> None:
    random = Random(3)
    pairs = [(f"s{random.randrange(400)}", f"t{random.randrange(4000)}") for _ in range(1000)]
    parts = _parts(pairs)
    for side in (0, 1):
        of_sentence: dict[str, set[int]] = {}
        for pair, part in zip(pairs, parts, strict=True):
            of_sentence.setdefault(pair[side], set()).add(part)
        assert all(len(found) == 1 for found in of_sentence.values())
    counts = [parts.count(part) for part in (TRAIN, VALID, TEST)]
    assert counts[0] > 700
    assert min(counts[1:]) >= 100


def test_division_depends_on_the_text_and_the_seed_only() -> None:
    pairs = list(dict.fromkeys(translations(500)))
    by_pair = dict(zip(pairs, _parts(pairs), strict=True))
    shuffled = Random(1).sample(pairs, len(pairs))
    assert [by_pair[pair] for pair in shuffled] == _parts(shuffled)
    assert _parts(pairs) != _parts(pairs, seed=2)


def test_frequent_sentence_stays_in_training() -> None:
    pairs = [(f"s{i}", "yes") for i in range(100)] + translations(900)
    assert set(_parts(pairs)[:100]) == {TRAIN}


def test_unusable_pair_and_its_group_stay_in_training() -> None:
    pairs = translations(100)
    hashes = measured(pairs).hashes
    parts = divide(hashes, np.zeros(100, np.bool_), (10, 10)).parts
    assert set(parts.tolist()) == {TRAIN}


def test_leaks_are_pairs_of_other_parts() -> None:
    train, valid = translations(200), translations(50, seed=2)
    train[3], train[5] = valid[0], (valid[1][0], "another translation of it")
    found = examine({"train": Text(train), "valid": Text(valid)})
    faults = found["train"].faults
    assert np.flatnonzero(faults["leak"]).tolist() == [3]
    assert np.flatnonzero(faults["shared side"]).tolist() == [5]
    assert np.flatnonzero(found["valid"].faults["leak"]).tolist() == [0]
    assert np.flatnonzero(found["valid"].faults["shared side"]).tolist() == [1]


@pytest.mark.parametrize(
    ("languages", "words"),
    [
        (("ko", "en"), ""),
        (("en", "ko"), "the source (en) is written in hangul letters, not latin; exchange"),
        (("ja", "en"), "the source (ja) is written in hangul letters, not kana; check it"),
        ((None, None), ""),
    ],
)
def test_language_that_contradicts_the_script_is_a_warning(
    languages: tuple[str | None, str | None], words: str
) -> None:
    pairs = [(f"나는 집을 보았다 {i}", f"I saw the house {i}") for i in range(100)]
    warnings = examine({"train": Text(pairs)}, languages, identify_languages=False)[
        "train"
    ].warnings
    assert warnings[:1] == [one for one in warnings[:1] if one.startswith(words)] if words else True
    assert bool(warnings) == bool(words)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("나는 집을 보았다", "ko"),
        ("私は家を見た", "ja"),
        ("我看见了房子", "zh"),
        ("το σπίτι", "el"),
    ],
)
def test_script_identifies_its_language(text: str, code: str) -> None:
    assert identify([text]).code == code


class Detector:
    """A replacement of lingua's detector, which knows German by its articles."""

    def detect_language_of(self, line: str) -> object:
        code = "DE" if {"der", "das", "Haus", "und"} & set(line.split()) else "EN"
        return SimpleNamespace(iso_code_639_1=SimpleNamespace(name=code))


def test_lines_in_another_language_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nmt.data.languages._detector", Detector)
    sources = [f"das Haus und der Baum und der kleine Hund {i}" for i in range(90)]
    sources += [f"the house and the tree and the small dog {i}" for i in range(10)]
    targets = [f"a house and a tree and a small dog and more {i}" for i in range(100)]
    pairs = list(zip(sources, targets, strict=True))
    found = examine({"train": Text(pairs)})["train"]
    assert [language.code for language in found.measured.languages] == ["de", "en"]
    assert found.warnings == ["about 10 % of the long source lines are en, not de; check the text"]
    found = examine({"train": Text(pairs[:90])}, ("en", "de"))["train"]
    assert found.warnings == [
        "the source is named en, but its lines are mostly de; check it",
        "the target is named de, but its lines are mostly en; check it",
    ]


def test_scripts_of_letters() -> None:
    letters = {"a": "LATIN", "Ａ": "LATIN", "ｱ": "KANA", "한": "HANGUL", "ж": "CYRILLIC", "1": None}
    assert {letter: script_of(letter) for letter in letters} == letters


def test_report_has_counts_locations_and_meanings() -> None:
    pairs = [*translations(99), FAULTY["markup"]]
    rows = dict(report(examine({"train": Text(pairs)})["train"]))
    assert rows["train"] == "100 pairs"
    assert rows["  markup"] == f"1 pair (1 %): {FAULTS['markup'].meaning}"
    assert rows[""] == "for example memory:100"


def test_fault_of_most_pairs_removes_none() -> None:
    pairs = [
        (f"a long sentence of number {i}", f"a long sentence of number {i}") for i in range(99)
    ]
    faults = find_faults(measured(pairs))
    assert faults["identical"].all()
    assert removal_reasons(faults, len(pairs)) == {}


def test_removed_pairs_are_written_with_location_and_reasons(tmp_path: Path) -> None:
    pairs = [*translations(100), FAULTY["markup"], ("das Haus\x07 <i>", "the\thouse")]
    for side, suffix in enumerate(("de", "en")):
        lines = "".join(f"{pair[side]}\n" for pair in pairs)
        (tmp_path / f"a.{suffix}").write_text(lines, encoding="utf-8")
    examined = examine(find_inputs([tmp_path / "a.de"]).parts)["train"]
    reasons = removal_reasons(examined.faults, len(pairs))
    rows = remove(np.zeros(len(pairs), np.int8), reasons)
    (tmp_path / "out").mkdir()
    Copy(examined, rows, ("train",), reasons).write(tmp_path / "out", ("de", "en"))
    removed = (tmp_path / "out" / "removed.tsv").read_text(encoding="utf-8").splitlines()
    assert removed[0] == f"{tmp_path}/a.de:101\tmarkup\tdas <b>Haus</b>\tthe house"
    assert removed[1].split("\t")[1:] == ["control, markup", "das Haus\x07 <i>", "the house"]
    kept = find_inputs([tmp_path / "out" / "train.de"]).train.pairs()
    assert [(pair.source, pair.target) for pair in kept] == pairs[:100]


def _write_corpus(tmp_path: Path, name: str, pairs: Pairs) -> None:
    for side, suffix in enumerate(("de", "en")):
        lines = "".join(f"{pair[side]}\n" for pair in pairs)
        (tmp_path / f"{name}.{suffix}").write_text(lines, encoding="utf-8")


def _warnings(tmp_path: Path, train: Pairs, valid: Pairs) -> str:
    _write_corpus(tmp_path, "train", train)
    _write_corpus(tmp_path, "valid", valid)
    corpora = (find_corpus(tmp_path / name, "de", "en") for name in ("train", "valid"))
    return "\n".join(corpus_warnings(*corpora))


def test_corpora_of_an_experiment_get_warnings(tmp_path: Path) -> None:
    train, valid = translations(500), translations(50, seed=2)
    assert _warnings(tmp_path, train, valid) == ""
    assert "valid: 500 pairs (100 %) leak" in _warnings(tmp_path, train, train)
    shared = [(source, f"{target} again") for source, target in train[:5]]
    assert "valid: 5 pairs (9.1 %) shared side" in _warnings(tmp_path, train, [*valid, *shared])
    assert "train: 500 pairs (50 %) duplicate" in _warnings(tmp_path, train * 2, valid)
    sources, targets = zip(*train, strict=True)
    shifted = list(zip(sources[1:], targets[:-1], strict=True))
    assert "the target is 1 line late" in _warnings(tmp_path, shifted, valid)
    assert "train: 9 pairs (1.8 %) empty" in _warnings(tmp_path, [*train, *[("", "x")] * 9], valid)
