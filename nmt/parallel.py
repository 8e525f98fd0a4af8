"""Worker processes that compute results in order.

The processes are started rather than forked, because forking would copy a process that has threads,
and not by `multiprocessing`, which would import the main program again. Each has a session of its
own, so that Ctrl-C does not reach it, and exits when this process ends in any way: its standard
input is a pipe that nothing is written to, and that the system closes then.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Generic, NoReturn, TypeVar

from nmt.errors import UserError, is_out_of_memory

Item = TypeVar("Item")
Result = TypeVar("Result")
Resource = TypeVar("Resource")


def usable_cores() -> int:
    """Return the number of CPU cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Worker(Generic[Item, Result]):
    """A process that applies a function to one item after the other.

    Args:
        function: a picklable callable
        option: the option that sets the number of workers, for the error when memory is short

    Raises:
        UserError: raised by the function, or the process was killed
    """

    def __init__(self, function: Callable[[Item], Result], option: str) -> None:
        self._option = option
        self._connection, remote_end = Pipe()
        with remote_end:
            handle = remote_end.fileno()
            # Without -P, a file in the current directory could shadow a module.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(handle)],
                pass_fds=[handle],
                stdin=subprocess.PIPE,
                start_new_session=True,
                # One thread, because as many workers run as cores, unless the function sets more.
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
            )
        self._send(function)

    def submit(self, item: Item) -> None:
        """Send the next item; the result of the previous one must have been received."""
        self._send(item)

    def result(self) -> Result:
        """Return the result of the submitted item, waiting until it is available."""
        try:
            received = self._connection.recv()
        except (EOFError, OSError):
            self._raise_exit()
        if isinstance(received, MemoryError):
            raise UserError(f"out of memory; use fewer workers ({self._option})")
        if isinstance(received, UserError):
            raise received
        result: Result = received
        return result

    def kill(self) -> None:
        """Kill the process, also while another thread waits for its result."""
        self._process.kill()

    def close(self) -> None:
        """Close the connection and kill the process."""
        self._connection.close()
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _send(self, value: object) -> None:
        try:
            self._connection.send(value)
        except OSError:
            self._raise_exit()

    def _raise_exit(self) -> NoReturn:
        code = self._process.wait()
        # A negative code is the number of the signal that ended the process.
        if code >= 0:
            raise RuntimeError("a worker process has failed; see its traceback above")
        raise UserError(
            f"a worker process was killed by {signal.Signals(-code).name}, possibly for lack of "
            f"memory; use fewer workers ({self._option})"
        )


def map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], processes: int
) -> Generator[Result, None, None]:
    """Yield a function's results for the items in order, computed by several processes.

    Each process has one item at a time and receives the next when its result is collected, so the
    number of items in memory is bounded. A failure ends all processes.

    Args:
        function: a picklable callable
        items: read only as processes become free
        processes: maximum number of processes, at least 1

    Raises:
        UserError: raised by the function, or a process was killed
    """
    workers: list[Worker[Item, Result]] = []
    submitted = 0
    try:
        for item in items:
            # Round robin: the worker of this item is the one with the oldest result.
            number, submitted = submitted % processes, submitted + 1
            if submitted <= processes:
                workers.append(Worker(function, "training.threads"))
                workers[number].submit(item)
            else:
                result = workers[number].result()
                workers[number].submit(item)
                yield result
        for number in range(max(0, submitted - processes), submitted):
            yield workers[number % processes].result()
    finally:
        for worker in workers:
            worker.close()


Job = Callable[[Resource, list[Item]], Sequence[Result]]
"""Computes a result per item from a resource and items."""

# A job of any types, and its items.
_JobMessage = tuple[Callable[..., object], object]


class WorkerPool(Generic[Resource]):
    """Processes that share lists of items with this one, each with a resource such as a model.

    The processes create their resource as soon as they start. Use the pool as a context manager.

    Args:
        create: picklable callable that creates the resource
        workers: number of processes besides this one
        option: the option that sets the number of workers, for the error when memory is short
    """

    def __init__(self, create: Callable[[], Resource], workers: int, option: str) -> None:
        self._create, self._option, self._count = create, option, workers
        # The processes run jobs of different types one after the other.
        self._workers: list[Worker[_JobMessage | None, Any]] = []
        self._exit_stack = ExitStack()

    def __len__(self) -> int:
        return self._count

    def __enter__(self) -> "WorkerPool[Resource]":
        with self._exit_stack as stack:
            for _ in range(self._count):
                worker = Worker(_JobRunner(self._create), self._option)
                self._workers.append(stack.enter_context(closing(worker)))
                # No job yet: the processes create their resources at the same time.
                worker.submit(None)
            self._exit_stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._exit_stack.close()

    def wait_until_ready(self) -> None:
        """Wait until every process has its resource.

        Raises:
            UserError: raised by the creation of the resource, or a process was killed
        """
        for worker in self._workers:
            worker.result()

    def map(
        self, job: "Job[Resource, Item, Result]", resource: Resource, items: list[Item]
    ) -> list[Result]:
        """Return a job's results for items, of which each process computes every n-th.

        Args:
            job: picklable callable
            resource: this process's own
            items: picklable items
        """
        # Every n-th item rather than consecutive ones: neighbors of sorted items take equal time.
        stride = 1 + len(self._workers)
        # Of fewer items than processes, the last processes get none.
        busy = self._workers[: len(items) - 1]
        for offset, worker in enumerate(busy, 1):
            worker.submit((job, items[offset::stride]))
        shares = [job(resource, items[::stride])]
        shares += [worker.result() for worker in busy]
        return [shares[number % stride][number // stride] for number in range(len(items))]


class _JobRunner(Generic[Resource]):
    """The function of a pool's workers: creates the resource once, then runs jobs on it."""

    def __init__(self, create: Callable[[], Resource]) -> None:
        self._create = create
        self._resource: Resource | None = None

    def __call__(self, message: "_JobMessage | None") -> Any:
        if self._resource is None:
            self._resource = self._create()
        if message is None:
            return None  # only the resource was requested
        job, items = message
        return job(self._resource, items)


def _exit_with_parent() -> None:
    """End this process when the parent's end of standard input closes, even if it was killed."""

    def wait() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _serve(connection: Connection) -> None:
    """Apply the first received object, a function, to all later ones until the connection ends."""
    try:
        function = connection.recv()
        while True:
            item = connection.recv()
            try:
                connection.send(function(item))
            except UserError as error:
                connection.send(error)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                connection.send(MemoryError())
    except (EOFError, ConnectionError):
        return


if __name__ == "__main__":
    # Before the first message, which imports torch for many seconds on a busy machine.
    _exit_with_parent()
    _serve(Connection(int(sys.argv[1])))
