"""Output of the commands: files that appear complete at the end, standard output, and pipes.

A regular file is written under another name and renamed when the command has succeeded, so a
failing command leaves an earlier output as it was. A pipe or a device is opened at the first write.
"""

import errno
import io
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nmt.cli.streams import STANDARD_OUTPUT, output_error, standard_output
from nmt.data.compression import FORMATS
from nmt.errors import UserError

STANDARD = "-"
# Files under their temporary names, which a process that exits at once removes.
_staged_files: set[Path] = set()


class Output:
    """A destination of text."""

    def write(self, text: str) -> None:
        """Write text."""
        raise NotImplementedError

    def flush(self) -> None:
        """Pass the text on to readers of a pipe."""

    def close(self) -> None:
        """Complete the output after the last write."""

    def publish(self) -> None:
        """Give a file its name, after all outputs are complete."""

    def discard(self) -> None:
        """Remove a file that is not published."""


def open_output(name: str | Path) -> Output:
    """Return the output of this name; `-` is standard output.

    Raises:
        UserError: if the file cannot be written
    """
    if str(name) == STANDARD:
        return StandardOutput()
    return OutputFile(str(name))


@contextmanager
def publishing(outputs: Sequence[Output]) -> Iterator[None]:
    """Publish all outputs if the body succeeds, and discard them otherwise.

    Args:
        outputs: may grow in the body
    """
    try:
        yield
        for output in outputs:
            output.close()
        for output in outputs:
            output.publish()
    finally:
        for output in outputs:
            output.discard()


class StandardOutput(Output):
    """Standard output."""

    def __init__(self) -> None:
        self._stream = standard_output()

    def write(self, text: str) -> None:
        with self._errors():
            self._stream.write(text)

    def flush(self) -> None:
        with self._errors():
            self._stream.flush()

    def close(self) -> None:
        self.flush()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            raise output_error(error) from error


class OutputFile(Output):
    """A named file, compressed if its suffix is that of a compression format.

    Args:
        name: path; symbolic links are followed

    Raises:
        UserError: if the file cannot be written, here or in any method
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._path = Path(os.path.realpath(name))
        self._layers: list[Any] = []
        self._stream: io.TextIOWrapper | None = None
        self._staged: Path | None = None
        with self._errors():
            if self._is_regular() and os.access(self._path.parent, os.W_OK):
                self._staged = self._path.with_name(f".{self._path.name[:40]}.{os.getpid()}.part")
                _staged_files.add(self._staged)  # before it exists: a signal may come at any time
                self._open(self._staged)
            # Otherwise the file is opened in its place, and only when it gets its first text.

    def write(self, text: str) -> None:
        with self._errors():
            if self._stream is None:
                self._open(self._path)
            assert self._stream is not None
            self._stream.write(text)

    def flush(self) -> None:
        if self._stream is not None:
            with self._errors():
                self._stream.flush()

    def close(self) -> None:
        with self._errors():
            if self._stream is None:
                self._open(self._path)
            self._close_layers()

    def publish(self) -> None:
        if self._staged is not None:
            with self._errors():
                with suppress(FileNotFoundError):
                    os.chmod(self._staged, stat.S_IMODE(self._path.stat().st_mode))
                os.replace(self._staged, self._path)
            _staged_files.discard(self._staged)
            self._staged = None

    def discard(self) -> None:
        for stream in (self._stream, *reversed(self._layers)):
            with suppress(OSError, ValueError):
                if stream is not None:
                    stream.close()
        if self._staged is not None:
            self._staged.unlink(missing_ok=True)
            _staged_files.discard(self._staged)

    def _is_regular(self) -> bool:
        """Return whether the file can be replaced by a rename; raise OSError if not writable."""
        try:
            mode = self._path.stat().st_mode
        except FileNotFoundError:
            if not self._path.parent.is_dir():
                raise
            return True
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(self._path, os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        # /dev/stdout may lead to a regular file, to which the shell appends.
        return stat.S_ISREG(mode) and not self.name.startswith(("/dev/", "/proc/"))

    def _open(self, path: Path) -> None:
        self._layers = [path.open("wb")]
        if self._path.suffix in FORMATS:
            self._layers.append(FORMATS[self._path.suffix].writer(self._layers[0]))
        self._stream = io.TextIOWrapper(self._layers[-1], encoding="utf-8", newline="\n")

    def _close_layers(self) -> None:
        if self._stream is not None and not self._stream.closed:
            self._stream.flush()
        for layer in reversed(self._layers):
            if layer is self._layers[0] and self._staged is not None and not layer.closed:
                layer.flush()
                os.fsync(layer.fileno())  # before the rename, which may reach the disk first
            layer.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except (OSError, UserError, ValueError) as error:
            self.discard()
            if isinstance(error, UserError):
                raise UserError(error.message, self.name) from error
            reason = error.strerror if isinstance(error, OSError) else error
            raise UserError(f"cannot write: {reason}; choose another file", self.name) from error


def check_outputs(inputs: Sequence[str | Path], outputs: Mapping[str, str | Path]) -> None:
    """Raise UserError if an output is an input or part of a run, or two are the same file.

    Args:
        inputs: file names; `-` is standard input
        outputs: file names by the output that they hold; `-` is standard output
    """
    from nmt.storage.run_dir import owner  # reads configurations, for which --help does not wait

    read = {_identity(name, 0) for name in inputs}
    written: dict[object, str] = {}
    for content, name in outputs.items():
        identity = _identity(name, 1)
        location = STANDARD_OUTPUT if str(name) == STANDARD else str(name)
        if identity is None:
            continue
        if identity in read:
            raise UserError("is both input and output; choose another output file", location)
        if str(name) != STANDARD and (run := owner(Path(name))) is not None:
            raise UserError(f"is part of the run {run}; choose another output file", location)
        if identity in written:
            message = f"is the output of both {written[identity]} and {content}"
            raise UserError(f"{message}; choose another file for one", location)
        written[identity] = content


def _identity(name: str | Path, standard: int) -> object:
    """Return a value that is equal for equal files; None where sharing a file does no harm."""
    is_standard = str(name) == STANDARD
    try:
        status = os.fstat(standard) if is_standard else os.stat(name)
    except FileNotFoundError:
        return os.path.realpath(name)
    except (OSError, ValueError):
        return ("standard", standard) if is_standard else str(name)
    if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
        return status.st_dev, status.st_ino
    # Two texts mixed in one pipe are of no use, whereas the null device takes any number.
    if standard == 1 and (stat.S_ISFIFO(status.st_mode) or is_standard):
        return status.st_dev, status.st_ino, "stream"
    return None


def remove_staged_files() -> None:
    """Remove files under their temporary names that no output discards, after an interrupt."""
    for path in list(_staged_files):
        with suppress(OSError):
            path.unlink()
