"""Work that is handed to other processes and comes back in order.

The processes are started afresh rather than forked, which would copy a process with threads, and
not by `multiprocessing`, which would run the main program again. They stand in sessions of their
own, so Ctrl-C does not reach them, and leave when this process does: then their connection ends.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NoReturn, TypeVar

from nmt.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], processes: int
) -> Generator[Result, None, None]:
    """The function's results for the items, in their order, by so many processes.

    A process has one item at a time, and gets its next when its result is collected: what waits in
    memory is bounded. A failure ends all of them.

    Args:
        function: of a module, maybe with arguments filled in by functools.partial
        processes: at least 1; fewer are started where there are fewer items

    Raises:
        UserError: that the function raised, or a process was ended from outside
    """
    workers: list[Worker] = []
    asked = 0
    try:
        for item in items:
            number, asked = asked % processes, asked + 1
            if asked <= processes:
                workers.append(Worker(function, "training.threads"))
                workers[number].ask(item)
            else:
                answer = workers[number].answer()
                workers[number].ask(item)
                yield answer
        for number in range(max(0, asked - processes), asked):
            yield workers[number % processes].answer()
    finally:
        for worker in workers:
            worker.close()


class Worker:
    """A process that applies a function to one item after the other.

    Args:
        function: of a module, maybe with arguments filled in by functools.partial
        option: by which a user sets how many run, to be named where memory is short

    Raises:
        UserError: that the function raised, or the process was ended from outside
    """

    def __init__(self, function: Callable[[Any], Any], option: str) -> None:
        self.option = option
        self.connection, theirs = Pipe()
        with theirs:
            number = theirs.fileno()
            # Without -P, a file in the current folder could stand for a module.
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(number)],
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
            )
        self.ask(function)

    def ask(self, item: Any) -> None:
        """Hand it its next item; it must have answered for the one before."""
        try:
            self.connection.send(item)
        except OSError:
            self._lost()

    def answer(self) -> Any:
        """Its result for the item that it was asked; waits for it."""
        try:
            result = self.connection.recv()
        except (EOFError, OSError):
            self._lost()
        if isinstance(result, UserError):
            raise result
        return result

    def _lost(self) -> NoReturn:
        code = self.process.wait()
        if code >= 0:
            raise RuntimeError("a worker process has failed; its traceback stands above")
        raise UserError(
            f"a worker process was ended by {signal.Signals(-code).name}, maybe for want of "
            f"memory; let fewer run, by {self.option}"
        )

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self.connection.close()
        self.process.kill()
        self.process.wait()


def _work(connection: Connection) -> None:
    """Apply the function that comes first to what comes after it, until nothing comes."""
    try:
        function = connection.recv()
        while True:
            item = connection.recv()
            try:
                connection.send(function(item))
            except UserError as error:
                connection.send(error)
    except (EOFError, ConnectionError):
        return


if __name__ == "__main__":
    _work(Connection(int(sys.argv[1])))
