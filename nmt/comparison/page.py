"""The page of a comparison: scores, scores of parts of the text, and sentences side by side."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from sacrebleu.metrics.chrf import CHRF

from nmt.comparison.buckets import Buckets
from nmt.comparison.results import SIGNIFICANT, Results
from nmt.comparison.tables import NAMES, caption


def render_page(results: Results, parts: Sequence[Buckets]) -> str:
    """Return one HTML file that loads nothing from the network.

    The sentences are those of the first seed of each system, with their chrF.

    Args:
        results: results of the comparison
        parts: scores of parts of the text
    """
    style, script = _asset("compare.css"), _asset("compare.js")
    environment = Environment(
        loader=PackageLoader("nmt.comparison", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("compare.html").render(
        policy=f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'",
        # The browser compares their hashes, so they must not be escaped.
        style=Markup(style),
        script=Markup(script),
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


def _asset(name: str) -> str:
    return files("nmt.comparison").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
