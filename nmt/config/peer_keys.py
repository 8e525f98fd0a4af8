"""Reading of a config of another toolkit, with a record of the keys that have been converted."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from nmt.config.yaml_source import Key, leaves, read_yaml
from nmt.errors import UserError, printable


class PeerKeys:
    """The keys of a config, and a record of those that have been converted.

    Args:
        file: the config
        output: the experiment file to be, whose folder relative paths refer to

    Attributes:
        notes: notes about keys whose effect differs or is missing
    """

    def __init__(self, file: Path, output: Path) -> None:
        self.tree, self.file, self.output = read_yaml(file), file, output
        self.used: set[Key] = set()
        self.notes: list[str] = []

    def has(self, dotted: str) -> bool:
        """Return whether a key exists."""
        return self.tree.get(tuple(dotted.split("."))) is not None

    def take(self, dotted: str, default: Any = None) -> Any:
        """Return the value of a key, which counts as converted."""
        key = tuple(dotted.split("."))
        self.used.add(key)
        value = self.tree.get(key)
        return default if value is None else value

    def number(self, dotted: str, default: float | int) -> float | int:
        """Return the value of a key that must be a number."""
        value = self.take(dotted, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(dotted, f"must be a number, got {printable(str(value))}")
        return value

    def error(self, dotted: str, message: str) -> UserError:
        """Return an error about a key, at its line."""
        return UserError(f"{dotted}: {message}", self.tree.location(tuple(dotted.split("."))))

    def note(self, dotted: str, message: str) -> None:
        """Record that the effect of a key differs or is missing."""
        self.notes.append(f"{dotted}: {message}")

    def finish(self, harmless: Collection[str]) -> list[str]:
        """Return the notes, with one per key that was not converted.

        Args:
            harmless: last names of keys that need no counterpart
        """
        for key, value in leaves(self.tree.values):
            is_used = any(key[: len(one)] == one for one in self.used)
            if not is_used and key[-1] not in harmless and value is not None:
                self.note(".".join(key), "has no counterpart and is left out")
        return self.notes

    def path(self, dotted: str, *suffixes: str) -> str | None:
        """Return the file of a key, relative to the experiment; None without one."""
        value = self.take(dotted)
        if value is None:
            return None
        name = Path(os.path.expanduser(str(value)))
        # Toolkits start in a folder of their own, which may be above that of the config.
        folders = [Path(), *self.file.resolve().parents[:4]]
        found = (
            folder / name
            for folder in folders
            for end in suffixes or ("",)
            if Path(f"{folder / name}{end}").exists()
        )
        path = next(found, None)
        if path is None:
            self.note(dotted, f"{name} is not found; correct the name in the experiment")
        return os.path.relpath(path or name, self.output.parent)
