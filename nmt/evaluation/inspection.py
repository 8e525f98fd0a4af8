"""What a person wants to see of a run while it trains: samples and attention."""

from collections.abc import Sequence
from pathlib import Path

from nmt.evaluation.page import Entry, write_attention_page
from nmt.evaluation.pictures import draw_attention
from nmt.search.alignments import END, word_texts, word_weights, words
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
    """A translation's attention between words, or between pieces where a side is one word.

    None where the model does not attend.
    """
    weights_ts = translation.attention
    if weights_ts is None or not translation.pieces:
        return None
    source, target = translation.source_pieces, translation.pieces
    source_end, target_end = weights_ts.size(1) > len(source), weights_ts.size(0) > len(target)
    if len(words(source)) == 1 or len(words(target)) == 1:
        return Entry([*source, *[END] * source_end], [*target, *[END] * target_end], weights_ts)
    return Entry(
        word_texts(source, end=source_end),
        word_texts(target, end=target_end),
        word_weights(weights_ts, source, target),
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
