"""A translation with its scores, attention and alignment."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.search.alignment import Link, piece_alignment, word_alignment, word_spans, word_text
from nmt.search.hypothesis import Hypothesis


@dataclass(frozen=True)
class Translation:
    """The translation of one source sentence, or the caption of one image.

    Attributes:
        source: source sentence, or file name of the image
        text: translated text
        score: log-probability normalized by length, plus the coverage penalty; 0 for an empty line
        log_prob: log p(pieces | source), the natural logarithm
        source_pieces: SentencePiece pieces of the source without `</s>`
        pieces: SentencePiece pieces of the translation without `</s>`
        piece_scores: log-probability of each piece, that of `</s>` last
        attention: attention weights, one row per target piece and one column per source piece,
            those of `</s>` last; None if the model has no attention
        finished: False if the maximum length was reached before `</s>`
        n_best: all translations that were requested, this one first
        grid: rows and columns of the annotations if the source is an image; None for text
    """

    source: str
    text: str = ""
    score: float = 0.0
    log_prob: float = 0.0
    source_pieces: tuple[str, ...] = ()
    pieces: tuple[str, ...] = ()
    piece_scores: tuple[float, ...] = ()
    attention: Float[Tensor, "t s"] | None = None
    finished: bool = True
    n_best: tuple["Translation", ...] = field(default=(), repr=False)
    grid: tuple[int, int] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for pickling, with attention as an array.

        A pickled tensor would occupy shared memory and a file descriptor until it is read.
        """
        state = dict(vars(self))
        if self.attention is not None:
            state["attention"] = self.attention.numpy()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["attention"] is not None:  # shares the array's memory
            state["attention"] = torch.from_numpy(state["attention"])
        vars(self).update(state)

    @cached_property
    def alignment(self) -> list[Link]:
        """Links (source, target) between words, 0-based."""
        if self.grid is not None:
            raise UserError("an image has no words to align; use the alignment of pieces")
        if not self.pieces:
            return []
        return word_alignment(self._require_attention(), self.source_pieces, self.pieces)

    @cached_property
    def piece_alignment(self) -> list[Link]:
        """Links (source, target) between pieces, 0-based."""
        if not self.pieces:
            return []
        weights_ts = self._require_attention()
        return piece_alignment(weights_ts, len(self.source_pieces), len(self.pieces))

    def _require_attention(self) -> Float[Tensor, "t s"]:
        if self.attention is None:
            raise UserError("alignments require a model with attention")
        return self.attention

    def to_dict(self) -> dict[str, object]:
        """Return the translation as plain data for JSON."""
        # An image has no words to align; an empty translation has no links, with or without
        # attention.
        has_words = self.grid is None and (self.attention is not None or not self.pieces)
        return {
            "source": self.source,
            "translation": self.text,
            "source_pieces": list(self.source_pieces),
            "pieces": list(self.pieces),
            "score": self.score,
            "piece_scores": list(self.piece_scores),
            "alignment": [list(link) for link in self.alignment] if has_words else None,
            "attention": self.attention.tolist() if self.attention is not None else None,
            "n_best": [{"translation": t.text, "score": t.score} for t in self.n_best],
        }


def to_translation(
    source: str,
    source_pieces: Sequence[str],
    hypothesis: Hypothesis,
    vocabulary: Vocabulary,
    *,
    replace_unknown: bool,
    grid: tuple[int, int] | None = None,
) -> Translation:
    """Convert a hypothesis to text.

    Args:
        source, source_pieces: source sentence and its pieces
        hypothesis: token ids, scores and attention weights
        vocabulary: target vocabulary
        replace_unknown: replace unknown tokens by the source words with the largest weight
        grid: rows and columns of the annotations if the source is an image

    Raises:
        UserError: if unknown tokens are to be replaced and the model has no attention
    """
    tokens = hypothesis.tokens[:-1] if hypothesis.finished else hypothesis.tokens
    pieces = vocabulary.tokens(tokens)
    text = vocabulary.decode(tokens)
    if replace_unknown and vocabulary.unk in tokens:
        text = _replace_unknown(source_pieces, tokens, pieces, hypothesis.weights_ts, vocabulary)
    return Translation(
        source,
        text.replace("\n", " "),  # byte pieces can spell a line feed; output has one line each
        hypothesis.score,
        hypothesis.log_prob,
        tuple(source_pieces),
        tuple(pieces),
        tuple(hypothesis.token_log_probs),
        hypothesis.weights_ts,
        hypothesis.finished,
        grid=grid,
    )


def _replace_unknown(
    source_pieces: Sequence[str],
    tokens: Sequence[int],
    pieces: Sequence[str],
    weights_ts: Tensor | None,
    vocabulary: Vocabulary,
) -> str:
    """Return the text with source words in place of unknown tokens. Luong et al. 2015, 4.1."""
    if weights_ts is None:
        raise UserError("replace_unknown requires a model with attention; remove it")
    links = {t: s for s, t in piece_alignment(weights_ts, len(source_pieces), len(pieces))}
    word_of = {s: span for span in word_spans(source_pieces) for s in span}
    # The pieces are replaced before they are joined, because only then their positions are known.
    replaced = list(pieces)
    for position, token in enumerate(tokens):
        if token == vocabulary.unk and position in links:
            replaced[position] = word_text(source_pieces, word_of[links[position]])
    return vocabulary.decode_tokens(replaced)
