"""What a person wants to see of a run while it trains: samples and attention."""

from collections.abc import Sequence
from pathlib import Path

from nmt.evaluation.page import Entry, write_attention_page
from nmt.evaluation.pictures import draw_attention
from nmt.search.alignments import word_texts, word_weights
from nmt.search.translation import Translation


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


def attention_entry(translation: Translation) -> Entry | None:
    """A translation's attention between words; None where there is none."""
    if translation.attention is None or not translation.pieces:
        return None
    source_end = translation.attention.size(1) > len(translation.source_pieces)
    target_end = translation.attention.size(0) > len(translation.pieces)
    return Entry(
        word_texts(translation.source_pieces, end=source_end),
        word_texts(translation.pieces, end=target_end),
        word_weights(translation.attention, translation.source_pieces, translation.pieces),
    )


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
        draw_attention(entry.weights_ts, entry.source, entry.target, files[-1])
    write_attention_page(entries, folder / f"{name}.html")
    return [*files, folder / f"{name}.html"]
