"""Conversion of hypotheses to translations: detokenization, unknown words and restored text."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from nmt.config.search_options import SearchOptions
from nmt.data.preparation import UNPREPARED, Preparation, project
from nmt.data.segmented_text import SegmentedText
from nmt.data.vocabulary import Span, Vocabulary
from nmt.errors import UserError
from nmt.search.alignment import piece_alignment
from nmt.search.beam_tree import BeamTree
from nmt.search.hypothesis import Alternative, Hypothesis
from nmt.search.source_line import SourceLine
from nmt.search.source_reader import SourceReader
from nmt.search.translation import OtherPiece, Translation


def convert_hypotheses(
    line: SourceLine,
    text: str,
    ids: Sequence[int],
    hypotheses: Sequence[Hypothesis],
    alternatives: Sequence[Sequence[Alternative]],
    options: SearchOptions,
    *,
    reader: SourceReader,
    vocabulary: Vocabulary,
    preparation: Preparation,
) -> Translation:
    """Convert the hypotheses of a line to its translation with n-best translations.

    Args:
        line: the line
        text: its text with its tag
        ids: its source positions, from the reader
        hypotheses: its hypotheses, best first
        alternatives: other tokens at each step of the best hypothesis; empty unless requested
        options: options of the search
        reader: reader of the source
        vocabulary: target vocabulary
        preparation: preparation of the source, whose inverse applies to translations

    Raises:
        UserError: if unknown tokens are to be replaced and the model has no attention
    """
    spans = reader.spans_after_tag(text, len(text) - len(line.text))
    pieces = reader.pieces(ids)
    n_best = [
        to_translation(
            line.text,
            pieces,
            hypothesis,
            vocabulary,
            source_spans=spans,
            target=line.target,
            replace_unknown=options.replace_unknown,
            grid=reader.grid,
            preparation=preparation,
        )
        for hypothesis in hypotheses
    ]
    if not n_best:
        # No translation satisfies the constraints, or the model gives every continuation
        # probability 0.
        return Translation(line.text, finished=False)
    kept = list(range(len(n_best)))
    if preparation.changes_target and options.sampling is None:
        kept = _first_of_each_text(n_best)
        n_best = [n_best[rank] for rank in kept]
    if alternatives:
        n_best[0] = replace(n_best[0], alternatives=_other_pieces(alternatives, vocabulary))
    tree = _spelled_tree([hypotheses[rank] for rank in kept], vocabulary)
    return replace(n_best[0], n_best=tuple(n_best), beam_tree=tree)


def _first_of_each_text(n_best: Sequence[Translation]) -> list[int]:
    """Return the ranks of distinct translations; decoded texts may be equal once restored."""
    first: dict[str, int] = {}
    for rank, translation in enumerate(n_best):
        first.setdefault(translation.text, rank)
    return list(first.values())


def _spelled_tree(hypotheses: Sequence[Hypothesis], vocabulary: Vocabulary) -> BeamTree | None:
    """Return the tree of the beam with its pieces and the n best; None if none was recorded."""
    leaves = [one.leaf for one in hypotheses if one.leaf is not None]
    if not leaves:
        return None
    tree = leaves[0].tree._replace(n_best=tuple(leaf.node for leaf in leaves))
    return tree.spelled(vocabulary.tokens)


def _other_pieces(
    alternatives: Sequence[Sequence[Alternative]], vocabulary: Vocabulary
) -> tuple[tuple[OtherPiece, ...], ...]:
    rows = []
    for others in alternatives:
        pieces = vocabulary.tokens([one.token for one in others])
        rows.append(tuple(map(OtherPiece, pieces, [one.log_prob for one in others])))
    return tuple(rows)


def to_translation(
    source: str,
    source_pieces: Sequence[str],
    hypothesis: Hypothesis,
    vocabulary: Vocabulary,
    *,
    source_spans: Sequence[Span],
    target: str | None = None,
    replace_unknown: bool = False,
    grid: tuple[int, int] | None = None,
    preparation: Preparation = UNPREPARED,
) -> Translation:
    """Convert a hypothesis to text.

    Args:
        source, source_pieces, source_spans: source sentence and its pieces
        hypothesis: token ids, scores and attention weights
        vocabulary: target vocabulary
        target: the given translation that was scored, which is the text then
        replace_unknown: replace unknown tokens by the source words with the largest weight
        grid: rows and columns of the annotations if the source is an image
        preparation: the preparation of the source, whose inverse applies to the translation

    Raises:
        UserError: if unknown tokens are to be replaced and the model has no attention
    """
    tokens = hypothesis.content
    if target is None:
        text, spans = vocabulary.decode_with_spans(tokens)
        if replace_unknown and vocabulary.unk in tokens:
            segmented = SegmentedText(source, source_spans)
            weights_ts = hypothesis.alignment_ts
            weights_ts = hypothesis.weights_ts if weights_ts is None else weights_ts
            words = _source_words(segmented, len(tokens), weights_ts)
            words = [
                word if i == vocabulary.unk else None for i, word in zip(tokens, words, strict=True)
            ]
            text, spans = _replace(text, spans, words)
        decoded, text = text, preparation.restore(text, source)
        spans = project(spans, decoded, text)
    else:
        prepared = preparation.target(target, source)
        text, spans = target, project(vocabulary.spans(prepared), prepared, target)
    return Translation(
        source,
        text.replace("\n", " "),  # byte pieces can spell a line feed; output has one line each
        hypothesis.score,
        hypothesis.log_prob,
        tuple(source_pieces),
        tuple(vocabulary.tokens(tokens)),
        tuple(hypothesis.token_log_probs),
        hypothesis.weights_ts,
        hypothesis.finished,
        grid=grid,
        source_spans=tuple(source_spans),
        spans=tuple(spans),
        model_scores=hypothesis.model_scores,
        alignment_weights=hypothesis.alignment_ts,
    )


def _source_words(
    source: SegmentedText, target_count: int, weights_ts: Tensor | None
) -> list[str | None]:
    """Return the source word with the largest weight per target token. Luong et al. 2015, 4.1."""
    if weights_ts is None:
        raise UserError("replace_unknown requires a model with attention; remove it")
    words: list[str | None] = [None] * target_count
    for piece, position in piece_alignment(weights_ts, source.pieces, target_count):
        if covered := source.words_of_pieces[piece]:
            words[position] = source.words[covered[0]]
    return words


def _replace(
    text: str, spans: Sequence[Span], replacements: Sequence[str | None]
) -> tuple[str, list[Span]]:
    """Return the text with other strings in place of some of its tokens."""
    replaced, moved, previous = "", list[Span](), 0
    for (start, end), other in zip(spans, replacements, strict=True):
        replaced += text[previous:start]  # spaces between the words of some vocabularies
        begin = len(replaced)
        replaced += text[start:end] if other is None else other
        moved.append((begin, len(replaced)))
        previous = end
    return replaced, moved
