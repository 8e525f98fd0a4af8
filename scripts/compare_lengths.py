r"""Compare systems by source length: BLEU of buckets of lines, as a table and a plot.

    python scripts/join_lines.py data/multi30k/train --source de --target en --join 4 \
        --output data/multi30k-joined/train
    nmt-train configs/lengths_plain.yaml
    nmt-train configs/lengths_attention.yaml
    python scripts/compare_lengths.py runs/lengths_plain runs/lengths_attention \
        --test data/multi30k/test_2016_flickr --join 4

Bahdanau et al. 2014, figure 2; Luong et al. 2015, figure 6. The test text is translated as by
nmt-translate and divided into buckets by the number of words of the source line; each bucket has
the corpus BLEU of its lines. BLEU also depends on the text: compare systems within a bucket, not
buckets of one system. A bucket with fewer than --least lines is merged with the next longer one.

Captions are short: 26 of the 1,000 have more than 20 words. `--join N` adds lines that consist of
2, 3, ..., N neighboring lines of the test text. The limits of this experiment:

- It requires a system to store the content of several sentences and to reproduce it in order. It
  does not test long-range syntax: the sentences are unrelated, and a system with attention may
  translate them one by one.
- A system that was trained on single captions ends after the first full stop, regardless of its
  capacity. Joined lines must therefore be in the training text too, built from its own pairs, as
  in the two experiment files. Then the experiment compares capacity, not training data.
- A caption occurs in the joined test text once per size, so buckets are not independent. The last
  row of the table is the score of the unjoined test text.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from join_lines import join_up_to

from experiments import Pair, markdown, write_results
from nmt.cli.process import configure_process
from nmt.data.corpus import find_corpus
from nmt.evaluation.metrics import MetricResult, score
from nmt.search.translator import Translator
from nmt.storage.run_dir import RunDir
from plots import Line, draw_lines, save, start_figure


class Bucket(NamedTuple):
    """Row numbers of the lines with `first` to `last` words."""

    first: int
    last: int
    rows: list[int]


def main(arguments: Sequence[str] | None = None) -> None:
    """Translate with every run, and write the table, the JSON file and the plot."""
    options = _parser().parse_args(arguments)
    data = RunDir(options.runs[0]).experiment().data
    alone = list(find_corpus(options.test, data.source, data.target).pairs())
    pairs = alone + join_up_to(alone, options.join)
    buckets = make_buckets([words(s) for s, _ in pairs], options.width, options.least)
    parts = [bucket.rows for bucket in buckets] + [list(range(len(alone)))]
    scores = {
        run.name: [_bleu(texts, pairs, rows) for rows in parts]
        for run in options.runs
        for texts in [_translate(run, pairs, options)]
    }
    measured = {
        "test": [str(prefix) for prefix in options.test],
        "join": options.join,
        "beam_size": options.beam_size,
        "signature": next(iter(scores.values()))[0].signature,
        "buckets": [
            {"first": first, "last": last, "lines": len(rows)} for first, last, rows in buckets
        ],
        "lines": len(alone),
        "bleu": {run: [one.score for one in found] for run, found in scores.items()},
    }
    write_results(options.output, measured, table(measured))
    _draw(measured, options.output.with_suffix(".png"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="run directories of one language pair")
    add("--test", nargs="+", type=Path, required=True, help="prefixes of the test text")
    add(
        "--join",
        type=int,
        default=1,
        metavar="N",
        help="add lines of 2 to N neighbors (default: 1)",
    )
    add("--width", type=int, default=5, help="width of a bucket in words (default: %(default)s)")
    add("--least", type=int, default=50, help="minimum lines per bucket (default: %(default)s)")
    add("--checkpoint", default="best", help="best, last, average or a step (default: best)")
    add("--beam-size", type=int, default=5, help="default: %(default)s")
    add("--threads", type=int, help="CPU threads (default: all cores)")
    output = Path("docs/figures/lengths")
    add("--output", type=Path, default=output, help="path without suffix (default: %(default)s)")
    return parser


def words(line: str) -> int:
    """Count the words of a line, separated by spaces."""
    return len(line.split())


def make_buckets(lengths: Sequence[int], width: int, least: int) -> list[Bucket]:
    """Divide rows into buckets of `width` lengths, from short to long.

    A bucket of fewer than `least` rows is merged with the next one, the last one with its
    predecessor.
    """
    buckets: list[Bucket] = []
    first, rows = 1, list[int]()
    for last in range(width, max(lengths) + width, width):
        rows += [row for row, length in enumerate(lengths) if last - width < length <= last]
        if len(rows) >= least:
            buckets.append(Bucket(first, last, rows))
            first, rows = last + 1, []
    if rows and buckets:
        before = buckets.pop()
        return [*buckets, Bucket(before.first, last, before.rows + rows)]
    return buckets or [Bucket(1, last, rows)]


def _translate(run: Path, pairs: Sequence[Pair], options: argparse.Namespace) -> list[str]:
    configure_process("auto", threads=options.threads)
    translator = Translator.load(run, checkpoint=options.checkpoint)
    found = translator.translate((s for s, _ in pairs), beam_size=options.beam_size)
    return [translation.text for translation in found]


def _bleu(texts: Sequence[str], pairs: Sequence[Pair], rows: Sequence[int]) -> MetricResult:
    references = [pairs[row][1] for row in rows]
    return score(["bleu"], [texts[row] for row in rows], [references])["bleu"]


def table(measured: dict[str, Any]) -> str:
    """Format BLEU by bucket with one column per run; the last row is the unjoined test text."""
    runs = list(measured["bleu"])
    names = [*_names(measured["buckets"]), "unjoined test text"]
    counts = [*(bucket["lines"] for bucket in measured["buckets"]), measured["lines"]]
    rows = [
        [name, f"{count:,}", *(f"{measured['bleu'][run][number]:.2f}" for run in runs)]
        for number, (name, count) in enumerate(zip(names, counts, strict=True))
    ]
    joined = f", with up to {measured['join']} lines joined" if measured["join"] > 1 else ""
    title = f"BLEU by words of the source line{joined} ({measured['signature']}):"
    return f"{title}\n\n{markdown(['words', 'lines', *runs], rows)}"


def _names(buckets: Sequence[dict[str, int]]) -> list[str]:
    return [f"{bucket['first']}-{bucket['last']}" for bucket in buckets]


def _draw(measured: dict[str, Any], path: Path) -> None:
    buckets = measured["buckets"]
    figure, (axes,) = start_figure(1)
    lines = [Line(run, values[: len(buckets)]) for run, values in measured["bleu"].items()]
    highest = max(value for line in lines for value in line.values)
    draw_lines(axes, range(len(buckets)), lines, (0, 1.05 * highest))
    counts = [f"{bucket['lines']:,}" for bucket in buckets]
    named = [f"{name}\n{count}" for name, count in zip(_names(buckets), counts, strict=True)]
    axes.set_xticks(range(len(buckets)), named, fontsize="small")
    axes.set_xlabel("words of the source line, and number of lines")
    axes.set_ylabel("BLEU")
    save(figure, path)


if __name__ == "__main__":
    main()
