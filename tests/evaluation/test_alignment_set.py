"""Gold alignments of sentence pairs: their files, and the score of predicted alignments."""

from dataclasses import replace
from pathlib import Path

import pytest

from nmt.data.corpus import Corpus, find_corpus
from nmt.errors import UserError
from nmt.evaluation.alignment_set import AlignmentSet


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    (tmp_path / "test.de").write_text("das Haus\nja\n")
    (tmp_path / "test.en").write_text("the house here\nyes\n")
    return find_corpus(tmp_path / "test", "de", "en")


def test_score_counts_sure_and_possible_links(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "gold").write_text("0-0 1-1 1p2\n0-0\n")
    pairs = AlignmentSet.load(corpus, tmp_path / "gold")
    assert pairs.sources == ("das Haus", "ja") and pairs.targets == ("the house here", "yes")
    score = pairs.score([[(0, 0), (1, 2), (0, 2)], []])
    # Of three links one is sure and two are possible; of three sure ones one is found.
    assert score == pytest.approx((2 / 3, 1 / 3, 1 - (1 + 2) / (3 + 3)))


def test_links_do_not_count_a_tag(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "gold").write_text("0-0 1-1\n0-0\n")
    tagged = Corpus((replace(corpus.parts[0], tag="<2en>"),))
    pairs = AlignmentSet.load(tagged, tmp_path / "gold")
    assert pairs.sources[0] == "<2en> das Haus"
    assert pairs.score([[(1, 0), (2, 1)], [(1, 0)]]).error_rate == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0-0\n", "gold: has 1 lines of alignments, but .*test.de has 2 pairs"),
        ("0-0\n1-0\n", "gold:2: link 1-0, but the source has 1 and the target 1 words"),
        ("0-3\n0-0\n", "gold:1: link 0-3, but the source has 2 and the target 3 words"),
        ("0p0\n\n", "gold: has no sure link"),
        ("0-0\nx\n", "gold:2: 'x' is not a link"),
    ],
)
def test_faulty_gold_alignments_are_refused(
    corpus: Corpus, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "gold").write_text(text)
    with pytest.raises(UserError, match=message):
        AlignmentSet.load(corpus, tmp_path / "gold")
