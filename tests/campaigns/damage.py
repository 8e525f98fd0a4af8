"""A hundred kinds of damage to the files of a run."""

import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

Damage: TypeAlias = Callable[[Path], None]
"""Damages the file, directory or link at a path."""

CHECKPOINT = ("model.safetensors", "training.safetensors", "state.json", "SHA256SUMS")
TEXTS = ("config.yaml", "metrics.jsonl", "train.log")


def flip(share: float) -> Damage:
    """Return the change of one bit at a share of a file."""

    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[min(int(share * len(data)), len(data) - 1)] ^= 1
        path.write_bytes(bytes(data))

    return damage


def cut(share: float) -> Damage:
    """Return the loss of the end of a file."""

    def damage(path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])

    return damage


def zeros(path: Path) -> None:
    """Replace the second half by zeros, as a power failure may."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


def append(data: bytes) -> Damage:
    """Return the addition of bytes to a file."""

    def damage(path: Path) -> None:
        path.write_bytes(path.read_bytes() + data)

    return damage


def replace(data: bytes) -> Damage:
    """Return the replacement of a file, or the addition of a foreign one."""

    def damage(path: Path) -> None:
        remove(path)
        path.write_bytes(data)

    return damage


def remove(path: Path) -> None:
    """Remove a file, link or directory."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def directory(path: Path) -> None:
    """Replace by an empty directory."""
    remove(path)
    path.mkdir()


def full_directory(path: Path) -> None:
    """Replace by a directory with a file."""
    directory(path)
    (path / "file").write_text("text\n")


def link(target: str) -> Damage:
    """Return the replacement by a symbolic link."""

    def damage(path: Path) -> None:
        remove(path)
        path.symlink_to(target)

    return damage


def followed(path: Path) -> None:
    """Replace a link by a copy of its target, as `cp -rL`, zip and object stores do."""
    target = path.resolve()
    remove(path)
    shutil.copytree(target, path)


def target_name(path: Path) -> None:
    """Replace a link by a file that holds the name of its target, as Git does on Windows."""
    target = os.readlink(path)
    remove(path)
    path.write_text(target)


def fifo(path: Path) -> None:
    """Replace by a named pipe, which never ends."""
    remove(path)
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    """Replace by a socket."""
    remove(path)
    folder = os.getcwd()
    os.chdir(path.parent)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    os.chdir(folder)


def swapped(path: Path) -> None:
    """Exchange both vocabularies, or weights and training tensors."""
    names = {"source.model": "target.model", "model.safetensors": "training.safetensors"}
    other = path.with_name(names[path.name])
    spare = path.with_name("spare")
    path.rename(spare)
    other.rename(path)
    spare.rename(other)


def of_step(step: int) -> Damage:
    """Return the replacement of a checkpoint's file by that of another update."""

    def damage(path: Path) -> None:
        shutil.copy(path.parent.with_name(str(step)) / path.name, path)

    return damage


def first_line_only(path: Path) -> None:
    """Keep the first line."""
    path.write_text(path.read_text().splitlines(keepends=True)[0])


def damages() -> Iterator[tuple[str, tuple[str, Damage]]]:
    """Yield the name of each kind of damage, with the path in the run and the damage.

    `LAST` in a path is the newest checkpoint, and `BEST` the best one.
    """

    def named(path: str, **kinds: Damage) -> Iterator[tuple[str, tuple[str, Damage]]]:
        for kind, damage in kinds.items():
            yield f"{path} {kind}", (path, damage)

    for name in CHECKPOINT:
        path = f"checkpoints/LAST/{name}"
        yield from named(path, flip=flip(0.5), cut=cut(0.5), empty=cut(0), removed=remove)
        yield from named(path, zeros=zeros, directory=directory, fifo=fifo)
        yield from named(path, link_to_zero=link("/dev/zero"), other_step=of_step(8))
        yield from named(f"checkpoints/BEST/{name}", best_flip=flip(0.9), best_removed=remove)
    yield from named("checkpoints/LAST/SHA256SUMS", one_line=first_line_only)
    yield from named(
        "checkpoints/LAST/SHA256SUMS", names_zero=replace(b"0" * 64 + b"  ../../../../dev/zero\n")
    )
    yield from named("checkpoints/LAST/model.safetensors", swapped=swapped)
    for name in ("best", "last"):
        path = f"checkpoints/{name}"
        yield from named(path, removed=remove, directory=directory, full=full_directory)
        yield from named(path, followed=followed, target_name=target_name, fifo=fifo)
        yield from named(path, dangling=link("99"), loop=link(name), outside=link("/tmp"))
        yield from named(path, not_number=link("samples"), up=link("../checkpoints/10"))
    for name in ("source.model", "target.model"):
        path = f"vocabulary/{name}"
        yield from named(path, removed=remove, empty=cut(0), cut=cut(0.3), fifo=fifo)
        yield from named(path, flip_first=flip(0.01), flip_last=flip(0.99), flip=flip(0.5))
        yield from named(path, directory=directory, link_to_zero=link("/dev/zero"))
    yield from named("vocabulary/source.model", swapped=swapped)
    yield from named("vocabulary", removed=remove, file=replace(b"text"))
    yield from named("config.yaml", removed=remove, empty=cut(0), cut=cut(0.5), fifo=fifo)
    yield from named("config.yaml", flip=flip(0.5), latin=append(b"# \xe9\n"), directory=directory)
    yield from named("config.yaml", foreign_key=append(b"nothing: 1\n"), zeros=zeros)
    for name in ("metrics.jsonl", "train.log"):
        yield from named(name, removed=remove, empty=cut(0), cut=cut(0.6), zeros=zeros)
        yield from named(name, directory=directory, foreign=replace(b"\xff\xfe\x00 \n\n{}\n"))
    yield from named("metrics.jsonl", blank=append(b"\n\n"), bom=replace(b"\xef\xbb\xbf{}\n"))
    yield from named("metrics.jsonl", numbers=append(b"1\nnull\n[]\n"), text=append(b"text\n"))
    for name in ("checkpoints/12", "checkpoints/\u00b2", "checkpoints/007", "checkpoints/notes"):
        yield from named(name, foreign_file=replace(b"text"), foreign_directory=full_directory)
    for name in ("checkpoints/.12.part", "checkpoints/.last.part", ".config.part", "cache/x.part"):
        yield from named(name, foreign_file=replace(b"text"), foreign_directory=full_directory)
    yield from named("cache", removed=remove, file=replace(b"text"), loop=link("cache"))
    yield from named("samples", file=replace(b"text"), removed=remove)
    yield from named("checkpoints", link_to_copy=moved)


def moved(path: Path) -> None:
    """Move a directory away and leave a link."""
    away = path.parent.with_name("away")
    path.rename(away)
    path.symlink_to(away)


def cache_flips() -> Iterator[tuple[str, tuple[str, Damage]]]:
    """Yield single bits of the token cache that change while time and size stay."""

    def rotten(seed: int) -> Damage:
        def damage(path: Path) -> None:
            files = sorted(file for file in path.rglob("*") if file.is_file())
            chosen = random.Random(seed)
            file = chosen.choice(files)
            status = file.stat()
            flip(chosen.random())(file)
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

        return damage

    for seed in range(16):
        yield f"cache rotten {seed}", ("cache", rotten(seed))
