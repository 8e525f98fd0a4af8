"""nmt-eval: score translations against references, or word alignments against gold alignments."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from nmt.cli.arguments import add_lowercase, add_metrics, option_name
from nmt.cli.backend_options import check_backend
from nmt.cli.common import SUCCESS, Parser, run
from nmt.cli.process import import_torch, limit_shape_caches
from nmt.cli.streams import print_result
from nmt.cli.translate import add_model_options, add_runtime_options
from nmt.distributed.rank import RankInfo
from nmt.errors import UserError

NAME = "nmt-eval"
# Options that have an effect without files, and without a model.
WITHOUT_FILES = {"files", "alignments", "gold", "json"}
WITHOUT_MODEL = {
    *WITHOUT_FILES,
    *("metrics", "tokenize", "language", "lowercase", "baseline", "quality"),
}
WITH_QUALITY = {"files", "quality", "json"}

# Fields of a `MetricResult` or a `Comparison`, whose modules are too slow to import for `--help`.
Result: TypeAlias = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    memory = "--batch-tokens, --beam-size or --workers"
    return run(NAME, lambda: _evaluate(_parser().parse(arguments)), memory=memory)


def _parser() -> Parser:
    parser = Parser(
        NAME,
        "Score translations against references, or word alignments against gold alignments.",
        "examples:\n"
        "  nmt-eval output.en reference.en\n"
        "  nmt-eval -m runs/multi30k_de_en test.de test.en\n"
        "  nmt-eval --alignments output.links --gold gold.links\n"
        "  nmt-eval --quality output.jsonl reference.en",
    )
    files = parser.add_argument_group("files")
    files.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="HYPOTHESIS and one or more REFERENCE files; with -m, SOURCE instead of HYPOTHESIS",
    )
    metrics = parser.add_argument_group("metrics")
    add_metrics(metrics, "bleu chrf")
    metrics.add_argument(
        "--tokenize",
        metavar="NAME",
        help="sacreBLEU's tokenizer for BLEU, such as zh or ko-mecab (default: that of --language)",
    )
    metrics.add_argument(
        "--language",
        metavar="CODE",
        help="language of the references, which selects the tokenizer as in sacrebleu -l: zh, ja, "
        "ko (default: with -m that of the run, otherwise the tokenizer is 13a)",
    )
    add_lowercase(metrics)
    metrics.add_argument(
        "--baseline",
        type=Path,
        metavar="FILE",
        help="compare with this translation by paired bootstrap resampling (default: none)",
    )
    alignments = parser.add_argument_group("word alignments")
    alignments.add_argument(
        "--alignments",
        type=Path,
        metavar="FILE",
        help="alignments to score, as Pharaoh links (default: none)",
    )
    alignments.add_argument(
        "--gold",
        type=Path,
        metavar="FILE",
        help="gold alignments, as Pharaoh links: 1-2 is a sure one, 1p2 a possible one "
        "(default: none)",
    )
    quality = parser.add_argument_group("quality estimation")
    quality.add_argument(
        "--quality",
        type=Path,
        metavar="FILE.jsonl",
        help="output of nmt-translate --jsonl --quality: correlate each of its estimates with chrF "
        "of the sentences against FILE, the only one then (default: none)",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--json", action="store_true", help="print one JSON object (default: one line per metric)"
    )
    add_model_options(parser, required=False)
    add_runtime_options(parser)
    return parser


def _evaluate(options: argparse.Namespace) -> int:
    # Every rank of several would print the scores.
    RankInfo.from_environment().require_single_process(NAME)
    _check_combination(options)
    check_backend(options)
    results: dict[str, Result] = {}
    if options.alignments is not None:
        results |= _score_alignments(options)
    if options.quality is not None:
        results |= _correlate_quality(options)
    elif options.files:
        results |= _score_translations(options)
    if not results:
        raise UserError("HYPOTHESIS and REFERENCE are required, or --alignments and --gold")
    print_result(json.dumps(results, ensure_ascii=False) if options.json else _as_text(results))
    return SUCCESS


def _check_combination(options: argparse.Namespace) -> None:
    """Raise UserError for options that have no effect without others."""
    if options.alignments is not None and options.gold is None:
        raise UserError("--alignments requires --gold")
    if options.gold is not None and options.alignments is None:
        raise UserError("--gold requires --alignments")
    # argparse does not record which options were given, so they are compared with the defaults.
    parser = _parser()
    given = {name for name, value in vars(options).items() if value != parser.get_default(name)}
    if options.language is not None and options.tokenize is not None:
        raise UserError("--language has no effect with --tokenize; remove one of them")
    if not options.files and given - WITHOUT_FILES:
        raise UserError(f"{_spelled(given - WITHOUT_FILES)} requires FILE and REFERENCE")
    if options.quality is not None and (given - WITH_QUALITY or len(options.files) != 1):
        raise UserError("--quality requires one REFERENCE, and no other option but --json")
    if not options.model and given - WITHOUT_MODEL:
        raise UserError(f"{_spelled(given - WITHOUT_MODEL)} requires -m RUN")


def _spelled(names: set[str]) -> str:
    return ", ".join(map(option_name, sorted(names)))


def _score_alignments(options: argparse.Namespace) -> dict[str, Result]:
    from nmt.data.pharaoh import read_pharaoh
    from nmt.evaluation.alignment_error import alignment_error_rate

    predicted, gold = read_pharaoh(options.alignments), read_pharaoh(options.gold)
    score = alignment_error_rate(
        # A prediction has one kind of link, so `1p2` counts like `1-2`.
        [links.possible for links in predicted],
        [links.sure for links in gold],
        [links.possible for links in gold],
    )
    return {
        "precision": {"score": 100 * score.precision},
        "recall": {"score": 100 * score.recall},
        "aer": {"score": 100 * score.error_rate},
    }


def _correlate_quality(options: argparse.Namespace) -> dict[str, Result]:
    from nmt.evaluation.quality import quality_correlations

    correlations = quality_correlations(options.quality, Path(options.files[0]))
    return {name: {"score": value} for name, value in correlations.items()}


def _score_translations(options: argparse.Namespace) -> dict[str, Result]:
    from nmt.data.bleu_tokenizer import choose_for_references
    from nmt.data.table import check_sentences
    from nmt.data.text import read_lines
    from nmt.evaluation.metrics import check_lines, make_metrics, score
    from nmt.evaluation.significance import paired_bootstrap

    if len(options.files) < 2:
        raise UserError("a REFERENCE is required", options.files[0])
    for name in (*options.files, *filter(None, [options.baseline])):
        check_sentences(name)
    texts, *references = [list(read_lines(Path(name))) for name in options.files]
    # Not a default of the parser, so that `--metrics` without files is recognized as unused.
    metrics = options.metrics or ["bleu", "chrf"]
    if options.language is not None and "bleu" not in metrics:
        raise UserError("--language has no effect without bleu; add bleu or remove it")
    language = options.language
    if options.model:
        # Both raise UserError, which is better reported before the time of a translation.
        check_lines(texts, references)
        make_metrics(metrics, tokenize=options.tokenize, lowercase=options.lowercase)
        texts, language_of_run = _translate(texts, options)
        language = language or language_of_run
    tokenizer = choose_for_references(metrics, options.tokenize, language, references[0])
    if tokenizer.warning:
        print(f"{NAME}: {tokenizer.warning}", file=sys.stderr)
    settings = {"tokenize": tokenizer.name, "lowercase": options.lowercase}
    if options.baseline is None:
        scores = score(metrics, texts, references, **settings)
        return {name: result._asdict() for name, result in scores.items()}
    baseline = list(read_lines(options.baseline))
    compared = paired_bootstrap(metrics, texts, baseline, references, **settings)
    return {name: result._asdict() for name, result in compared.items()}


def _translate(texts: list[str], options: argparse.Namespace) -> tuple[list[str], str]:
    """Translate as nmt-translate does with the same options; also return the target language."""
    limit_shape_caches()
    import_torch()
    from nmt.cli.search_arguments import check_search_options, search_options
    from nmt.cli.shared_translator import open_translator
    from nmt.search.source_line import number_lines

    check_search_options(options)
    with open_translator(NAME, options) as shared:
        # Lines that name images are relative to the directory of their file.
        reader, directory = shared.translator.reader, Path(options.files[0]).parent
        lines = list(number_lines(reader.resolve(text, directory) for text in texts))
        chosen = search_options(options, shared.translator.options)
        translated = shared.translate_lines(lines, chosen, options.files[0])
        return [one.text for one in translated], shared.translator.languages[-1]


def _as_text(results: dict[str, Result]) -> str:
    lines = []
    for name, values in results.items():
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
