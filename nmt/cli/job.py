"""A command as one of the processes, the ranks, of a job that torchrun started."""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

from nmt.errors import UserError

if TYPE_CHECKING:
    from nmt.training.ranks import Ranks

FAULT, INTERRUPTION = 1, 130
PATIENCE = 3.0  # seconds in which torchrun, looking ten times a second, ends the rest of a job
# Seconds for those who lost another: it closes its connections first, and torchrun sees it leave
# last, which takes its time on a busy machine.
PATIENCE_OF_THE_LOST = 10.0
LEAVING = 30  # seconds that leaving may take where others no longer answer


class Rank(NamedTuple):
    """Where this process stands among those of its job.

    Attributes:
        number: of this process, from 0
        total: of processes
        local: number of this process on its machine
        restarts: how often torchrun has started the job again
    """

    number: int = 0
    total: int = 1
    local: int = 0
    restarts: int = 0

    @classmethod
    def here(cls) -> "Rank":
        """By the variables that torchrun sets; without them, a process by itself."""
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return cls()
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RESTART_COUNT")
        return cls(*(int(os.environ[name]) for name in names))

    def refuse_others(self, what: str) -> None:
        """Raise UserError when there are several processes, for what is done by one."""
        if self.total > 1:
            raise UserError(f"{what} is the work of one process; leave out torchrun")

    def joined(self, device: str) -> AbstractContextManager["Ranks"]:
        """All processes of the job on such devices; see `nmt.training.ranks.joined`."""
        from nmt.data.stream import Share
        from nmt.training.ranks import joined

        return joined(Share(self.number, self.total), local=self.local, device=device)


def as_rank(name: str, rank: Rank, command: Callable[[], int]) -> Callable[[], int]:
    """A command that is one process of several, of which torchrun ends all when one has failed.

    All may meet the same, such as a mistake in a config: those after the first wait to be ended
    before they would tell it once more. So does whoever finds no more than that another has gone.
    """
    # C++ would warn, in each process, that all parameters were used (nmt/training/ranks.py); torch
    # reads this when it is imported, and what comes through Python is warned of all the same.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

    def run() -> int:
        try:
            return command()
        except BrokenPipeError:
            raise
        except KeyboardInterrupt:
            if rank.number == 0:
                raise
            return INTERRUPTION
        except BaseException as error:
            signal.alarm(LEAVING)
            lost = not isinstance(error, UserError) and _is_loss_of_others(error)
            if rank.number or lost:
                _wait_for_the_end(PATIENCE_OF_THE_LOST if lost else PATIENCE)
            if lost:
                print(f"{name}: the others of the job have gone: {error}", file=sys.stderr)
                return FAULT
            _record(error)
            raise

    return run


def _is_loss_of_others(error: BaseException) -> bool:
    from nmt.training.ranks import is_loss_of_others

    return is_loss_of_others(error)


def _wait_for_the_end(seconds: float) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # what torchrun sends, to leave without a word
    time.sleep(seconds)


def _record(error: BaseException) -> None:
    """Tell torchrun the reason, for its own last words."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    get_error_handler().record_exception(error)
