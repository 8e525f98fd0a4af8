"""What a person wants to see of a run while it trains: samples and attention."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import UnidentifiedImageError

from nmt.data.encoded import Array
from nmt.data.pictures import read_whole
from nmt.evaluation.overlays import Overlay, draw_overlay
from nmt.evaluation.page import Entry, write_attention_page
from nmt.evaluation.pictures import draw_attention
from nmt.search.alignments import END, word_texts, word_weights, words
from nmt.search.translation import Translation

BLANK = 32  # pixels a place of a feature map is drawn with, where there is no picture to draw on


def write_samples(
    folder: Path, step: int, translations: Sequence[Translation], references: Sequence[str]
) -> None:
    """`samples/<step>.txt`: source, reference and translation of some sentences."""
    folder.mkdir(exist_ok=True)
    lines = []
    for translation, reference in zip(translations, references, strict=True):
        lines += [
            f"source      {translation.source}",
            f"reference   {reference}",
            f"translation {translation.text}",
            f"score       {translation.score:.4f}",
            "",
        ]
    (folder / f"{step}.txt").write_text("\n".join(lines), encoding="utf-8")


def attention_entry(translation: Translation) -> Entry | Overlay | None:
    """A translation's attention between words, or between pieces where a side is one word.

    None where the model does not attend; over a picture where the source is one.
    """
    weights_ts = translation.attention
    if weights_ts is None or not translation.pieces:
        return None
    if translation.grid is not None:
        return _overlay(translation, translation.grid)
    source, target = translation.source_pieces, translation.pieces
    source_end, target_end = weights_ts.size(1) > len(source), weights_ts.size(0) > len(target)
    if len(words(source)) == 1 or len(words(target)) == 1:
        return Entry([*source, *[END] * source_end], [*target, *[END] * target_end], weights_ts)
    return Entry(
        word_texts(source, end=source_end),
        word_texts(target, end=target_end),
        word_weights(weights_ts, source, target),
    )


def _overlay(translation: Translation, grid: tuple[int, int]) -> Overlay:
    """Over the words of a caption; the end mark names nothing that could be seen."""
    assert translation.attention is not None
    groups = words(translation.pieces)
    if len(groups) == 1:
        groups, texts = [[i] for i in groups[0]], list(translation.pieces)
    else:
        texts = word_texts(translation.pieces)
    weights_ts = torch.stack([translation.attention[group].mean(dim=0) for group in groups])
    return Overlay(_picture(Path(translation.source), grid), grid, texts, weights_ts)


def _picture(file: Path, grid: tuple[int, int]) -> Array:
    """The picture; white where the file is a feature map."""
    try:
        return read_whole(file)
    except UnidentifiedImageError:
        rows, columns = grid
        return np.full((BLANK * rows, BLANK * columns, 3), 255, np.uint8)


def draw_translations(folder: Path, name: str, translations: Sequence[Translation]) -> list[Path]:
    """`<name>.png`, `<name>-2.png`, … and `<name>.html`: the attention of some translations."""
    found = [attention_entry(translation) for translation in translations]
    entries = [entry for entry in found if entry is not None]
    if not entries:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, entry in enumerate(entries, start=1):
        files.append(folder / (f"{name}.png" if number == 1 else f"{name}-{number}.png"))
        if isinstance(entry, Overlay):
            draw_overlay(entry, files[-1])
        else:
            draw_attention(entry.weights_ts, entry.source, entry.target, files[-1])
    write_attention_page(entries, folder / f"{name}.html")
    return [*files, folder / f"{name}.html"]
