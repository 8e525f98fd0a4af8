"""nmt-translate: translate text line by line."""

import argparse
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nmt.cli.arguments import (
    MAX_THREADS,
    add_checkpoint,
    add_device,
    add_fast,
    add_precision,
    add_threads,
    add_trust_plugins,
    column,
    integer,
    option_name,
    positive,
)
from nmt.cli.attention_output import (
    Inspector,
    ReportLines,
    attention_inputs,
    check_attention_options,
)
from nmt.cli.backend_options import add_backend, check_backend
from nmt.cli.common import SUCCESS, Parser, run
from nmt.cli.constraint_options import (
    add_constraint_options,
    check_constraint_options,
    constraint_files,
)
from nmt.cli.output import check_outputs
from nmt.cli.process import import_torch, limit_shape_caches
from nmt.cli.search_arguments import (
    add_search_group,
    add_search_options,
    check_search_options,
    search_options,
)
from nmt.cli.streams import complain
from nmt.distributed.rank import RankInfo
from nmt.errors import UserError

if TYPE_CHECKING:
    from nmt.distributed.process_group import ProcessGroup
    from nmt.search.source_line import SourceLine
    from nmt.search.translation import Translation

NAME = "nmt-translate"
REPORT_ALTERNATIVES = 5
WINDOW = 2000  # lines per process; sentences of similar length among them share a batch


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    memory = "--batch-tokens, --beam-size or --workers"
    return run(NAME, lambda: _translate(make_parser().parse(arguments)), memory=memory)


def add_model_options(parser: Parser, *, required: bool) -> None:
    """Add the options of the model and of search."""
    model = parser.add_argument_group("model")
    model.add_argument(
        *("-m", "--model"),
        action="append",
        type=Path,
        required=required,
        metavar="RUN",
        help="run directory, bundle of nmt-export, or hf://USER/REPOSITORY of the Hugging Face "
        "hub; several with the same target vocabulary form an ensemble",
    )
    model.add_argument(
        "--rerank",
        action="append",
        type=Path,
        default=[],
        metavar="RUN",
        help="run or bundle that scores the hypotheses of the beam, of which the one with the best "
        "mean score is chosen; may be repeated, and generate from right to left (default: none)",
    )
    model.add_argument(
        "--rerank-weight",
        type=positive,
        metavar="X",
        help="weight of the score of each --rerank model, relative to that of -m (default: 1)",
    )
    add_checkpoint(model)
    add_trust_plugins(
        model,
        "run the Python code that the run contains, and follow its links; only for runs whose "
        "authors you trust",
    )
    add_search_options(
        add_search_group(parser),
        "beam_size",
        "max_length",
        "length_penalty",
        "coverage_penalty",
        "block_ngram_repeat",
        "early_stopping",
        "shortlist",
        "tag",
    )


def add_runtime_options(parser: Parser) -> None:
    """Add the options of device, number format, processes and batches."""
    runtime = parser.add_argument_group("runtime")
    add = runtime.add_argument
    add_device(runtime, "auto uses a GPU if one is available")
    add_precision(runtime, "model", "int8 for a bundle in int8 on a CPU, otherwise fp32")
    add_fast(runtime)
    add_backend(runtime)
    add(
        "--recurrence",
        choices=["auto", "graph"],
        default="auto",
        help="graph runs steps of beam search as CUDA graphs on a GPU; experimental "
        "(default: auto)",
    )
    add_threads(runtime, "per process", "all cores, divided among the workers")
    add(
        "--workers",
        type=integer(1, MAX_THREADS),
        default=1,
        metavar="N",
        help="processes that share the text, each with its own copy of the model; at most the "
        "number of cores (default: 1)",
    )
    add_search_options(runtime, "batch_tokens", "batch_sentences")


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        NAME,
        "Translate text, one sentence per line. Every input line gives one output line, in order.",
        "examples:\n"
        "  nmt-translate -m runs/multi30k_de_en input.de -o output.en\n"
        "  nmt-translate -m runs/first -m runs/second -b 10 --n-best 5 < input.de\n"
        "  nmt-translate -m runs/multi30k_de_en input.de --mbr chrf --sample --candidates 50\n"
        "  nmt-translate -m runs/multi30k_de_en input.de -b 20 --rerank runs/right_to_left\n"
        "  nmt-translate -m runs/multi30k_de_en input.de --terms terms.en --forbid forbidden.en\n"
        "  nmt-translate -m runs/multi30k_de_en input.de --score-targets output.en --scores",
    )
    parser.add_argument(
        "input",
        nargs="?",
        default="-",
        metavar="INPUT",
        help="text, or file names of images, one per line; .gz, .bz2, .xz and .zst are "
        "decompressed; - is standard input (default: -)",
    )
    parser.add_argument(
        "--column",
        type=column,
        metavar="N",
        help="number or name of the column of the sentences, if INPUT is a table such as .tsv or "
        ".csv; a header row has no translation (default: INPUT is text)",
    )
    add_model_options(parser, required=True)
    sampling = parser.add_argument_group("sampling")
    sampling.add_argument(
        "--sample",
        action="store_true",
        help="sample translations instead of searching for the best ones (default: off)",
    )
    add_search_options(sampling, "temperature", "top_k", "top_p", "seed")
    risk = parser.add_argument_group("minimum Bayes risk")
    add_search_options(risk, "mbr", "candidates", "mbr_scale")
    add_constraint_options(parser)
    output = parser.add_argument_group("output")
    add = output.add_argument
    add(
        *("-o", "--output"),
        default="-",
        metavar="FILE",
        help="file for the translations, written when all are complete; .gz, .bz2, .xz and .zst "
        "are compressed; - is standard output (default: -)",
    )
    add(
        "--scores",
        action="store_true",
        help="append a tab and the score; a tab in the text is written as &#9; (default: off)",
    )
    add_search_options(output, "n_best")
    add("--jsonl", action="store_true", help="write one JSON object per sentence (default: off)")
    add_search_options(output, "quality", "alternatives", "beam_tree", "replace_unknown")
    add(
        "--alignments",
        type=Path,
        metavar="FILE",
        help="write Pharaoh links source-target, one line per sentence (default: off)",
    )
    add(
        "--alignment-level",
        choices=["word", "piece"],
        help="units of the links: words, or pieces of SentencePiece (default: word)",
    )
    add(
        "--attention",
        type=Path,
        metavar="DIRECTORY",
        help="write a plot of each sentence's attention, and the report as index.html "
        "(default: off)",
    )
    add(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="write one page that shows all translations with their attention, for a browser "
        "without network (default: off)",
    )
    add(
        "--reference",
        type=Path,
        metavar="FILE",
        help="reference translations in the report, with chrF of each sentence (default: none)",
    )
    add(
        "--gold",
        type=Path,
        metavar="FILE",
        help="gold alignments in the report, in Pharaoh format, between the words of INPUT and "
        "those of --reference or --score-targets (default: none)",
    )
    add(
        "--heads",
        action="store_true",
        help="show each head of each layer of multi-head attention in the report (default: off)",
    )
    add(
        *("--score-targets", "--score-target", "--force"),
        type=Path,
        metavar="FILE",
        help="score the translations in this file, one per line; no search (default: off)",
    )
    add(
        "--target-column",
        type=column,
        metavar="N",
        help="number or name of their column, if the file is a table (default: the file is text)",
    )
    add_runtime_options(parser)
    return parser


def _translate(arguments: argparse.Namespace) -> int:
    rank = RankInfo.from_environment()
    check_options(arguments)
    check_search_options(arguments)
    if rank.is_first:  # other machines need not have the files
        check_files(arguments)
    limit_shape_caches()
    # Only now, because importing torch takes longer than all checks.
    import_torch()
    from nmt.cli.shared_translator import open_translator
    from nmt.cli.translate_io import input_name, read_windows, write_translations
    from nmt.distributed.process_group import join

    with join(rank, arguments.device) as group, open_translator(NAME, arguments) as shared:
        options = search_options(arguments, shared.translator.options)
        has_alternatives = arguments.backend == "torch"
        if arguments.report is not None and arguments.alternatives is None and has_alternatives:
            options = options.updated({"alternatives": REPORT_ALTERNATIVES})
        reader, file = shared.translator.reader, input_name(arguments)
        _check_alignments(arguments, is_image=reader.grid is not None)
        size = WINDOW * rank.world_size * arguments.workers
        report_lines = ReportLines(arguments)
        inspector = Inspector(arguments, shared.translator, options)
        translations = translate_windows(
            read_windows(arguments, reader, size, shared.translator.languages, report_lines),
            lambda lines: shared.translate_lines(lines, options, file),
            group,
        )
        if group.is_first:
            num_cut, num_missing = write_translations(
                translations, arguments, report_lines, inspector
            )
            if num_missing and not arguments.score_targets:
                complain(
                    f"{NAME}: {num_missing:,} lines are empty, because search found no translation "
                    "that satisfies their constraints; loosen them, or raise --beam-size or "
                    "--max-length"
                )
            if num_cut and not arguments.score_targets:
                complain(
                    f"{NAME}: {num_cut:,} translations reached the maximum length before their "
                    "end; see `finished` in --jsonl, or raise --max-length"
                )
        else:
            # The generator has to run on every rank, since it takes part in collective operations.
            for _ in translations:
                raise AssertionError("only the first rank receives translations")
    return SUCCESS


def translate_windows(
    windows: Iterator[list["SourceLine"]],
    translate: Callable[[list["SourceLine"]], list["Translation"]],
    group: "ProcessGroup",
) -> Generator["Translation", None, None]:
    """Translate windows of lines, and yield the translations in order.

    Every rank runs this loop. The first rank reads the windows and yields all translations; the
    others receive the windows, translate their share and yield nothing.

    Args:
        windows: windows of lines; read by the first rank only
        translate: translates some of the lines of a window
        group: processes of the job
    """
    while (window := group.on_first(lambda: next(windows, None))) is not None:
        translations = group.map(translate, window)
        try:
            yield from translations
        except GeneratorExit:
            group.broadcast(None)  # the output was closed, and the other ranks wait for a window
            raise


def check_options(arguments: argparse.Namespace) -> None:
    """Raise UserError for options that have no effect with one another."""
    if arguments.score_targets:
        unused = ["sample", "n_best", "beam_tree", "replace_unknown", "beam_size", "max_length"]
        unused += ["mbr", "candidates", "early_stopping", "block_ngram_repeat", "shortlist"]
        for name in unused:
            if getattr(arguments, name):
                option = option_name(name)
                raise UserError(f"{option}: has no effect with --score-targets; remove it")
    if arguments.recurrence == "graph":
        for name in ("score_targets", "sample", "block_ngram_repeat", "shortlist"):
            if getattr(arguments, name):
                option = option_name(name)
                raise UserError(f"--recurrence: graph has no effect with {option}; remove it")
    for name in ("sample", "mbr"):
        if arguments.rerank and getattr(arguments, name):
            raise UserError(
                f"{option_name(name)}: is not possible with --rerank; remove one of them"
            )
    check_backend(arguments)
    check_constraint_options(arguments)
    check_attention_options(arguments)
    if arguments.alignment_level is not None and arguments.alignments is None:
        raise UserError("--alignment-level: has no effect without --alignments; remove it")
    for name in ("alternatives", "beam_tree"):
        if getattr(arguments, name) is not None and not (arguments.jsonl or arguments.report):
            option = option_name(name)
            raise UserError(f"{option}: has no effect without --jsonl or --report; add one")
    if arguments.quality and not arguments.jsonl:
        raise UserError("--quality: has no effect without --jsonl; add it")
    for name in ("n_best", "jsonl"):
        if arguments.scores and getattr(arguments, name):
            option = option_name(name)
            raise UserError(
                f"--scores: the output of {option} contains the scores; remove --scores"
            )


def check_files(arguments: argparse.Namespace) -> None:
    """Raise UserError for a missing input, and for an output that is an input or another output."""
    # Imported here because `--help` needs no data.
    from nmt.data.table import check_exists, check_sentences

    check_sentences(arguments.input, arguments.column, "--column")
    if arguments.score_targets is not None:
        check_sentences(arguments.score_targets, arguments.target_column, "--target-column")
    elif arguments.target_column is not None:
        raise UserError("--target-column: has no effect without --score-targets; remove it")
    for file in (*constraint_files(arguments), *attention_inputs(arguments)):
        check_exists(file)
    outputs = {
        "translations": arguments.output,
        "alignments": arguments.alignments,
        "attention": arguments.attention,
        "report": arguments.report,
    }
    inputs = (
        *(arguments.input, arguments.score_targets, *arguments.model, *arguments.rerank),
        *constraint_files(arguments),
        *attention_inputs(arguments),
    )
    check_outputs(
        [name for name in inputs if name is not None],
        {content: name for content, name in outputs.items() if name is not None},
    )


def _check_alignments(arguments: argparse.Namespace, *, is_image: bool) -> None:
    if is_image and arguments.alignments is not None and arguments.alignment_level != "piece":
        message = "--alignments: an image has no words to link; add --alignment-level piece"
        raise UserError(message)


if __name__ == "__main__":
    sys.exit(main())
