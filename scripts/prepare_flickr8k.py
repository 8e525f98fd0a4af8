#!/usr/bin/env python3
"""Puts a folder of Flickr8k where configs/flickr8k_soft.yaml looks for it.

    python scripts/prepare_flickr8k.py DIR

DIR holds `images.tar`, JPEGs, and `captions.csv` with columns image and caption, several lines a
picture. Written are `images/`, and for `train` and `valid` the pictures' names, one a line, in
`.pictures`, with their captions in `.en`. The split is by picture, drawn by chance. In `train` a
picture stands once a caption; in `valid` once, its other captions in `.en2`, `.en3`, ...
"""

import argparse
import csv
import random
import shutil
import tarfile
from collections import defaultdict
from pathlib import Path


def read_captions(file: Path) -> dict[str, list[str]]:
    """The captions of every picture."""
    captions: dict[str, list[str]] = defaultdict(list)
    with file.open(encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream):
            caption = " ".join(line["caption"].split())
            if caption:
                captions[line["image"]].append(caption)
    return captions


def unpack(archive: Path, folder: Path) -> set[str]:
    """Write the pictures of an archive into a folder; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = set()
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                name = Path(member.name).name
                with (folder / name).open("wb") as stream:
                    shutil.copyfileobj(content, stream)
                names.add(name)
    return names


def write_lines(file: Path, lines: list[str]) -> None:
    """Write a text."""
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument(
        "--output", type=Path, default=Path("data/flickr8k"), help="folder to write"
    )
    parser.add_argument("--valid", type=int, default=100, help="pictures to hold out (default 100)")
    parser.add_argument("--seed", type=int, default=1, help="of the split (default 1)")
    options = parser.parse_args(arguments)
    captions = read_captions(options.folder / "captions.csv")
    images = unpack(options.folder / "images.tar", options.output / "images")
    names = sorted(images & captions.keys())
    if not 0 < options.valid < len(names):
        parser.error(f"--valid must be at least 1 and less than the {len(names)} pictures")
    random.Random(options.seed).shuffle(names)
    held, kept = names[: options.valid], names[options.valid :]
    pairs = [(name, caption) for name in kept for caption in captions[name]]
    write_lines(options.output / "train.pictures", [f"images/{name}" for name, _ in pairs])
    write_lines(options.output / "train.en", [caption for _, caption in pairs])
    write_lines(options.output / "valid.pictures", [f"images/{name}" for name in held])
    for number in range(min(len(captions[name]) for name in held)):
        suffix = "en" if number == 0 else f"en{number + 1}"
        lines = [captions[name][number] for name in held]
        write_lines(options.output / f"valid.{suffix}", lines)


if __name__ == "__main__":
    main()
