"""nmt-eval: scores of translations and of alignments."""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nmt.cli.common import SUCCESS, Parser, run
from nmt.cli.translate import add_model_options, load_translator, search_options
from nmt.distributed.rank import RankInfo

NAME = "nmt-eval"
METRICS = ["bleu", "chrf", "ter", "exact"]
OF_SCORES = ("metrics", "tokenize", "lowercase", "baseline")  # options that need no model


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    options = _parser().parse(arguments)
    return run(NAME, lambda: _evaluate(options))


def _parser() -> Parser:
    parser = Parser(
        NAME,
        "Score translations against references, or alignments against gold ones.",
        "examples:\n"
        "  nmt-eval output.en reference.en\n"
        "  nmt-eval -m runs/multi30k_de_en test.de test.en\n"
        "  nmt-eval --alignments output.links --gold gold.links",
    )
    add = parser.add_argument
    add("files", nargs="*", metavar="FILE", help="HYPOTHESIS (with -m: SOURCE) REFERENCE ...")
    add_model_options(parser, required=False)
    add("--metrics", nargs="+", choices=METRICS, help="default: bleu chrf")
    add("--tokenize", help="sacreBLEU's tokenizer for BLEU (default: 13a)")
    add("--lowercase", action="store_true", help="compare without case")
    add("--baseline", type=Path, metavar="FILE", help="paired bootstrap against this translation")
    add("--json", action="store_true", help="one JSON object")
    add("--alignments", type=Path, metavar="FILE", help="Pharaoh links to score")
    add("--gold", type=Path, metavar="FILE", help="gold Pharaoh links, 1-2 sure, 1p2 possible")
    return parser


def _evaluate(options: argparse.Namespace) -> int:
    from nmt.errors import UserError

    RankInfo.from_environment().require_single_process(NAME)
    if (options.alignments is None) != (options.gold is None):
        raise UserError("--alignments and --gold go together; give both")
    _check_use(options)
    found: dict[str, dict[str, Any]] = {}
    if options.alignments is not None:
        found |= _alignments(options)
    if options.files:
        found |= _translations(options)
    if not found:
        raise UserError("nothing to score; give HYPOTHESIS and REFERENCE, or --alignments, --gold")
    print(json.dumps(found, ensure_ascii=False) if options.json else _as_text(found))
    return SUCCESS


def _check_use(options: argparse.Namespace) -> None:
    """Raise UserError for options that nothing would look at."""
    from nmt.errors import UserError

    parser = _parser()
    changed = [name for name, value in vars(options).items() if value != parser.get_default(name)]
    of_text = [name for name in changed if name not in ("files", "alignments", "gold", "json")]
    if of_text and not options.files:
        raise UserError(f"{_spelt(of_text)} without files has no use; add FILE REFERENCE")
    of_model = [name for name in of_text if name not in OF_SCORES]
    if of_model and not options.model:
        raise UserError(f"{_spelt(of_model)} without a model has no use; add -m RUN")


def _spelt(names: list[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)


def _alignments(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    from nmt.evaluation.alignment_error import alignment_error_rate, read_pharaoh

    predicted, gold = read_pharaoh(options.alignments), read_pharaoh(options.gold)
    score = alignment_error_rate(
        [links.possible for links in predicted],
        [links.sure for links in gold],
        [links.possible for links in gold],
    )
    return {
        "precision": {"score": 100 * score.precision},
        "recall": {"score": 100 * score.recall},
        "aer": {"score": 100 * score.error_rate},
    }


def _translations(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    from nmt.data.corpus import read_lines
    from nmt.errors import UserError
    from nmt.evaluation.metrics import check_lines, make_metrics, score
    from nmt.evaluation.significance import paired_bootstrap

    if len(options.files) < 2:
        raise UserError(f"{options.files[0]} has nothing to be compared with; add a REFERENCE")
    texts, *references = [list(read_lines(Path(name))) for name in options.files]
    metrics = options.metrics or ["bleu", "chrf"]
    settings = {"tokenize": options.tokenize, "lowercase": options.lowercase}
    if options.model:
        # Told now, not after the time that translating takes.
        check_lines(texts, references)
        make_metrics(metrics, **settings)
        texts = _translated(texts, options)
    if options.baseline is None:
        scores = score(metrics, texts, references, **settings)
        return {name: one._asdict() for name, one in scores.items()}
    baseline = list(read_lines(options.baseline))
    compared = paired_bootstrap(metrics, texts, baseline, references, **settings)
    return {name: one._asdict() for name, one in compared.items()}


def _translated(texts: list[str], options: argparse.Namespace) -> list[str]:
    from nmt.cli.workers import apply_job, make_pool
    from nmt.search.translator import Translator

    with make_pool(options) as pool:
        translator = load_translator(NAME, options)
        chosen = search_options(translator, options)
        folder = Path(options.files[0]).parent
        texts = [translator.reader.locate(text, folder) for text in texts]
        job = partial(Translator.lines, **chosen, file=options.files[0])
        work = apply_job(job, translator, pool)
        return [one.text for one in work(texts, range(len(texts)))]


def _as_text(found: dict[str, dict[str, Any]]) -> str:
    lines = []
    for name, values in found.items():
        line = f"{name:9} {values['score']:.2f}"
        if "interval" in values:
            low, high = values["interval"]
            line += f" [{low:.2f}, {high:.2f}]  baseline {values['baseline']:.2f}"
            line += f"  p = {values['p_value']:.4f}"
        if "signature" in values:
            line += f"  {values['signature']}"
        lines.append(line)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
