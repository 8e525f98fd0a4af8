"""A translation with its scores, attention and alignment."""

from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from nmt.data.pharaoh import Link
from nmt.data.segmented_text import SegmentedText
from nmt.data.vocabulary import Span
from nmt.errors import UserError
from nmt.search.alignment import (
    AttentionMatrix,
    end_labels,
    piece_alignment,
    word_alignment,
    word_weights,
)
from nmt.search.beam_tree import BeamTree

if TYPE_CHECKING:  # matplotlib is an extra
    from nmt.evaluation.plots import AttentionFigure


TENSORS = ("attention", "alignment_weights")


class OtherPiece(NamedTuple):
    """A piece that the model could have continued a translation with, and its log-probability."""

    piece: str
    score: float


@dataclass(frozen=True)
class Translation:
    """The translation of one source sentence, or the caption of one image.

    Translations are equal if all attributes but the attention weights are.

    Attributes:
        source: source sentence, or file name of the image
        text: translated text; in scoring, the given translation
        score: log-probability normalized by length, plus the coverage penalty; with `mbr` the
            expected metric, from 0 to 100; in reranking the mean of `model_scores`; 0 for an empty
            line
        log_prob: log p(pieces | source), the natural logarithm
        source_pieces: tokens of the source without `</s>`
        pieces: tokens of the translation without `</s>`
        piece_scores: log-probability of each piece, that of `</s>` last
        attention: attention weights, one row per target piece and one column per source piece,
            those of `</s>` last; None if the model has no attention
        finished: False if the maximum length was reached before `</s>`, and if search found no
            translation that satisfies the constraints, which is empty then
        n_best: all translations that were requested, this one first
        grid: rows and columns of the annotations if the source is an image; None for text
        source_spans: characters of `source` that each source piece covers; none for an image
        spans: characters of `text` that each piece covers
        alternatives: for each of `piece_scores` the most likely other pieces, best first, given the
            pieces before it; empty unless requested
        model_scores: score of the search, then of each model of `rerank`, whose weighted mean is
            `score`; empty without reranking
        entropies: entropy of the model's distribution at each of `piece_scores`, in nats; empty
            unless `quality` is requested
        beam_tree: all hypotheses that were in the beam; None if not requested, or without a
            translation
        alignment_weights: weights that align each target piece, in the shape of `attention`; None
            from a model without an attention for alignments, whose `attention` aligns
    """

    source: str
    text: str = ""
    score: float = 0.0
    log_prob: float = 0.0
    source_pieces: tuple[str, ...] = ()
    pieces: tuple[str, ...] = ()
    piece_scores: tuple[float, ...] = ()
    # Tensors have no equality of their own.
    attention: Float[Tensor, "t s"] | None = field(default=None, compare=False)
    finished: bool = True
    n_best: tuple["Translation", ...] = field(default=(), repr=False)
    grid: tuple[int, int] | None = None
    source_spans: tuple[Span, ...] = ()
    spans: tuple[Span, ...] = ()
    alternatives: tuple[tuple[OtherPiece, ...], ...] = field(default=(), repr=False)
    entropies: tuple[float, ...] = field(default=(), repr=False)
    model_scores: tuple[float, ...] = field(default=(), repr=False)
    beam_tree: BeamTree | None = field(default=None, repr=False)
    alignment_weights: Float[Tensor, "t s"] | None = field(default=None, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for pickling, with attention as an array.

        A pickled tensor would occupy shared memory and a file descriptor until it is read.
        """
        state = dict(vars(self))
        for name in TENSORS:
            state[name] = None if state[name] is None else state[name].numpy()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name in TENSORS:  # shares the array's memory
            state[name] = None if state[name] is None else torch.from_numpy(state[name])
        vars(self).update(state)

    @cached_property
    def alignment(self) -> list[Link]:
        """Links (source, target) between words, 0-based; words are split at white space."""
        if self.grid is not None:
            raise UserError("an image has no words to align; use the alignment of pieces")
        if not self.pieces:
            return []
        weights_ts, has_empty_word = self._aligning_weights()
        source, target = self.segmented_source, self.segmented_target
        return word_alignment(weights_ts, source, target, has_empty_word=has_empty_word)

    @cached_property
    def piece_alignment(self) -> list[Link]:
        """Links (source, target) between pieces, 0-based."""
        if not self.pieces:
            return []
        weights_ts, has_empty_word = self._aligning_weights()
        counts = len(self.source_pieces), len(self.pieces)
        return piece_alignment(weights_ts, *counts, has_empty_word=has_empty_word)

    @cached_property
    def attention_matrix(self) -> AttentionMatrix | None:
        """Attention weights between words, with their labels, `</s>` included.

        If a side is a single word, as in languages without spaces, the weights are between pieces.
        None for an image, an empty translation, and a model without attention.
        """
        weights_ts = self.attention
        if weights_ts is None or not self.pieces or self.grid is not None:
            return None
        source, target = self.segmented_source, self.segmented_target
        source_end, target_end = end_labels(weights_ts, source, target)
        # A matrix with one row or column shows nothing.
        if min(len(source.words), len(target.words)) <= 1:
            pieces = self.source_pieces, self.pieces
            return AttentionMatrix([*pieces[0], *source_end], [*pieces[1], *target_end], weights_ts)
        return AttentionMatrix(
            [*source.words, *source_end],
            [*target.words, *target_end],
            word_weights(weights_ts, source, target),
        )

    @property
    def segmented_source(self) -> SegmentedText:
        """The source with its words and pieces; not of an image."""
        return SegmentedText(self.source, self.source_spans)

    @property
    def segmented_target(self) -> SegmentedText:
        """The translation with its words and pieces."""
        return SegmentedText(self.text, self.spans)

    def _aligning_weights(self) -> tuple[Float[Tensor, "t s"], bool]:
        """Return the weights of alignments, and whether they may select the empty word."""
        if self.alignment_weights is not None:
            return self.alignment_weights, True
        if self.attention is None:
            raise UserError("alignments require a model with attention")
        return self.attention, False

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        unfinished = "" if self.finished else ", finished=False"
        return f"Translation({self.source!r}, {self.text!r}, score={self.score:.4g}{unfinished})"

    def _repr_html_(self) -> str:
        """Return the representation of a notebook: the texts, and the page of the attention."""
        # By name, because evaluation imports this package, and no caller of this method, which
        # is the notebook itself, could be relied on to import or register the renderer.
        page: str = import_module("nmt.evaluation.report.page").render_frame(self)
        return page

    def plot(self) -> "AttentionFigure":
        """Return the attention as a matplotlib Figure; `.savefig("a.pdf")` writes PNG, SVG or PDF.

        Raises:
            UserError: if the extra "plots" is missing, or the translation has no attention
        """
        figure: AttentionFigure = import_module("nmt.evaluation.samples").attention_figure(self)
        return figure

    def _scored_text(self) -> dict[str, object]:
        scored: dict[str, object] = {"translation": self.text, "score": self.score}
        return scored | ({"model_scores": list(self.model_scores)} if self.model_scores else {})

    def to_dict(self) -> dict[str, object]:
        """Return the translation as plain data for JSON."""
        # An image has no words to align; an empty translation has no links, with or without
        # attention.
        aligns = self.attention is not None or self.alignment_weights is not None
        has_words = self.grid is None and (aligns or not self.pieces)
        alternatives = [[one._asdict() for one in others] for others in self.alternatives]
        fields: dict[str, object] = {
            "source": self.source,
            "translation": self.text,
            "source_pieces": list(self.source_pieces),
            "pieces": list(self.pieces),
            "source_spans": [list(span) for span in self.source_spans],
            "spans": [list(span) for span in self.spans],
            "score": self.score,
            "finished": self.finished,
            "piece_scores": list(self.piece_scores),
            "alignment": [list(link) for link in self.alignment] if has_words else None,
            "attention": self.attention.tolist() if self.attention is not None else None,
            "n_best": [one._scored_text() for one in self.n_best],
            "alternatives": alternatives,
        }
        # Only if requested, since it is longer than all others.
        return fields | ({} if self.beam_tree is None else {"beam_tree": self.beam_tree.to_dict()})
