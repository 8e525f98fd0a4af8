"""Files for inspecting a model: sample translations, attention plots and attention pages."""

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch

from nmt.data.images import NotAnImageError, read_rgb
from nmt.data.token_corpus import Array
from nmt.evaluation.attention_page import write_attention_page
from nmt.evaluation.overlay import AttentionOverlay
from nmt.search.alignment import AttentionMatrix
from nmt.search.translation import Translation
from nmt.version import install_command

log = logging.getLogger("nmt")

REGION_PIXELS = 32  # side of a region of a feature map, which has no image to draw on


def write_samples(
    file: Path, translations: Sequence[Translation], references: Sequence[str]
) -> None:
    """Write a text file with source, reference, translation and score of some sentences."""
    file.parent.mkdir(exist_ok=True)
    lines = []
    for translation, reference in zip(translations, references, strict=True):
        lines += [
            f"source      {translation.source}",
            f"reference   {reference}",
            f"translation {translation.text}",
            f"score       {translation.score:.4f}",
            "",
        ]
    file.write_text("\n".join(lines), encoding="utf-8")


def plot_translations(
    directory: Path, name: str, translations: Sequence[Translation]
) -> list[Path]:
    """Write the attention of translations as `<name>.png`, `<name>-2.png`, … and `<name>.html`.

    Without matplotlib, only the page is written.

    Returns:
        the files that were written; none if the model has no attention
    """
    extracted = [extract_attention(translation) for translation in translations]
    attentions = [attention for attention in extracted if attention is not None]
    if not attentions:
        return []
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for number, attention in enumerate(attentions, start=1):
        # The plot of a single translation, as nmt-translate writes it, has no number.
        file = directory / (f"{name}.png" if number == 1 else f"{name}-{number}.png")
        if _plot(attention, file):
            files.append(file)
    write_attention_page(attentions, directory / f"{name}.html")
    return [*files, directory / f"{name}.html"]


def _plot(attention: AttentionMatrix | AttentionOverlay, file: Path) -> bool:
    """Plot attention if matplotlib is installed; return whether it is."""
    try:
        from nmt.evaluation.plots import plot_matrix, plot_overlay
    except ImportError as error:
        _warn_once(str(error))
        return False
    if isinstance(attention, AttentionOverlay):
        plot_overlay(attention, file)
    else:
        plot_matrix(attention, file)
    return True


@cache
def _warn_once(reason: str) -> None:
    log.warning(
        "attention is written as pages without plots (%s); for plots run %s",
        reason,
        install_command("plots"),
    )


def extract_attention(translation: Translation) -> AttentionMatrix | AttentionOverlay | None:
    """Return a translation's attention between words, or over its image if the source is one.

    Returns:
        None if the model has no attention or the translation is empty
    """
    if translation.grid is None:
        return translation.attention_matrix
    if translation.attention is None or not translation.pieces:
        return None
    return _overlay(translation, translation.grid)


def _overlay(translation: Translation, grid: tuple[int, int]) -> AttentionOverlay:
    """Return the attention of each word of a caption; `</s>` is omitted."""
    assert translation.attention is not None
    target = translation.segmented_target
    words = [
        (word, translation.attention[pieces].mean(dim=0))
        for word, pieces in zip(target.words, target.pieces_of_words, strict=True)
        if pieces
    ]
    if len(words) <= 1:
        rows_ts = translation.attention[: target.pieces]
        words = list(zip(translation.pieces, rows_ts, strict=True))
    texts, rows = zip(*words, strict=True)
    weights_ts = torch.stack(rows)
    image = _read_image(Path(translation.source), grid)
    return AttentionOverlay(image, grid, list(texts), weights_ts)


def _read_image(file: Path, grid: tuple[int, int]) -> Array:
    """Read the image; return a white one if the file is a feature map."""
    try:
        return read_rgb(file)
    except NotAnImageError:
        rows, columns = grid
        return np.full((REGION_PIXELS * rows, REGION_PIXELS * columns, 3), 255, np.uint8)
