"""The data of one sentence of the attention report, as plain values for JSON."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from math import exp
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from nmt.data.pharaoh import SentenceLinks
from nmt.evaluation.overlay import read_image
from nmt.evaluation.report.confidence import attention_confidence
from nmt.search.alignment import END, end_labels, word_weights
from nmt.search.translation import Translation

LEVELS = 255
"""A weight is written as an integer from 0 to LEVELS, so smaller ones than 1/510 are dropped."""

MAX_IMAGE_SIDE = 320  # pixels

Json = dict[str, Any]


def summarize(number: int, translation: Translation, reference: str | None = None) -> Json:
    """Return the row of a translation in the list of sentences.

    Args:
        number: 0-based number of the line
        translation: the translation
        reference: its reference; None to compare with none
    """
    row: Json = {
        "number": number,
        "source": translation.source,
        "target": translation.text,
        "finished": translation.finished,
    }
    if reference is not None:
        row["reference"] = reference
    if not translation.pieces:
        return row
    row["score"] = round(translation.score, 4)
    if reference is not None:
        row["chrf"] = round(_sentence_chrf(translation.text, reference), 2)
    if translation.attention is not None:
        penalties = attention_confidence(translation.attention)
        row["confidence"] = round(penalties.percent, 2)
        for name, value in penalties._asdict().items():
            row[name] = round(value, 4)
        if translation.grid is None:
            row["unaligned"] = round(100 * unaligned_share(translation), 2)
    return row


def detail(
    translation: Translation,
    views: Mapping[str, Translation],
    *,
    forced: Translation | None = None,
    gold: SentenceLinks | None = None,
) -> Json:
    """Return the data of a sentence that the page shows when it is selected.

    Args:
        translation: the translation
        views: the translation with the attention of each model or head, by name; only attention
            and source pieces may differ
        forced: the reference, with the attention of the model while it reads it; None to show none
        gold: gold alignment of the words of `forced`, otherwise of those of the translation
    """
    targets = [_target("translation", translation, views, None if forced else gold)]
    if forced is not None:
        targets.append(_target("reference", forced, {"attention": forced}, gold))
    hypotheses = [
        {
            "score": round(one.score, 4),
            "pieces": list(one.pieces),
            "probabilities": _probabilities(one),
        }
        for one in translation.n_best
    ]
    content: Json = {"targets": targets, "hypotheses": hypotheses}
    if translation.beam_tree is not None:
        content["beam"] = translation.beam_tree.to_dict()
    return content


def _target(
    name: str, one: Translation, views: Mapping[str, Translation], gold: SentenceLinks | None
) -> Json:
    """Return the data of one target text."""
    content: Json = {"name": name, "text": one.text, "steps": _steps(one), "views": []}
    if gold is not None:
        possible = sorted(gold.possible - gold.sure)
        content["gold"] = {"sure": sorted(gold.sure), "possible": possible}
    shown = {name: view for name, view in views.items() if view.attention is not None}
    if one.alignment_weights is not None:
        shown["alignment"] = replace(one, attention=one.alignment_weights)
    if not shown or not one.pieces:
        return content
    if one.grid is not None:
        content["grid"] = list(one.grid)
        content["image"] = _image_uri(Path(one.source), one.grid)
    return content | _levels(one, shown)


def unaligned_share(translation: Translation) -> float:
    """Return the share of source words that no target word attends to most."""
    words = len(translation.segmented_source.words)
    return 1 - len({source for source, _ in translation.alignment}) / words if words else 0.0


def quantize(weights_ts: Float[Tensor, "t s"]) -> list[list[int]]:
    """Return weights as integers from 0 to `LEVELS`."""
    rounded: list[list[int]] = (weights_ts.float() * LEVELS).round().int().tolist()
    return rounded


def _levels(translation: Translation, views: Mapping[str, Translation]) -> Json:
    """Return tokens and weights of each view at the level of words and of pieces.

    A level is left out if it shows nothing: words where a side has a single one, and pieces in a
    view whose model cuts the source into other pieces than the first view's.
    """
    first = next(iter(views.values()))
    assert first.attention is not None
    source, target = first.segmented_source, first.segmented_target
    is_image = translation.grid is not None
    rows = len(first.attention)
    source_end, target_end = end_labels(first.attention, source, target)
    if is_image:
        source_end = []
    levels: Json = {
        "pieces": {
            "source": [*first.source_pieces, *source_end],
            "target": [*first.pieces, *target_end],
            "steps": [[row] for row in range(rows)],
        }
    }
    has_words = len(target.words) > 1 and (is_image or len(source.words) > 1)
    if has_words:
        levels["words"] = {
            "source": [*source.words, *source_end] if not is_image else [],
            "target": [*target.words, *target_end],
            "steps": target.pieces_of_words + [[row] for row in range(target.pieces, rows)],
        }
    described = []
    for name, view in views.items():
        weights_ts = view.attention
        assert weights_ts is not None
        one: Json = {"name": name}
        if view.source_pieces == first.source_pieces:
            one["pieces"] = quantize(weights_ts)
        if has_words and is_image:
            one["words"] = quantize(_mean_rows(weights_ts, levels["words"]["steps"]))
        elif has_words:
            one["words"] = quantize(word_weights(weights_ts, view.segmented_source, target))
        described.append(one)
    return {"levels": levels, "views": [one for one in described if len(one) > 1]}


def _mean_rows(weights_ts: Float[Tensor, "t s"], groups: Sequence[list[int]]) -> Tensor:
    """Return the mean of the rows of each group; zeros for an empty one."""
    return torch.stack(
        [
            weights_ts[group].mean(dim=0) if group else weights_ts.new_zeros(weights_ts.size(1))
            for group in groups
        ]
    )


def _steps(translation: Translation) -> list[Json]:
    """Return token and probability of each target step, and the best other tokens."""
    tokens = [
        *translation.pieces,
        *[END] * (len(translation.piece_scores) > len(translation.pieces)),
    ]
    # A translation that a program made may have no scores.
    steps: list[Json] = [
        {"token": token, "probability": probability}
        for token, probability in zip(tokens, _probabilities(translation), strict=False)
    ]
    for step, others in zip(steps, translation.alternatives, strict=False):
        step["alternatives"] = [[other.piece, round(exp(other.score), 3)] for other in others]
    return steps


def _probabilities(translation: Translation) -> list[float]:
    return [round(exp(min(score, 0.0)), 4) for score in translation.piece_scores]


def _sentence_chrf(text: str, reference: str) -> float:
    from sacrebleu.metrics.chrf import CHRF

    return float(CHRF().sentence_score(text, [reference]).score)


def _image_uri(file: Path, grid: tuple[int, int]) -> str:
    """Return an image as a data URI, because a page without network cannot load its file."""
    from PIL import Image  # present where an image was read

    image, stream = Image.fromarray(read_image(file, grid)), BytesIO()
    image.thumbnail((MAX_IMAGE_SIDE, MAX_IMAGE_SIDE))
    image.save(stream, "PNG")
    return f"data:image/png;base64,{b64encode(stream.getvalue()).decode()}"
