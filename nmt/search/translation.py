"""A translation with all that the model knows of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.search.alignments import Link, piece_alignment, word_alignment, word_text, words
from nmt.search.hypothesis import Hypothesis


@dataclass(frozen=True)
class Translation:
    """One source sentence in the target language.

    Attributes:
        source: the sentence as it was given
        text: its translation
        score: log-probability after the penalties for length and coverage; 0 for an empty line
        log_prob: log p(pieces | source), the natural logarithm
        source_pieces: without the end mark
        pieces: target pieces without the end mark
        piece_scores: log-probability of each piece, that of the end mark last
        attention: weights, a row a target piece, a column a source piece, the end marks' last;
            None when the model does not attend
        finished: False when the longest allowed length came before the end
        n_best: all translations asked for, this one first
        grid: rows and columns of source pieces when the source is a picture, whose name is given
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
        """Attention goes to other processes as an array; a tensor would go as shared memory."""
        state = dict(vars(self))
        if self.attention is not None:
            state["attention"] = self.attention.numpy()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["attention"] is not None:
            state["attention"] = torch.from_numpy(state["attention"])
        vars(self).update(state)

    @cached_property
    def alignment(self) -> list[Link]:
        """Links (source, target) between words, 0-based."""
        if self.grid is not None:
            raise UserError("a picture has no words to align; its pieces can be aligned")
        return self._weights_or_none(
            lambda weights_ts: word_alignment(weights_ts, self.source_pieces, self.pieces)
        )

    @cached_property
    def piece_alignment(self) -> list[Link]:
        """Links (source, target) between pieces, 0-based."""
        return self._weights_or_none(
            lambda weights_ts: piece_alignment(
                weights_ts, len(self.source_pieces), len(self.pieces)
            )
        )

    def _weights_or_none(self, links: Any) -> list[Link]:
        if not self.pieces:
            return []
        if self.attention is None:
            raise UserError("this model has no attention, so there is nothing to align by")
        found: list[Link] = links(self.attention)
        return found

    def as_tree(self) -> dict[str, Any]:
        """The translation as plain data, for JSON."""
        aligned = self.grid is None and (self.attention is not None or not self.pieces)
        return {
            "source": self.source,
            "translation": self.text,
            "source_pieces": list(self.source_pieces),
            "pieces": list(self.pieces),
            "score": self.score,
            "piece_scores": list(self.piece_scores),
            "alignment": [list(link) for link in self.alignment] if aligned else None,
            "attention": self.attention.tolist() if self.attention is not None else None,
            "n_best": [{"translation": t.text, "score": t.score} for t in self.n_best],
        }


def finish(
    source: str,
    source_pieces: Sequence[str],
    hypothesis: Hypothesis,
    vocabulary: Vocabulary,
    *,
    replace_unknown: bool,
    grid: tuple[int, int] | None = None,
) -> Translation:
    """Turn a hypothesis into text."""
    tokens = hypothesis.tokens[:-1] if hypothesis.finished else hypothesis.tokens
    pieces = vocabulary.tokens(tokens)
    text = vocabulary.decode(tokens)
    if replace_unknown and vocabulary.unk in tokens:
        text = _with_source_words(source_pieces, tokens, pieces, hypothesis.weights_ts, vocabulary)
    return Translation(
        source,
        text.replace("\n", " "),  # a vocabulary with bytes can spell a line's end
        hypothesis.score,
        hypothesis.log_prob,
        tuple(source_pieces),
        tuple(pieces),
        tuple(hypothesis.token_log_probs),
        hypothesis.weights_ts,
        hypothesis.finished,
        grid=grid,
    )


def _with_source_words(
    source_pieces: Sequence[str],
    tokens: Sequence[int],
    pieces: Sequence[str],
    weights_ts: Tensor | None,
    vocabulary: Vocabulary,
) -> str:
    """The text with the source word most looked at for unknown pieces. Luong et al. 2015, 4.1."""
    if weights_ts is None:
        raise UserError("this model has no attention, so unknown pieces cannot be replaced")
    links = {t: s for s, t in piece_alignment(weights_ts, len(source_pieces), len(pieces))}
    word_of = {s: group for group in words(source_pieces) for s in group}
    shown = list(pieces)
    for position, token in enumerate(tokens):
        if token == vocabulary.unk and position in links:
            shown[position] = word_text(source_pieces, word_of[links[position]])
    return vocabulary.decode_tokens(shown)
