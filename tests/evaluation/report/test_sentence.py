"""The data of a sentence of the report."""

from dataclasses import replace

import pytest
import torch
from sacrebleu import sentence_chrf

from nmt.data.pharaoh import parse_pharaoh
from nmt.evaluation.report.confidence import attention_confidence
from nmt.evaluation.report.sentence import detail, quantize, summarize
from nmt.search.beam_tree import BeamNode, BeamTree
from nmt.search.translation import OtherPiece, Translation
from tests.evaluation.report.pages import attended

ONE = attended("a b", "c d", [[0.9, 0.05, 0.05], [0.4, 0.6, 0.0], [0.0, 0.0, 1.0]])


def test_row_has_scores_of_the_sentence() -> None:
    row = summarize(7, ONE, "c e")
    assert (row["number"], row["source"], row["target"], row["score"]) == (7, "a b", "c d", -0.5)
    assert row["chrf"] == pytest.approx(sentence_chrf("c d", ["c e"]).score, abs=0.01)
    assert ONE.attention is not None
    expected = attention_confidence(ONE.attention)
    assert row["confidence"] == pytest.approx(expected.percent, abs=0.01)
    assert row["coverage"] == pytest.approx(expected.coverage, abs=1e-4)
    assert row["unaligned"] == 0
    # Both words attend to the first source word most, so the second one is not aligned.
    other = attended("a b", "c d", [[0.9, 0.1], [0.8, 0.2]])
    assert summarize(0, other)["unaligned"] == 50


def test_empty_translation_has_a_row_without_scores() -> None:
    assert set(summarize(0, Translation(""), "")) == {
        *("number", "source", "target", "finished", "reference")
    }


def test_weights_are_eight_bits_and_small_ones_vanish() -> None:
    weights_ts = torch.tensor([[0.0, 1.0, 0.0019, 0.002, 0.5]])
    assert quantize(weights_ts) == [[0, 255, 0, 1, 128]]


def test_detail_has_words_and_pieces_with_their_steps() -> None:
    """Weights of a word are summed over its source pieces and averaged over its target pieces."""
    one = Translation(
        "ab c",
        "de f",
        source_pieces=("▁a", "b", "▁c"),
        pieces=("▁d", "e", "▁f"),
        piece_scores=(0.0, -1.0, -2.0),
        attention=torch.tensor([[0.2, 0.2, 0.6], [0.4, 0.4, 0.2], [0.0, 0.0, 1.0]]),
        source_spans=((0, 1), (1, 2), (3, 4)),
        spans=((0, 1), (1, 2), (3, 4)),
    )
    gold = parse_pharaoh("0-0 1p1")
    (target,) = detail(one, {"x": one}, gold=gold)["targets"]
    assert target["levels"]["words"] == {
        "source": ["ab", "c"],
        "target": ["de", "f"],
        "steps": [[0, 1], [2]],
    }
    assert target["levels"]["pieces"]["source"] == ["▁a", "b", "▁c"]
    (view,) = target["views"]
    assert view["words"] == [[153, 102], [0, 255]]
    assert view["pieces"][0] == [51, 51, 153]
    assert [step["probability"] for step in target["steps"]] == [1.0, 0.3679, 0.1353]
    assert target["gold"] == {"sure": [(0, 0)], "possible": [(1, 1)]}


def test_steps_have_probabilities_of_alternatives() -> None:
    one = replace(ONE, alternatives=((OtherPiece("▁x", -2.0), OtherPiece("▁y", -3.0)), (), ()))
    (target,) = detail(one, {"x": one})["targets"]
    expected = [["▁x", 0.135], ["▁y", 0.05]]
    assert target["steps"][0] == {"token": "▁c", "probability": 0.9048, "alternatives": expected}


def test_detail_has_the_tree_of_the_beam_if_it_was_recorded() -> None:
    nodes = [
        BeamNode(1, None, 3, -0.25, -0.25, -0.25, piece="▁c"),
        BeamNode(1, None, 4, -2.0, -2.0, -2.0),
    ]
    tree = BeamTree.from_nodes(nodes, eos=3)._replace(n_best=(0,))
    beam = detail(replace(ONE, beam_tree=tree), {"x": ONE})["beam"]
    assert (beam["pieces"], beam["states"]) == (["▁c", ""], ["finished", "active"])
    assert (beam["scores"], beam["n_best"]) == ([-0.25, -2.0], [0])
    assert "beam" not in detail(ONE, {"x": ONE})


def test_gold_alignment_belongs_to_the_reference_that_the_model_reads() -> None:
    gold = parse_pharaoh("0-0")
    translated, read = detail(ONE, {"x": ONE}, forced=replace(ONE, text="C D"), gold=gold)[
        "targets"
    ]
    assert (translated["text"], read["text"]) == ("c d", "C D")
    assert "gold" not in translated and "gold" in read


def test_view_with_other_source_pieces_has_words_alone() -> None:
    other = replace(ONE, source_pieces=("▁", "a", "▁b"), source_spans=((0, 0), (0, 1), (2, 3)))
    other = replace(other, attention=torch.full((3, 4), 0.25))
    (target,) = detail(ONE, {"first": ONE, "second": other})["targets"]
    assert [set(view) for view in target["views"]] == [
        {"name", "words", "pieces"},
        {"name", "words"},
    ]
    assert target["views"][1]["words"][0] == [128, 64, 64]


def test_weights_of_alignments_are_a_view_of_their_own() -> None:
    aligned = replace(ONE, alignment_weights=torch.eye(3))
    for one in (aligned, replace(aligned, attention=None)):
        (target,) = detail(one, {"attention": one})["targets"]
        *attended, view = target["views"]
        assert len(attended) == (one.attention is not None)
        assert (view["name"], view["pieces"]) == (
            "alignment",
            [[255, 0, 0], [0, 255, 0], [0, 0, 255]],
        )


def test_translation_without_attention_has_probabilities_alone() -> None:
    (target,) = detail(replace(ONE, attention=None), {"x": replace(ONE, attention=None)})["targets"]
    assert target["views"] == [] and len(target["steps"]) == 3
