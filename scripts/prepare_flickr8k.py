#!/usr/bin/env python3
"""Unpack Flickr8k for configs/flickr8k_soft.yaml.

    python scripts/prepare_flickr8k.py DIR

DIR contains `images.tar` with JPEG files, and `captions.csv` with the columns image and caption,
several lines per image. Writes `images/`, and for `train` and `valid` the names of the images,
one per line, to `.pictures`, and their captions to `.en`. The split is by image and random. In
`train` an image occurs once per caption; in `valid` once, with its other captions in `.en2`,
`.en3`, ...
"""

import argparse
import csv
import random
import shutil
import tarfile
from collections import defaultdict
from pathlib import Path


def read_captions(file: Path) -> dict[str, list[str]]:
    """Read the captions of each image."""
    captions: dict[str, list[str]] = defaultdict(list)
    with file.open(encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream):
            caption = " ".join(line["caption"].split())
            if caption:
                captions[line["image"]].append(caption)
    return captions


def unpack(archive: Path, folder: Path) -> set[str]:
    """Extract the images of an archive into a directory and return their names."""
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
    """Write lines to a UTF-8 file."""
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def main(arguments: list[str] | None = None) -> None:
    """Unpack the images and write both parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="directory of images.tar and captions.csv"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("data/flickr8k"),
        help="directory to write (default: %(default)s)",
    )
    parser.add_argument(
        "--valid", type=int, default=100, help="images to hold out (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="random seed of the split (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    captions = read_captions(options.folder / "captions.csv")
    images = unpack(options.folder / "images.tar", options.output / "images")
    names = sorted(images & captions.keys())
    if not 0 < options.valid < len(names):
        parser.error(f"--valid must be at least 1 and less than the {len(names)} images")
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
