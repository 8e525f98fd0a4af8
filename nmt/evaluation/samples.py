"""Files for inspecting a model: sample translations, attention plots and attention pages."""

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nmt.errors import UserError
from nmt.evaluation.overlay import AttentionOverlay, read_image
from nmt.evaluation.report.writer import open_report
from nmt.search.alignment import AttentionMatrix
from nmt.search.translation import Translation
from nmt.version import install_command

if TYPE_CHECKING:  # matplotlib is an extra
    from nmt.evaluation.plots import AttentionFigure

log = logging.getLogger("nmt")


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


def write_attention(
    directory: Path, name: str, translations: Sequence[Translation], references: Sequence[str]
) -> None:
    """Write the attention of translations as `<name>.png`, `<name>-2.png`, … and `<name>.html`.

    Nothing is written if the model has no attention.
    """
    if all(one.attention is None or not one.pieces for one in translations):
        return
    directory.mkdir(parents=True, exist_ok=True)
    plotted = 0
    with open_report(directory / f"{name}.html", f"Attention: {name}") as report:
        for number, one in enumerate(zip(translations, references, strict=True)):
            translation, reference = one
            report.add(number, translation, reference=reference)
            suffix = f"-{plotted + 1}" if plotted else ""
            plotted += write_plot(translation, directory / f"{name}{suffix}.png")


def write_plot(translation: Translation, file: Path) -> bool:
    """Plot the attention of a translation as PNG if it has any and matplotlib is installed.

    Returns:
        whether the file was written
    """
    attention = extract_attention(translation)
    if attention is None:
        return False
    try:
        from nmt.evaluation.plots import plot_attention
    except ImportError as error:
        _warn_once(str(error))
        return False
    plot_attention(attention).savefig(file)
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
    image = read_image(Path(translation.source), grid)
    return AttentionOverlay(image, grid, list(texts), weights_ts)


def attention_figure(translation: Translation) -> "AttentionFigure":
    """Draw the attention of a translation.

    Raises:
        UserError: if matplotlib is missing, or the translation has no attention
    """
    try:
        from nmt.evaluation.plots import plot_attention
    except ImportError as error:
        message = f"a plot requires matplotlib ({error}); run {install_command('plots')}"
        raise UserError(message) from error
    attention = extract_attention(translation)
    if attention is None:
        raise UserError(
            "a plot requires attention; the translation is empty, or the model has no attention"
        )
    return plot_attention(attention)
