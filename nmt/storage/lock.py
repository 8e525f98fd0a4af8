"""Exclusive use of a run directory: one training process per run."""

import errno
import logging
import os
import socket
import warnings
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from nmt.errors import DISK_ERRORS, UserError, file_error

log = logging.getLogger("nmt")

# Errors of writing the file; others mean that the file system has no locks.
WRITE_ERRORS = DISK_ERRORS | {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR}


class RunLock:
    """The lock of a run directory, held while the run is trained.

    The operating system releases it when the process ends, however it ends. A context manager,
    which releases it.
    """

    def __init__(self) -> None:
        self._file: Path | None = None
        self._lock: FileLock | None = None

    def acquire(self, file: Path) -> None:
        """Lock a file, which names the owner while the lock is held; release the previous one.

        A file system without locks is warned about, and nothing is locked.

        Raises:
            UserError: another process holds the lock, or the file cannot be written
        """
        lock = FileLock(file, timeout=0)
        try:
            with warnings.catch_warnings():
                # filelock warns before it falls back to a file that a killed process leaves locked.
                warnings.simplefilter("error")
                lock.acquire()
        except Timeout:
            raise UserError(
                f"is being trained by {_owner(file)}; wait until it ends, or choose another --run",
                str(file.parent),
            ) from None
        except (OSError, NotImplementedError, UserWarning) as error:
            if isinstance(error, OSError) and error.errno in WRITE_ERRORS:
                raise file_error(error, file) from error
            log.warning(
                "%s: this file system has no locks (%s); do not train the run twice at once",
                file.parent,
                error,
            )
            return
        self.release()
        self._file, self._lock = file, lock
        with suppress(OSError):  # the owner is only for the message of another process
            file.write_text(f"process {os.getpid()} on host {socket.gethostname()}\n")

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._lock is None or self._file is None:
            return
        with suppress(OSError):
            if self._file.exists():
                self._file.write_text("")
        self._lock.release()
        self._file = self._lock = None

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def _owner(file: Path) -> str:
    """Return the owner that a lock file names."""
    with suppress(OSError, UnicodeDecodeError):
        return file.read_text(encoding="utf-8").strip() or "another process"
    return "another process"
