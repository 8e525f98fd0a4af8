"""Pictures of two bars with captions that say which colour is above which."""

from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from tests.commands import write_experiment

SIDE = 16
COLOURS = {"red": (220, 30, 30), "green": (30, 160, 50), "blue": (30, 60, 220), "black": (0, 0, 0)}
CAPTIONS = [f"{up} above {down}" for up, down in permutations(COLOURS, 2)]


def paint(file: Path, caption: str, chance: Random) -> None:
    """Two bars, one above the other, somewhere on white."""
    image = Image.new("RGB", (SIDE, SIDE), (chance.randint(230, 255),) * 3)
    up, _, down = caption.split()
    left = chance.randint(0, 6)
    image.paste(COLOURS[up], (left, 1, left + 9, 7))
    image.paste(COLOURS[down], (left, 9, left + 9, 15))
    image.save(file)


def write_lines(file: Path, lines: list[str]) -> Path:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def make_bars(folder: Path) -> None:
    """48 training pictures and 12 others in a folder, and an experiment of seconds."""
    (folder / "images").mkdir()
    chance = Random(3)
    for part, captions in (("train", CAPTIONS * 4), ("valid", CAPTIONS)):
        names = [f"images/{part}-{number}.png" for number in range(len(captions))]
        for name, caption in zip(names, captions, strict=True):
            paint(folder / name, caption, chance)
        write_lines(folder / f"{part}.pictures", names)
        write_lines(folder / f"{part}.en", captions)
    write_experiment(folder / "bars.yaml", bars_experiment())


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
