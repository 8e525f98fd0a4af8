"""Conversion of hypotheses to text and to JSON."""

import json
import pickle
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
import torch

from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.search.hypothesis import Hypothesis
from nmt.search.postprocessing import to_translation
from nmt.search.translation import Translation

LINES = ["Ein Mann liest", "a man reads", "Haus", "house"] * 4


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    """Characters of a few words."""
    return SentencePieceVocabulary.train(LINES, size=60, type="char")


def _hypothesis(
    vocabulary: Vocabulary, text: str, weights_ts: torch.Tensor | None, *, finished: bool = True
) -> Hypothesis:
    tokens = vocabulary.encode(text) + [vocabulary.eos] * finished
    return Hypothesis(tokens, -1.5, -3.0, [-0.5] * len(tokens), weights_ts, finished)


def test_copies_are_equal_and_have_equal_hashes() -> None:
    one = Translation("a b", "c", -0.5, attention=torch.rand(2, 3))
    copied = pickle.loads(pickle.dumps(one))
    assert copied == one
    assert len({one, copied, replace(one, score=-0.6)}) == 2


def test_end_of_sentence_has_a_score_but_no_piece(vocabulary: Vocabulary) -> None:
    pieces = ["▁", "H"]
    ended = to_translation(
        "H", pieces, _hypothesis(vocabulary, "man", None), vocabulary, source_spans=[(0, 0), (0, 1)]
    )
    assert (ended.text, ended.pieces) == ("man", ("▁", "m", "a", "n"))
    assert ended.piece_scores == (-0.5,) * 5
    assert (ended.score, ended.log_prob, ended.source_pieces) == (-1.5, -3.0, ("▁", "H"))
    cut = _hypothesis(vocabulary, "man", None, finished=False)
    unended = to_translation("H", pieces, cut, vocabulary, source_spans=[(0, 0), (0, 1)])
    assert (unended.text, len(unended.piece_scores), unended.finished) == ("man", 4, False)


def test_replace_unknown_inserts_the_most_attended_source_word(
    vocabulary: Vocabulary,
) -> None:
    source = ["▁", "H", "▁", "9", "1", "▁", "M"]  # words H, 91 and M; then </s>
    tokens = [*vocabulary.encode("a"), vocabulary.unk, *vocabulary.encode("n")[1:], vocabulary.eos]
    weights_ts = torch.full((len(tokens), 8), 0.01)
    weights_ts[2, 4] = 0.9
    hypothesis = Hypothesis(tokens, 0.0, 0.0, [0.0] * len(tokens), weights_ts, True)
    spans = [(0, 0), (0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6)]

    def translation(replace_unknown: bool) -> Translation:
        return to_translation(
            "H 91 M",
            source,
            hypothesis,
            vocabulary,
            source_spans=spans,
            replace_unknown=replace_unknown,
        )

    replaced, kept = translation(True), translation(False)
    assert replaced.text == "a91n"
    assert replaced.spans == ((0, 0), (0, 1), (1, 3), (3, 4))
    assert "⁇" in kept.text
    assert replaced.pieces == kept.pieces


def test_replace_unknown_prefers_the_weights_of_alignments(vocabulary: Vocabulary) -> None:
    tokens = [vocabulary.unk, vocabulary.eos]
    weights_ts, alignment_ts = torch.eye(2, 3), torch.eye(2, 3).flip(1)
    one = Hypothesis(tokens, 0.0, 0.0, [0.0] * 2, weights_ts, True)
    for hypothesis, expected in ((one, "H"), (one._replace(alignment_ts=alignment_ts), "M")):
        found = to_translation(
            "H M",
            ["H", "▁", "M"],
            hypothesis,
            vocabulary,
            source_spans=[(0, 1), (1, 2), (2, 3)],
            replace_unknown=True,
        )
        assert found.text == expected
        assert found.alignment_weights is hypothesis.alignment_ts


def test_replace_unknown_without_attention_raises(vocabulary: Vocabulary) -> None:
    hypothesis = Hypothesis([vocabulary.unk], 0.0, 0.0, [0.0], None, False)
    with pytest.raises(UserError, match="requires a model with attention"):
        to_translation(
            "H",
            ["▁", "H"],
            hypothesis,
            vocabulary,
            source_spans=[(0, 0), (0, 1)],
            replace_unknown=True,
        )


def test_byte_pieces_of_a_line_feed_give_one_line() -> None:
    vocabulary = SentencePieceVocabulary.train(LINES, size=279, byte_fallback=True)
    ids = [n for n in range(len(vocabulary)) if vocabulary.tokens([n]) == ["<0x0A>"]]
    tokens = [*vocabulary.encode("man"), *ids, *vocabulary.encode("man"), vocabulary.eos]
    assert "\n" in vocabulary.decode(tokens)
    hypothesis = Hypothesis(tokens, 0.0, 0.0, [0.0] * len(tokens), None, True)
    translation = to_translation("x", ["x"], hypothesis, vocabulary, source_spans=[(0, 1)])
    assert "\n" not in translation.text


def test_scored_translation_keeps_the_given_text(vocabulary: Vocabulary) -> None:
    hypothesis = _hypothesis(vocabulary, "man", None)
    scored = to_translation(
        "H", ["▁", "H"], hypothesis, vocabulary, source_spans=[(0, 0), (0, 1)], target=" man"
    )
    assert (scored.text, scored.pieces) == (" man", ("▁", "m", "a", "n"))
    assert scored.spans[1:] == ((1, 2), (2, 3), (3, 4))


def test_to_dict_is_complete_and_valid_json() -> None:
    weights_ts = torch.tensor([[0.25, 0.75, 0.0], [0.5, 0.0, 0.5], [0.0, 0.0, 1.0]])
    spans = ((0, 1), (1, 3))
    one = Translation(
        "a b",
        "c d",
        -0.5,
        -1.5,
        ("▁a", "▁b"),
        ("▁c", "▁d"),
        (-0.5, -0.5, -0.5),
        weights_ts,
        source_spans=spans,
        spans=spans,
    )
    tree = Translation(**{**one.__dict__, "n_best": (one, one)}).to_dict()
    assert json.loads(json.dumps(tree)) == tree
    assert tree["alignment"] == [[1, 0], [0, 1]]
    assert tree["attention"] == [[0.25, 0.75, 0.0], [0.5, 0.0, 0.5], [0.0, 0.0, 1.0]]
    assert tree["n_best"] == [{"translation": "c d", "score": -0.5}] * 2
    assert (tree["pieces"], tree["piece_scores"]) == (["▁c", "▁d"], [-0.5, -0.5, -0.5])


def test_weights_of_alignments_may_select_the_empty_word() -> None:
    attention_ts = torch.tensor([[0.25, 0.35, 0.4], [0.5, 0.0, 0.5], [0.0, 0.0, 1.0]])
    spans = ((0, 1), (1, 3))
    pieces: dict[str, Any] = {"source_pieces": ("▁a", "▁b"), "pieces": ("▁c", "▁d")}
    one = Translation(
        "a b", "c d", attention=attention_ts, source_spans=spans, spans=spans, **pieces
    )
    assert one.alignment == one.piece_alignment == [(1, 0), (0, 1)]
    # Of equal weights the first one counts; a last word that no step has read has none.
    for weights, links in (
        (attention_ts, [(0, 1)]),
        (torch.tensor([[0.1, 0.9, 0.0], [0.0] * 3, [0.0] * 3]), [(1, 0)]),
    ):
        aligned = replace(one, alignment_weights=weights)
        assert aligned.alignment == aligned.piece_alignment == links
        assert aligned.to_dict()["alignment"] == [list(link) for link in links]
        assert aligned.to_dict()["attention"] == one.to_dict()["attention"]
        copied = pickle.loads(pickle.dumps(aligned))
        assert copied.alignment_weights.equal(weights)
    without = replace(one, attention=None, alignment_weights=attention_ts)
    assert without.alignment == [(0, 1)]
    assert without.to_dict()["alignment"] == [[0, 1]]


def test_alignment_without_attention_raises() -> None:
    one = Translation("a", "b", source_pieces=("▁a",), pieces=("▁b",), piece_scores=(-1.0, -1.0))
    with pytest.raises(UserError, match="require a model with attention"):
        _ = one.alignment
    assert one.to_dict()["alignment"] is None
    assert one.to_dict()["attention"] is None
    assert Translation("").alignment == []


def test_translation_is_one_line_of_text_and_html_in_a_notebook() -> None:
    weights_ts = torch.tensor([[0.25, 0.75], [0.5, 0.5]])
    spans = ((0, 3), (4, 5))
    options: dict[str, Any] = {"source_spans": spans, "spans": spans, "attention": weights_ts}
    one = Translation(
        "<b> d", "e&f\tg", -0.5, source_pieces=("▁<b>", "▁d"), pieces=("▁e&f", "▁g"), **options
    )
    assert str(one) == "e&f\tg"
    assert repr(one) == r"Translation('<b> d', 'e&f\tg', score=-0.5)"
    assert repr(replace(one, finished=False)).endswith("score=-0.5, finished=False)")
    page = _Page(one._repr_html_())
    assert (page.cells, page.headers) == (["<b> d", "e&f\tg"], ["source", "translation"])
    assert page.frames == 1
    with_others = replace(one, attention=None, n_best=(one, replace(one, text="h")))
    page = _Page(with_others._repr_html_())
    assert (page.cells, page.frames) == (["<b> d", "e&f\tg", "h"], 0)
    assert _Page(Translation("")._repr_html_()).cells == ["", ""]


def test_plot_is_a_figure_of_the_attention() -> None:
    one = Translation(
        "a",
        "b",
        source_pieces=("▁a",),
        pieces=("▁b",),
        attention=torch.ones(1, 1),
        source_spans=((0, 1),),
        spans=((0, 1),),
    )
    assert [text.get_text() for text in one.plot().axes[0].get_xticklabels()] == ["▁a"]
    with pytest.raises(UserError, match="a plot requires attention"):
        replace(one, attention=None).plot()


class _Page(HTMLParser):
    """The texts of a table's cells and headers, and the number of frames."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.headers: list[str] = []
        self.frames = 0
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        if tag in ("td", "th"):
            (self.cells if tag == "td" else self.headers).append("")
        self.frames += tag == "iframe"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        kind = next(tag for tag in reversed(self.open) if tag in ("td", "th"))
        (self.cells if kind == "td" else self.headers)[-1] += data
