"""nmt-translate: text in, translations out, a line for a line."""

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt.cli.arguments import at_least, non_negative
from nmt.cli.common import SUCCESS, Parser, run
from nmt.distributed.rank import RankInfo

if TYPE_CHECKING:
    from nmt.cli.workers import Work
    from nmt.search.translation import Translation
    from nmt.search.translator import Translator

NAME = "nmt-translate"
WINDOW = 2000  # lines together, for each worker; those of like length among them share batches


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    options = _parser().parse(arguments)
    return run(NAME, lambda: _translate(options))


def add_model_options(parser: Parser, *, required: bool) -> None:
    """The options that choose a model and how it searches, shared with nmt-eval."""
    add = parser.add_argument
    add(
        *("-m", "--model"),
        action="append",
        type=Path,
        required=required,
        metavar="RUN",
        help="run directory; several make an ensemble",
    )
    add("--checkpoint", default="best", help="best, last, average or an update (default: best)")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add("--precision", choices=["fp32", "bf16", "fp16", "int8"], default="fp32")
    add("--threads", type=at_least(1), help="CPU threads of a worker (default: all cores)")
    workers = "processes that share a large text, on a CPU (default: 1)"
    add("--workers", type=at_least(1), default=1, metavar="N", help=workers)
    add("-b", "--beam-size", type=at_least(1), help="1 is greedy (default: the run's, 5)")
    add("--batch-tokens", type=at_least(1), help="source pieces a batch, padding included")
    add("--batch-sentences", type=at_least(1), help="sentences a batch at most")
    add("--max-length", type=at_least(1), help="target pieces (default: twice the source's + 20)")
    add("--length-penalty", choices=["none", "average", "gnmt"])
    add("--alpha", type=non_negative(), help="strength of the length penalty")
    add("--coverage-penalty", choices=["none", "gnmt"])
    add("--beta", type=non_negative(), help="strength of the coverage penalty")
    add("--block-ngram-repeat", type=at_least(0), metavar="N", help="no n-gram comes twice")
    stop = "done when nothing live can beat the best, or likely will: a third faster"
    add("--stop", choices=["bound", "likely"], help=f"{stop} (default: the run's, bound)")


def _parser() -> Parser:
    parser = Parser(
        NAME,
        "Translate text, one sentence a line: as many lines come out as went in, in order.",
        "example: nmt-translate -m runs/multi30k_de_en input.de -o output.en",
    )
    add = parser.add_argument
    add_model_options(parser, required=True)
    add(
        "input",
        nargs="?",
        default="-",
        metavar="INPUT",
        help="text or names of pictures, .gz or - (default)",
    )
    add("-o", "--output", default="-", help="default: standard output")
    add("--replace-unknown", action="store_true", help="put the source word looked at for <unk>")
    add("--sample", action="store_true", help="draw translations instead of searching")
    add("--temperature", type=non_negative(), default=1.0)
    add("--top-k", type=at_least(0), default=0, help="draw among the k likeliest pieces")
    add("--top-p", type=non_negative(1.0), default=1.0, help="draw among the likeliest that hold p")
    add("--seed", type=at_least(0), default=1)
    add("--n-best", type=at_least(1), metavar="N", help="Moses lines: id ||| text ||| … ||| score")
    add("--scores", action="store_true", help="add a tab and the score")
    add("--alignments", type=Path, metavar="FILE", help="write Pharaoh source-target pairs")
    add("--alignment-level", choices=["word", "piece"], default="word")
    add("--jsonl", action="store_true", help="one JSON object a sentence")
    add("--attention", type=Path, metavar="FOLDER", help="draw the attention of each sentence")
    add("--force", type=Path, metavar="TARGET", help="score these translations, do not search")
    return parser


def _translate(options: argparse.Namespace) -> int:
    from nmt.cli.output import check_files, check_options
    from nmt.cli.windows import spread_windows
    from nmt.cli.workers import apply_job, make_pool
    from nmt.cli.writing import write
    from nmt.distributed.process_group import join

    check_options(options)
    check_files(options)
    rank = RankInfo.from_environment()
    windows = (
        _windows(options, WINDOW * rank.world_size * options.workers) if rank.is_first else iter(())
    )
    with join(rank, options.device) as ranks, make_pool(options) as pool:
        translator = load_translator(NAME, options)
        _check_alignments(translator, options)
        items = _items(translator, options, windows)
        work = apply_job(_job(translator, options), translator, pool)
        translations = spread_windows(items, work, ranks)
        if ranks.is_first:
            write(translations, options)
        else:
            shared = list(translations)
            assert not shared, "the first rank writes them"
    return SUCCESS


def _check_alignments(translator: "Translator", options: argparse.Namespace) -> None:
    from nmt.errors import UserError

    pictured = translator.reader.grid is not None
    if options.alignments is not None and options.alignment_level == "word" and pictured:
        message = "--alignments links words, and a picture has none; add --alignment-level piece"
        raise UserError(message)


def load_translator(name: str, options: argparse.Namespace) -> "Translator":
    """The translator that the model options ask for; the command's name heads its remarks."""
    from nmt.cli.workers import LoadArguments

    translator = LoadArguments.from_options(options).load()
    for warning in translator.warnings if RankInfo.from_environment().is_first else ():
        print(f"{name}: {warning}", file=sys.stderr)
    return translator


def search_options(translator: "Translator", options: argparse.Namespace) -> dict[str, Any]:
    """The fields of `SearchOptions` that the command line sets."""
    from nmt.cli.output import penalties

    names = ["beam_size", "batch_tokens", "batch_sentences", "max_length"]
    names += ["block_ngram_repeat", "stop"]
    given = {name: getattr(options, name) for name in names}
    chosen = {name: value for name, value in given.items() if value is not None}
    return chosen | penalties(translator.options, options)


def _items(
    translator: "Translator", options: argparse.Namespace, windows: Iterator[list[str]]
) -> Iterator[list[Any]]:
    """Windows of what the job is about: sentences, or pairs of them and their translations."""
    folder = Path(".") if options.input == "-" else Path(options.input).parent
    windows = ([translator.reader.locate(text, folder) for text in texts] for texts in windows)
    if options.force is None:
        return windows
    from nmt.cli.output import pair_windows

    paired = pair_windows(windows, options.force, options.input)
    return (list(zip(texts, targets, strict=True)) for texts, targets in paired)


def _job(translator: "Translator", options: argparse.Namespace) -> "Work":
    from nmt.search.options import Sampling
    from nmt.search.translator import Translator

    chosen = search_options(translator, options)
    if options.force is not None:
        return partial(_score, **chosen)
    if options.sample:
        chosen["sampling"] = Sampling(
            options.temperature, options.top_k, options.top_p, options.seed
        )
    chosen["replace_unknown"] = options.replace_unknown
    name = "standard input" if options.input == "-" else options.input
    return partial(Translator.lines, **chosen, file=name, n_best=options.n_best or 1)


def _score(
    translator: "Translator", pairs: list[tuple[str, str]], numbers: range, **chosen: Any
) -> list["Translation"]:
    return translator.score(*zip(*pairs, strict=True), **chosen)


def _windows(options: argparse.Namespace, size: int) -> Iterator[list[str]]:
    from nmt.cli.windows import full_windows
    from nmt.data.corpus import read_lines
    from nmt.errors import UserError
    from nmt.prefetch import read_available

    if options.input == "-":
        # A buffer of our own: Python could not end while a thread waits inside that of sys.stdin.
        stream = io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False))
        return read_available(read_lines(stream, "standard input"), size)
    if not Path(options.input).exists():
        raise UserError("no such file", options.input)
    return full_windows(read_lines(options.input), size)


if __name__ == "__main__":
    sys.exit(main())
