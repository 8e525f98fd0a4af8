"""Finding the files of a corpus: names, patterns of shards, and suggestions for missing files."""

import difflib
import glob
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from nmt.data.compression import FORMATS
from nmt.data.table import check_format, is_table
from nmt.errors import UserError

COMPRESSED = tuple(FORMATS)
# Maximum number of shards that an error names.
MAX_NAMED_SHARDS = 3
# Maximum number of similar names that an error lists.
MAX_SIMILAR = 5

Shard = tuple[Path, ...]
"""Files of a shard: source and target, or one table of pairs."""


def find_shards(spec: str, source: str, target: str) -> list[Shard]:
    """Find the shards that a spec names, sorted by name; see `find_corpus`.

    Raises:
        UserError: if no file matches, or a shard has only one side
    """
    compression = next((suffix for suffix in COMPRESSED if spec.endswith(suffix)), "")
    stem = spec.removesuffix(compression)
    # The compression of the spec is preferred, for files that exist in several forms.
    compressions = tuple(dict.fromkeys((compression, "", *COMPRESSED)))
    if _is_file(Path(spec)):
        check_format(spec)
    if is_table(stem):
        finder, names = _ShardFinder(("",), compressions), [stem]
    else:
        finder = _ShardFinder((f".{source}", f".{target}"), compressions)
        # "news.de" is the name of both sides if news.de.de exists, and otherwise of one side.
        names = [spec, *(stem.removesuffix(s) for s in finder.suffixes if stem.endswith(s))]
    for name in names:
        # Existing names come before patterns, since a file name may contain brackets.
        if any(finder.paths(name, suffix, lambda path: [path]) for suffix in finder.suffixes):
            return [finder.find(name)]
        if glob.has_magic(name) and (shards := finder.match(name)):
            return shards
    # No file was found, so `find` raises an error that suggests similar names.
    if not glob.has_magic(spec):
        return [finder.find(names[-1])]
    candidates = " or ".join(names[-1] + suffix for suffix in finder.suffixes)
    raise UserError(
        f"no file matches; give a pattern that matches {candidates}, plain or compressed", spec
    )


def _is_file(path: Path) -> bool:
    """Return whether a path is a regular file, as far as permissions allow to know."""
    try:
        return path.is_file()
    except PermissionError:
        return True  # reading it reports the reason
    except (OSError, ValueError):  # a name that the system refuses
        return False


class _ShardFinder(NamedTuple):
    """A search for shards by name or by pattern.

    Attributes:
        suffixes: suffixes of the files of a shard, after their common name
        compressions: suffixes of plain and compressed files, the preferred one first
    """

    suffixes: tuple[str, ...]
    compressions: tuple[str, ...]

    def paths(self, name: str, suffix: str, expand: Callable[[str], list[str]]) -> list[Path]:
        """Return the existing files of one side, those with the preferred compression first.

        Args:
            expand: returns the paths that match a pattern
        """
        paths = (Path(p) for c in self.compressions for p in expand(name + suffix + c))
        return [path for path in paths if _is_file(path)]

    def find(self, name: str) -> Shard:
        """Return the files of the shard with this name.

        Raises:
            UserError: if a file is missing
        """
        shard = []
        for suffix in self.suffixes:
            found = self.paths(name, suffix, lambda path: [path])
            if not found:
                path = Path(name + suffix)
                message = f"not found, plain or compressed; {_suggest_files(path)}"
                with suppress(OSError, ValueError):
                    if path.exists():
                        message = "is no regular file; give a text file, which is read repeatedly"
                raise UserError(message, str(path))
            shard.append(found[0])
        return tuple(shard)

    def match(self, pattern: str) -> list[Shard]:
        """Return the shards whose names match a pattern.

        Raises:
            UserError: if some of them have only one side
        """
        sides: list[dict[str, Path]] = []
        for suffix in self.suffixes:
            paths = self.paths(_escape_directories(pattern), suffix, glob.glob)
            names = (_remove_compression(path).removesuffix(suffix) for path in paths)
            # A file may exist both plain and compressed. A dict keeps the last value of a key, so
            # reversing prefers the first compression.
            sides.append(dict(reversed(list(zip(names, paths, strict=True)))))
        self._check_sides(pattern, [set(side) for side in sides])
        return [tuple(side[name] for side in sides) for name in sorted(sides[0])]

    def _check_sides(self, pattern: str, names: list[set[str]]) -> None:
        complete = set.intersection(*names)
        for present, missing_suffix in zip(names, reversed(self.suffixes), strict=True):
            missing = [name + missing_suffix for name in sorted(present - complete)]
            if missing:
                listed = ", ".join(missing[:MAX_NAMED_SHARDS])
                if len(missing) > MAX_NAMED_SHARDS:
                    listed += f" and {len(missing) - MAX_NAMED_SHARDS} more"
                raise UserError(
                    f"{len(complete)} shards have both sides, but {listed} not found, plain or "
                    "compressed; add the missing files or remove their other side",
                    pattern,
                )


def _remove_compression(path: Path) -> str:
    return str(path.with_suffix("")) if path.suffix in FORMATS else str(path)


def _escape_directories(pattern: str) -> str:
    """Escape the leading directories of a pattern that exist under their literal names."""
    # Otherwise the brackets of a directory such as "corpus [1]" would match other names.
    path = Path(pattern)
    directory = next((parent for parent in path.parents if parent.is_dir()), Path())
    return str(Path(glob.escape(str(directory)), path.relative_to(directory)))


def _suggest_files(path: Path) -> str:
    """Return files with similar names in the same directory, in words."""
    directory = path.parent
    try:
        names = sorted(entry.name for entry in directory.iterdir() if _is_file(entry))
    except (FileNotFoundError, NotADirectoryError):
        variable = "; variables such as $HOME are not expanded" if "$" in str(path) else ""
        return f"the directory {directory} does not exist{variable}; give an existing file"
    except OSError as error:
        return f"the directory {directory} cannot be read: {error.strerror}"
    stem = path.name.split(".")[0]
    # Files with the same stem come first, because often only the suffix is wrong; of several, those
    # of the same language.
    similar = [name for name in names if name.split(".")[0] == stem]
    others = [name for name in names if name not in similar]
    similar, close = (
        sorted(group, key=lambda name: path.suffix not in Path(name).suffixes)
        for group in (similar, difflib.get_close_matches(path.name, others, n=MAX_SIMILAR))
    )
    if similar or close:
        return f"similar names: {', '.join([*similar, *close][:MAX_SIMILAR])}"
    return f"nothing similar in {directory}; give an existing file"
