"""Finding the files of a corpus: both sides of it, in one shard or in many."""

import difflib
import glob
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from nmt.errors import UserError

PACKED = ".gz"
# How many shards an error names.
NAMED = 3

Shard = tuple[Path, ...]
"""The files of a shard: source and target, or one of tab-separated pairs."""


class _Sides(NamedTuple):
    """How files of both sides end after the name they share, and what may follow, best first."""

    endings: tuple[str, ...]
    forms: tuple[str, str]

    def look(self, name: str, ending: str, found: Callable[[str], list[str]]) -> list[Path]:
        """The files that `found` finds of one side."""
        paths = [Path(path) for form in self.forms for path in found(name + ending + form)]
        return [path for path in paths if path.is_file()]

    def find(self, name: str) -> Shard:
        """The files of one shard; UserError for one that is missing."""
        shard = []
        for ending in self.endings:
            found = self.look(name, ending, lambda path: [path])
            if not found:
                path = Path(name + ending)
                message = f"no such file, nor {path.name}{PACKED}; {_what_is_there(path)}"
                raise UserError(message, str(path))
            shard.append(found[0])
        return tuple(shard)

    def match(self, pattern: str) -> list[Shard]:
        """The shards of a pattern; UserError where some have one side only."""
        sides: list[dict[str, Path]] = []
        for ending in self.endings:
            paths = self.look(_escape_folders(pattern), ending, glob.glob)
            names = (str(path).removesuffix(PACKED).removesuffix(ending) for path in paths)
            # Reversed, so that the best form of a file is what stays.
            sides.append(dict(reversed(list(zip(names, paths, strict=True)))))
        _refuse_lonely(pattern, self.endings, [set(side) for side in sides])
        return [tuple(side[name] for side in sides) for name in sorted(sides[0])]


def find_shards(spec: str, source: str, target: str) -> list[Shard]:
    """The shards that a spec of the config names, sorted; see `nmt.data.corpus.resolve`.

    Raises:
        UserError: nothing has the name, or one side has no file; says what was looked for and what
            is there
    """
    plain = spec.removesuffix(PACKED)
    forms = ("", PACKED) if plain == spec else (PACKED, "")
    if plain.endswith(".tsv"):
        sides, names = _Sides(("",), forms), [plain]
    else:
        sides = _Sides((f".{source}", f".{target}"), forms)
        named = [plain.removesuffix(end) for end in sides.endings if plain.endswith(end)]
        names = [spec, *named]
    for name in names:
        # A name with brackets may be meant as it stands.
        if any(sides.look(name, ending, lambda path: [path]) for ending in sides.endings):
            return [sides.find(name)]
        if glob.has_magic(name) and (shards := sides.match(name)):
            return shards
    if not glob.has_magic(spec):
        return [sides.find(names[-1])]
    looked_for = " or ".join(names[-1] + ending for ending in sides.endings)
    raise UserError(f"no file matches; looked for {looked_for}, plain or {PACKED}", spec)


def _escape_folders(pattern: str) -> str:
    """The pattern, with the folders it starts with escaped where they have that very name."""
    path = Path(pattern)
    folder = next((parent for parent in path.parents if parent.is_dir()), Path())
    return str(Path(glob.escape(str(folder)), path.relative_to(folder)))


def _refuse_lonely(pattern: str, endings: tuple[str, ...], names: list[set[str]]) -> None:
    both = set.intersection(*names)
    for there, missing in zip(names, reversed(endings), strict=True):
        lonely = [name + missing for name in sorted(there - both)]
        if lonely:
            more = f" and {len(lonely) - NAMED} more" if len(lonely) > NAMED else ""
            raise UserError(
                f"{len(both)} shards have both sides, but there is no {', '.join(lonely[:NAMED])}"
                f"{more}, plain or {PACKED}; add what is missing or remove the other side",
                pattern,
            )


def _what_is_there(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder} either"
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    stem = path.name.split(".")[0]
    similar = [name for name in names if name.split(".")[0] == stem]
    similar += difflib.get_close_matches(path.name, [n for n in names if n not in similar])
    if similar:
        return f"similar there: {', '.join(similar[:5])}"
    return f"nothing similar in {folder}"
