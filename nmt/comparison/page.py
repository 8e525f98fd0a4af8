"""The page of a comparison: scores, scores of parts of the text, and sentences side by side."""

from collections.abc import Sequence

from sacrebleu.metrics.chrf import CHRF

from nmt.comparison.buckets import Buckets
from nmt.comparison.results import SIGNIFICANT, Results
from nmt.comparison.tables import NAMES, caption
from nmt.evaluation.offline_page import read_asset, render_offline

PACKAGE = "nmt.comparison"


def render_page(results: Results, parts: Sequence[Buckets]) -> str:
    """Return one HTML file that loads nothing from the network.

    The sentences are those of the first seed of each system, with their chrF.

    Args:
        results: results of the comparison
        parts: scores of parts of the text
    """
    return render_offline(
        PACKAGE,
        "compare.html",
        read_asset(PACKAGE, "compare.css"),
        read_asset(PACKAGE, "compare.js"),
        results=results,
        names=NAMES,
        caption=caption(results, "Bold p: differs from"),
        significant=SIGNIFICANT,
        parts=parts,
        data=_sentences(results),
    )


def _sentences(results: Results) -> dict[str, list[object]]:
    """Return the sentences with the translation and the chrF of every system."""
    chrf, test = CHRF(), results.test
    systems = [(result.name, result.measurements[0].texts) for result in results.systems]
    rows: list[object] = []
    for number, source in enumerate(test.sources):
        references = [lines[number] for lines in test.references]
        texts = [translated[number] for _, translated in systems]
        # Equal translations have equal scores.
        scores = {text: round(chrf.sentence_score(text, references).score, 1) for text in texts}
        rows.append([source, references, texts, [scores[text] for text in texts]])
    return {"systems": [name for name, _ in systems], "sentences": rows}
