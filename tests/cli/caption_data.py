"""Images of two bars, and captions such as `red above green`."""

from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from tests.commands import write_experiment

SIDE = 16
COLORS = {"red": (220, 30, 30), "green": (30, 160, 50), "blue": (30, 60, 220), "black": (0, 0, 0)}
CAPTIONS = [f"{up} above {down}" for up, down in permutations(COLORS, 2)]


def draw_bars(file: Path, caption: str, random: Random) -> None:
    """Draw two bars, one above the other, at a random position on white."""
    image = Image.new("RGB", (SIDE, SIDE), (random.randint(230, 255),) * 3)
    up, _, down = caption.split()
    left = random.randint(0, 6)
    image.paste(COLORS[up], (left, 1, left + 9, 7))
    image.paste(COLORS[down], (left, 9, left + 9, 15))
    image.save(file)


def write_lines(file: Path, lines: list[str]) -> Path:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def make_bars(directory: Path) -> None:
    """Write 48 training and 12 validation images, and an experiment that trains in seconds."""
    (directory / "images").mkdir()
    random = Random(3)
    for part, captions in (("train", CAPTIONS * 4), ("valid", CAPTIONS)):
        names = [f"images/{part}-{number}.png" for number in range(len(captions))]
        for name, caption in zip(names, captions, strict=True):
            draw_bars(directory / name, caption, random)
        write_lines(directory / f"{part}.pictures", names)
        write_lines(directory / f"{part}.en", captions)
    write_experiment(directory / "bars.yaml", bars_experiment())


def bars_experiment() -> dict[str, Any]:
    return {
        "data": {
            "train": "train",
            "valid": "valid",
            "source": "pictures",
            "target": "en",
            "pictures": {"size": SIDE},
            "vocabulary": {"size": 18, "type": "char"},
        },
        "model": {
            "embedding_size": 16,
            "encoder": {"type": "convolution", "channels": 16, "blocks": 2, "convolutions": 1},
            "decoder": {"type": "bahdanau", "hidden_size": 32},
        },
        "training": {
            "optimizer": {"type": "adam", "learning_rate": 0.01},
            "batch_sentences": 12,
            "steps": 80,
            "validate_every": 80,
            "label_smoothing": 0.0,
            "threads": 1,
        },
        "search": {"beam_size": 2, "max_length": 20},
        "evaluation": {"metrics": ["exact"], "samples": 2, "pictures": 2},
    }
