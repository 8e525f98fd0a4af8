"""Pairs that are held out of a training text for validation."""

from dataclasses import replace
from pathlib import Path

import pytest

from nmt.data.corpus import Corpus, find_corpus, find_part
from nmt.data.held_out import hold_out
from nmt.errors import UserError


def _write(prefix: Path, pairs: list[tuple[str, str]]) -> Path:
    for column, side in enumerate(("de", "en")):
        text = "".join(f"{pair[column]}\n" for pair in pairs)
        prefix.with_suffix(f".{side}").write_text(text, encoding="utf-8")
    return prefix


# Ten sentences have three translations each, of which one is that of the next sentence, too.
PAIRS = [(f"satz {n}", f"sentence {n}") for n in range(200)]
PAIRS += [(f"Wort  {n // 3}", f"word {n}") for n in range(30)] + [("", "empty"), ("leer", " ")]


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return find_corpus(_write(tmp_path / "all", PAIRS), "de", "en")


def test_every_pair_is_in_one_text_and_pairs_with_a_common_side_in_the_same(
    corpus: Corpus,
) -> None:
    train, valid = (list(part.pairs()) for part in hold_out(corpus, 0.2))
    assert sorted(train + valid) == sorted(PAIRS)
    assert 0.2 * 230 <= len(valid) <= 0.2 * 230 + 3
    for column in (0, 1):
        sides = [{pair[column].casefold() for pair in part} for part in (train, valid)]
        assert not sides[0] & sides[1]
    assert ("", "empty") in train
    assert ("leer", " ") in train


def test_the_division_does_not_depend_on_the_order_of_the_pairs(
    corpus: Corpus, tmp_path: Path
) -> None:
    other = find_corpus(_write(tmp_path / "reversed", PAIRS[::-1]), "de", "en")
    for one, same in zip(hold_out(corpus, 0.1), hold_out(other, 0.1), strict=True):
        assert sorted(one.pairs()) == sorted(same.pairs())


def test_parts_keep_their_tags_and_locations(corpus: Corpus, tmp_path: Path) -> None:
    extra = _write(tmp_path / "extra", [(f"mehr {n}", f"more {n}") for n in range(40)])
    tagged = find_part(extra, "de", "en", tag="<bt>", weight=2.0)
    train, valid = hold_out(Corpus((*corpus.parts, tagged)), 0.3)
    assert [part.weight for part in train.parts] == [1.0, 2.0]
    for text in (train, valid):
        pairs = list(text.pairs())
        assert any(source.startswith("<bt> mehr") for source, _ in pairs)
        for number in range(0, len(pairs), 7):
            file, _, line = text.location(number).rpartition(":")
            source = Path(file).read_text(encoding="utf-8").splitlines()[int(line) - 1]
            assert pairs[number][0].removeprefix("<bt> ") == source


def test_texts_of_other_shares_and_limits_are_read_differently(corpus: Corpus) -> None:
    """The key decides the entry of the cache that holds the encoded text."""
    limited = Corpus((replace(corpus.parts[0], limit=100),))
    found = [hold_out(text, share) for text in (corpus, limited) for share in (0.1, 0.2)]
    keys = {text.reading for texts in found for text in texts}
    assert len(keys) == 8
    train, valid = found[2]
    assert sorted([*train.pairs(), *valid.pairs()]) == sorted(PAIRS[:100])


def test_a_text_that_cannot_be_divided_is_a_user_error(tmp_path: Path) -> None:
    same = find_corpus(
        _write(tmp_path / "same", [("ja", f"yes {n}") for n in range(9)]), "de", "en"
    )
    with pytest.raises(UserError, match="9 pairs in 1 groups that share sentences are too few"):
        hold_out(same, 0.5)
