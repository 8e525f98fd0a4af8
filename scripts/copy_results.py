"""Letters copied right by the length of the line, and what the heads of a machine do meanwhile.

    python scripts/copy_results.py runs/copy_ntm runs/copy_lstm --checkpoint last \\
        --picture runs/copy_ntm/memory.png

The text is that of scripts/make_copies.py: training lines have 20 letters at most, and the table
shows who has learned to copy and who has learned lines of up to 20 letters; Graves et al. 2014,
figures 4 and 5. A letter is right where the same letter stands at the same place of the line.

The picture is figure 6 of the paper for the first run: on the left where the machine writes while
it reads a line, on the right where it reads while it writes the copy; time runs to the right, slots
of the memory downwards, the end mark's step last.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from make_copies import TESTS
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from experiments import Pair, markdown
from nmt.data.corpus import find_corpus
from nmt.evaluation.metrics import score
from nmt.search.translator import Translator
from nmt.storage.run_dir import RunDir
from plots import save

Weights = Float[Tensor, "slot step"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Copy the test parts with every run; print the table, draw the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="run directories")
    parser.add_argument("--data", type=Path, default=Path("data/copy"), help="the test parts")
    parser.add_argument("--checkpoint", default="best", help="as in nmt-translate")
    parser.add_argument("--picture", type=Path, help="PNG of the first run's heads")
    parser.add_argument("--length", type=int, choices=TESTS, default=TESTS[0], help="of its line")
    options = parser.parse_args(arguments)
    data = RunDir(options.runs[0]).experiment().data
    tests = {
        length: list(find_corpus(options.data / f"test_{length}", data.source, data.target).pairs())
        for length in TESTS
    }
    translators = [Translator.load(run, checkpoint=options.checkpoint) for run in options.runs]
    rows = [measure(translator, tests.values()) for translator in translators]
    named = [[run.name, *cells] for run, cells in zip(options.runs, rows, strict=True)]
    print("Letters right in percent (whole lines right in percent), by letters a line:\n")
    print(markdown(["run", *map(str, TESTS)], named))
    if options.picture is not None:
        draw(*addressing(translators[0], tests[options.length][0][0]), options.picture)


def measure(translator: Translator, tests: Iterable[Sequence[Pair]]) -> list[str]:
    """A cell of the table for every test part."""
    cells = []
    for pairs in tests:
        texts = [one.text for one in translator.translate(source for source, _ in pairs)]
        targets = [target for _, target in pairs]
        exact = score(["exact"], texts, [targets])["exact"].score
        cells.append(f"{100 * letters_right(texts, targets):.2f} ({exact:.1f})")
    return cells


def letters_right(texts: Sequence[str], targets: Sequence[str]) -> float:
    """Share of the targets' letters that stand at the same place of the texts."""
    pairs = list(zip(texts, targets, strict=True))
    right = sum(a == b for text, target in pairs for a, b in zip(text, target, strict=False))
    return right / sum(map(len, targets))


@torch.inference_mode()
def addressing(translator: Translator, line: str) -> tuple[Weights, Weights]:
    """Where each of a line's pieces is written, and where it is read for the copy."""
    model: Any = translator.models[0]
    vocabulary = translator.target_vocabulary  # of both sides
    pieces = [*vocabulary.encode(line), vocabulary.eos]
    source_1s = torch.tensor([pieces])
    encoded = model.encode(source_1s, torch.ones_like(source_1s, dtype=torch.bool))
    memory, state = model.decoder.start(encoded)
    reading = []
    for piece in [vocabulary.bos, *pieces[:-1]]:
        _, _, state = model.step(torch.tensor([piece]), memory, state)
        heads_hi = state.attention.weights_nhi[0, : model.decoder.machine.sizes.read_heads]
        reading.append(heads_hi.sum(dim=0))
    return encoded.machine.written_bsi[0].T, torch.stack(reading, dim=1)


def draw(written_is: Weights, read_it: Weights, path: Path) -> None:
    """Write both as a PNG, 0 black and 1 white, down to the last slot that is used."""
    used = torch.cat([written_is, read_it], dim=1).amax(dim=1).gt(0.1).nonzero().max().item()
    figure = Figure(figsize=(9, 4.5), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    titles = ("where it writes while it reads", "where it reads while it writes")
    for axes, weights, title in zip(panels, (written_is, read_it), titles, strict=True):
        axes.imshow(weights[: int(used) + 2].numpy(), cmap="gray", vmin=0, vmax=1, aspect="auto")
        axes.set_title(title)
        axes.set_xlabel("time")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel("slot of the memory")
    save(figure, path)


if __name__ == "__main__":
    main()
