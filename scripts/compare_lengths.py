"""Length of the source against BLEU: where a fixed vector fails and attention does not.

    python scripts/join_lines.py data/multi30k/train --source de --target en --join 4 \\
        --output data/multi30k-joined/train
    nmt-train configs/lengths_plain.yaml
    nmt-train configs/lengths_attention.yaml
    python scripts/compare_lengths.py runs/lengths_plain runs/lengths_attention \\
        --test data/multi30k/test_2016_flickr --join 4

Bahdanau et al. 2014, figure 2; Luong et al. 2015, figure 6. The test text is translated as
nmt-translate would and cut into buckets by the words of a source line; each bucket gets the corpus
BLEU of its own lines. BLEU also depends on the text, so compare systems within a bucket, not
buckets of one system. A bucket of fewer than --least lines is joined with the next longer one.

Captions are short: 26 of the 1,000 have more than 20 words. `--join N` adds the test text's own
lines once more, 2, 3 .. N neighbours as one line. What that shows, and what it does not:

- It asks a system to hold the content of several sentences and to give it back in order. It is no
  test of long syntax: the sentences have nothing to do with each other, and a system that attends
  may translate them one by one.
- A system that has only seen single captions ends after the first full stop, whatever it could
  hold. So joined lines must stand in the training text too, made of its own pairs; the two
  experiment files have them. Then memory is compared, not who has seen long lines before.
- A caption stands in the joined test once for each size, so the buckets are not independent. The
  score of the test text as it is stands in the table's last row.
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
    """Lines of like length: of `first` to `last` words; their row numbers."""

    first: int
    last: int
    rows: list[int]


def main(arguments: Sequence[str] | None = None) -> None:
    """Translate with every run; write table, JSON and plot."""
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
    told = {
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
    write_results(options.output, told, table(told))
    _draw(told, options.output.with_suffix(".png"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="run directories, of one language pair")
    add("--test", nargs="+", type=Path, required=True, help="prefixes of the test text")
    add("--join", type=int, default=1, metavar="N", help="add lines of 2 .. N neighbours")
    add("--width", type=int, default=5, help="words that a bucket spans (default: %(default)s)")
    add("--least", type=int, default=50, help="lines in a bucket (default: %(default)s)")
    add("--checkpoint", default="best", help="best, last, average or an update")
    add("--beam-size", type=int, default=5)
    add("--threads", type=int, help="CPU threads (default: all cores)")
    add("--output", type=Path, default=Path("docs/figures/lengths"), help="without suffix")
    return parser


def words(line: str) -> int:
    """Words of a line, cut at spaces."""
    return len(line.split())


def make_buckets(lengths: Sequence[int], width: int, least: int) -> list[Bucket]:
    """Row numbers by length: 1 to `width`, the next `width`, and so on, short to long.

    A bucket of fewer than `least` rows becomes one with the next; the last one with that before it.
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


def table(told: dict[str, Any]) -> str:
    """BLEU by bucket, a column a run; the test text as it is in the last row."""
    runs = list(told["bleu"])
    names = [*_names(told["buckets"]), "test text as it is"]
    counts = [*(bucket["lines"] for bucket in told["buckets"]), told["lines"]]
    rows = [
        [name, f"{count:,}", *(f"{told['bleu'][run][number]:.2f}" for run in runs)]
        for number, (name, count) in enumerate(zip(names, counts, strict=True))
    ]
    joined = f", with up to {told['join']} lines joined" if told["join"] > 1 else ""
    title = f"BLEU by words of the source line{joined} ({told['signature']}):"
    return f"{title}\n\n{markdown(['words', 'lines', *runs], rows)}"


def _names(buckets: Sequence[dict[str, int]]) -> list[str]:
    return [f"{bucket['first']}-{bucket['last']}" for bucket in buckets]


def _draw(told: dict[str, Any], path: Path) -> None:
    buckets = told["buckets"]
    figure, (axes,) = start_figure(1)
    lines = [Line(run, values[: len(buckets)]) for run, values in told["bleu"].items()]
    highest = max(value for line in lines for value in line.values)
    draw_lines(axes, range(len(buckets)), lines, (0, 1.05 * highest))
    counts = [f"{bucket['lines']:,}" for bucket in buckets]
    named = [f"{name}\n{count}" for name, count in zip(_names(buckets), counts, strict=True)]
    axes.set_xticks(range(len(buckets)), named, fontsize="small")
    axes.set_xlabel("words of the source line, and lines of such length")
    axes.set_ylabel("BLEU")
    save(figure, path)


if __name__ == "__main__":
    main()
