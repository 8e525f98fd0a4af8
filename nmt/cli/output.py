"""What nmt-translate writes, and which of its options go together."""

import argparse
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from nmt.data.corpus import read_lines
from nmt.errors import UserError
from nmt.registry import COVERAGE_PENALTIES, LENGTH_PENALTIES, ComponentConfig
from nmt.search.options import SearchOptions
from nmt.search.translation import Translation


def check_options(options: argparse.Namespace) -> None:
    """Raise UserError for options that leave one another without use."""
    sampling = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": 1}
    changed = [name for name, usual in sampling.items() if getattr(options, name) != usual]
    if changed and not options.sample:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in changed)
        raise UserError(f"{names} without --sample has no use; add --sample")
    if options.sample and (options.n_best or 1) > 1:
        raise UserError("--sample draws one translation a sentence; leave out --n-best")
    if options.force and (options.sample or options.n_best or options.replace_unknown):
        raise UserError("--force searches for nothing; leave out --sample, --n-best and the like")
    if options.n_best and options.jsonl is False and options.scores:
        raise UserError("--n-best lines hold the score already; leave out --scores")
    if options.jsonl and options.scores:
        raise UserError("--jsonl objects hold the score already; leave out --scores")


def check_files(options: argparse.Namespace) -> None:
    """Raise UserError when a file would be overwritten before it is read, or written twice."""
    inputs, outputs = (
        [Path(name) for name in names if name not in ("-", None)]
        for names in ((options.input, options.force), (options.output, options.alignments))
    )
    for output in outputs:
        if any(_same(output, name) for name in inputs):
            raise UserError("is read and written; name another output", str(output))
    if len(outputs) == 2 and outputs[0].absolute() == outputs[1].absolute():
        raise UserError("is to hold translations and alignments; name two files", str(outputs[0]))


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def penalties(usual: SearchOptions, options: argparse.Namespace) -> dict[str, ComponentConfig]:
    """The penalties of the run with what the command line changes of them.

    Raises:
        UserError: for a strength without a penalty that has one
    """
    length, coverage = usual.length_penalty, usual.coverage_penalty
    if options.length_penalty is not None:
        length = ComponentConfig(options.length_penalty)
        if options.length_penalty == "none" and options.alpha is not None:
            raise UserError("--alpha is the length penalty's, and that is none")
    if options.coverage_penalty is not None:
        coverage = ComponentConfig(options.coverage_penalty)
        if options.coverage_penalty == "none" and options.beta is not None:
            raise UserError("--beta is the coverage penalty's, and that is none")
    if options.alpha is not None:
        if "alpha" not in LENGTH_PENALTIES.find(length.type).options:
            raise UserError("--alpha is the length penalty's; add --length-penalty average or gnmt")
        length = ComponentConfig(length.type, {**length.options, "alpha": options.alpha})
    if options.beta is not None:
        if "beta" not in COVERAGE_PENALTIES.find(coverage.type).options:
            raise UserError("--beta is the coverage penalty's; add --coverage-penalty gnmt")
        coverage = ComponentConfig(coverage.type, {**coverage.options, "beta": options.beta})
    return {"length_penalty": length, "coverage_penalty": coverage}


def format_line(number: int, translation: Translation, options: argparse.Namespace) -> str:
    """The lines of output for one line of input."""
    if options.jsonl:
        tree = {"id": number, **translation.as_tree()}
        return json.dumps(tree, ensure_ascii=False) + "\n"
    if options.n_best:
        return "".join(_moses(number, one) for one in translation.n_best or (translation,))
    if options.scores:
        return f"{translation.text}\t{translation.score:.4f}\n"
    return f"{translation.text}\n"


def _moses(number: int, one: Translation) -> str:
    return f"{number} ||| {one.text} ||| logprob= {one.log_prob:.4f} ||| {one.score:.4f}\n"


def pair_windows(
    windows: Iterator[list[str]], targets: Path, source_name: str
) -> Iterator[tuple[list[str], list[str]]]:
    """Windows of sentences with their given translations.

    Raises:
        UserError: when there are not as many of one as of the other, with both counts; or for a
            translation of an empty line, which has no score
    """
    name = "standard input" if source_name == "-" else source_name
    lines = read_lines(targets)
    read = 0
    for texts in windows:
        given = list(islice(lines, len(texts)))
        if len(given) < len(texts):
            sources = read + len(texts) + sum(map(len, windows))
            raise UserError(_unequal(sources, read + len(given), name), str(targets))
        for number, (text, translation) in enumerate(zip(texts, given, strict=True), read + 1):
            if translation.strip() and not text.strip():
                message = f"translates an empty line of {name}; empty this one too"
                raise UserError(message, f"{targets}:{number}")
        yield texts, given
        read += len(texts)
    more = sum(1 for _ in lines)
    if more:
        raise UserError(_unequal(read, read + more, name), str(targets))


def _unequal(sources: int, targets: int, name: str) -> str:
    return f"{targets} lines, but {name} has {sources}; line by line they must belong together"
