"""nmt-translate: every output format."""

import json
from pathlib import Path

import pytest

from nmt.search.translator import Translator
from tests.commands import lines_of, nmt_translate

KEYS = {"id", "source", "translation", "pieces", "score", "piece_scores", "alignment", "attention"}
NEW_KEYS = {"finished", "n_best", "source_pieces", "alternatives", "spans", "source_spans"}


def test_n_best_lines_have_the_moses_format(
    trained: Path, sources: list[str], expected: list[str]
) -> None:
    called = nmt_translate("-m", trained, "--n-best", 3, given="\n".join(sources[:4]) + "\n\n")
    rows = [line.split(" ||| ") for line in called.lines]
    assert [row[0] for row in rows] == ["0"] * 3 + ["1"] * 3 + ["2"] * 3 + ["3"] * 3 + ["4"]
    assert [rows[3 * n][1] for n in range(4)] == expected[:4]
    for _, text, features, score in rows[:12]:
        assert text
        name, value = features.split(" ")
        assert name == "logprob="
        assert float(value) <= float(score) <= 0  # the score is the mean over pieces
    scores = [float(row[3]) for row in rows[:3]]
    assert scores == sorted(scores, reverse=True)
    assert rows[12][1] == ""


def test_n_best_may_exceed_the_beam_size(
    trained: Path, sources: list[str], expected: list[str]
) -> None:
    called = nmt_translate("-m", trained, "-b", 2, "--n-best", 5, given=f"{sources[0]}\n")
    texts = [line.split(" ||| ")[1] for line in called.lines]
    assert (called.code, called.err) == (0, "")
    assert texts[0] == expected[0]
    assert 2 < len(texts) <= 5


def test_scores_follow_the_text_after_a_tab(trained: Path, translator: Translator) -> None:
    called = nmt_translate("-m", trained, "--scores", given="Guten Morgen!\n\n")
    (one,) = translator.translate(["Guten Morgen!"])
    rows = [line.split("\t") for line in called.lines]
    assert rows[0][0] == one.text
    assert float(rows[0][1]) == pytest.approx(one.score, abs=1e-4)
    assert rows[1] == ["", "0.0000"]


def test_jsonl_objects_have_all_keys_with_matching_sizes(
    trained: Path, sources: list[str], expected: list[str]
) -> None:
    given = "\n".join([*sources[:5], "", *sources[5:8]]) + "\n"
    options = ("--jsonl", "--n-best", 2, "--alternatives", 3)
    called = nmt_translate("-m", trained, *options, given=given)
    found = [json.loads(line) for line in called.lines]
    assert [one["id"] for one in found] == list(range(9))
    assert [one["source"] for one in found] == [*sources[:5], "", *sources[5:8]]
    assert [one["translation"] for one in found] == [*expected[:5], "", *expected[5:8]]
    for one in found:
        assert set(one) == KEYS | NEW_KEYS
    for one in found[:5] + found[6:]:
        pieces, weights = one["pieces"], one["attention"]
        assert len(weights) == len(one["piece_scores"])
        assert len(weights) - len(pieces) in (0, 1)
        assert {len(row) for row in weights} == {len(one["source_pieces"]) + 1}
        assert all(sum(row) == pytest.approx(1, abs=1e-5) for row in weights)
        mean = sum(one["piece_scores"]) / len(one["piece_scores"])
        assert one["score"] == pytest.approx(mean, abs=1e-5)
        assert one["n_best"][0] == {"translation": one["translation"], "score": one["score"]}
        assert len(one["n_best"]) == 2
        assert all(len(link) == 2 for link in one["alignment"])
        assert [len(others) for others in one["alternatives"]] == [3] * len(weights)
        for piece, others in zip(pieces, one["alternatives"], strict=False):
            scores = [other["score"] for other in others]
            assert scores == sorted(scores, reverse=True)
            assert piece not in [other["piece"] for other in others]
    assert (found[5]["pieces"], found[5]["n_best"], found[5]["score"]) == ([], [], 0)


def test_jsonl_has_the_tree_of_the_beam_if_requested(
    trained: Path, translator: Translator, sources: list[str]
) -> None:
    given = f"{sources[0]}\n\n{sources[1]}\n"
    options = ("-m", trained, "--jsonl", "--n-best", 2)
    plain = [json.loads(line) for line in nmt_translate(*options, given=given).lines]
    called = nmt_translate(*options, "--beam-tree", given=given)
    found = [json.loads(line) for line in called.lines]
    trees = [one.pop("beam_tree") for one in found]
    assert found == plain
    assert trees[1] is None
    expected = translator.translate([sources[0], sources[1]], n_best=2, beam_tree=True)
    for tree, one in zip((trees[0], trees[2]), expected, strict=True):
        assert one.beam_tree is not None
        assert tree == one.beam_tree.to_dict()
        assert len(tree["n_best"]) == 2


@pytest.mark.parametrize("level", ["word", "piece"])
def test_alignments_are_pharaoh_links_within_both_sentences(
    level: str, trained: Path, sources: list[str], tmp_path: Path
) -> None:
    given = "\n".join([*sources[:10], "", *sources[10:20]]) + "\n"
    file = tmp_path / "links"
    options = ["--alignments", file, "--alignment_level", level, "--jsonl"]
    called = nmt_translate("-m", trained, *options, given=given)
    links = lines_of(file)
    found = [json.loads(line) for line in called.lines]
    assert len(links) == len(found) == 21
    assert links[10] == ""
    for line, one in zip(links, found, strict=True):
        pairs = [tuple(map(int, link.split("-"))) for link in line.split()]
        if level == "word":
            source, target = one["source"].split(), one["translation"].split()
            assert pairs == [tuple(link) for link in one["alignment"]]
        else:
            source, target = one["source_pieces"], one["pieces"]
        assert all(s < len(source) and t < len(target) for s, t in pairs)
    assert "0-0" in links[0].split()


def test_score_targets_gives_the_scores_of_search(
    trained: Path, de: Path, expected: list[str], tmp_path: Path
) -> None:
    (tmp_path / "given.en").write_text("\n".join(expected) + "\n", encoding="utf-8")
    searched = nmt_translate("-m", trained, de, "--scores")
    forced = nmt_translate("-m", trained, de, "--scores", "--score-targets", tmp_path / "given.en")
    assert forced.code == 0
    found, wanted = ([line.split("\t") for line in c.lines] for c in (forced, searched))
    assert [row[0] for row in found] == expected
    near = [abs(float(a[1]) - float(b[1])) < 2e-4 for a, b in zip(found, wanted, strict=True)]
    assert sum(near) >= 50  # the others were cut otherwise, or not ended, by search
    (tmp_path / "short.en").write_text("one\n")
    short = nmt_translate("-m", trained, de, "--force", tmp_path / "short.en")
    assert "1 lines, but" in short.complaint
    assert "has 60" in short.complaint


def test_target_of_an_empty_line_is_reported_with_its_line(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "given.en").write_text("Good morning!\n\n\n \none\n", encoding="utf-8")
    forced = ["-m", trained, "--scores", "--force", tmp_path / "given.en"]
    called = nmt_translate(*forced, given="Guten Morgen!\n\nWie heißt du?\n\nEins.\n")
    assert (called.code, len(called.lines)) == (0, 5)
    assert called.lines[1] == called.lines[3] == "\t0.0000"
    assert called.lines[2].startswith("\t-")  # how likely it is to say nothing here
    called = nmt_translate(*forced, given="Guten Morgen!\n\nWie heißt du?\n\n\t\n")
    assert f"{tmp_path / 'given.en'}:5: translates an empty line of standard input" in (
        called.complaint
    )
