r"""Evaluate the copy task by line length, and plot the memory access of a Neural Turing Machine.

    python scripts/copy_results.py runs/copy_ntm runs/copy_lstm --checkpoint last \
        --picture runs/copy_ntm/memory.png

The text is that of `nmt.examples.copies`. Training lines have at most 20 letters, so the table
distinguishes a model that has learned to copy from one that has learned lines of up to 20 letters;
Graves et al. 2014, figures 4 and 5. A letter is correct if it is at the same position of the line.

The plot is figure 6 of the paper for the first run: the memory slots written while the machine
reads a line (left), and read while it writes the copy (right). Time runs to the right, slots run
down, and the last step is that of the end-of-sentence token.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from experiments import Pair
from nmt.comparison.tables import markdown
from nmt.data.corpus import find_corpus
from nmt.evaluation.metrics import score
from nmt.examples.copies import TESTS
from nmt.search.translator import Translator
from nmt.storage.run_dir import RunDir

Weights = Float[Tensor, "slot step"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Copy the test parts with every run, print the table and draw the plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="run directories")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data/copy"),
        help="directory of the test parts (default: data/copy)",
    )
    parser.add_argument("--checkpoint", default="best", help="as in nmt-translate (default: best)")
    parser.add_argument(
        "--picture", type=Path, help="PNG file for the memory access of the first run"
    )
    parser.add_argument(
        "--length",
        type=int,
        choices=TESTS,
        default=TESTS[0],
        help="length of its line (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    data = RunDir(options.runs[0]).experiment().data
    tests = {
        length: list(find_corpus(options.data / f"test_{length}", data.source, data.target).pairs())
        for length in TESTS
    }
    translators = [Translator.load(run, checkpoint=options.checkpoint) for run in options.runs]
    rows = [measure(translator, tests.values()) for translator in translators]
    named = [[run.name, *cells] for run, cells in zip(options.runs, rows, strict=True)]
    print("Correct letters in percent (correct lines in percent), by letters per line:\n")
    print(markdown(["run", *map(str, TESTS)], named))
    if options.picture is not None:
        draw(*addressing(translators[0], tests[options.length][0][0]), options.picture)


def measure(translator: Translator, tests: Iterable[Sequence[Pair]]) -> list[str]:
    """Return one table cell per test part."""
    cells = []
    for pairs in tests:
        texts = [one.text for one in translator.translate(source for source, _ in pairs)]
        targets = [target for _, target in pairs]
        exact = score(["exact"], texts, [targets])["exact"].score
        cells.append(f"{100 * letters_right(texts, targets):.2f} ({exact:.1f})")
    return cells


def letters_right(texts: Sequence[str], targets: Sequence[str]) -> float:
    """Return the share of the letters of the targets that are at the same position in the texts."""
    pairs = list(zip(texts, targets, strict=True))
    right = sum(a == b for text, target in pairs for a, b in zip(text, target, strict=False))
    return right / sum(map(len, targets))


@torch.inference_mode()
def addressing(translator: Translator, line: str) -> tuple[Weights, Weights]:
    """Return the write weights of each token of a line, and the read weights of its copy."""
    model: Any = translator.models[0]
    vocabulary = translator.target_vocabulary  # of both sides
    tokens = [*vocabulary.encode(line), vocabulary.eos]
    source_1s = torch.tensor([tokens])
    encoded = model.encode(source_1s, torch.ones_like(source_1s, dtype=torch.bool))
    memory, state = model.decoder.start(encoded)
    reading = []
    for token in [vocabulary.bos, *tokens[:-1]]:
        _, _, state, *_ = model.step(torch.tensor([token]), memory, state)
        heads_hi = state.attention.weights_nhi[0, : model.decoder.machine.sizes.read_heads]
        reading.append(heads_hi.sum(dim=0))
    return encoded.machine.written_bsi[0].T, torch.stack(reading, dim=1)


def draw(written_is: Weights, read_it: Weights, path: Path) -> None:
    """Plot both as a PNG file, 0 black and 1 white, down to the last slot that is used."""
    used = torch.cat([written_is, read_it], dim=1).amax(dim=1).gt(0.1).nonzero().max().item()
    figure = Figure(figsize=(9, 4.5), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    titles = ("writes while reading the line", "reads while writing the copy")
    for axes, weights, title in zip(panels, (written_is, read_it), titles, strict=True):
        axes.imshow(weights[: int(used) + 2].numpy(), cmap="gray", vmin=0, vmax=1, aspect="auto")
        axes.set_title(title)
        axes.set_xlabel("time")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel("memory slot")
    figure.savefig(path, format="png", dpi=120)


if __name__ == "__main__":
    main()
