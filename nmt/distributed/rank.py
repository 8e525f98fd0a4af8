"""The rank of this process in a job, as torchrun describes it."""

import os
from dataclasses import dataclass

from nmt.errors import UserError

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RESTART_COUNT")


@dataclass(frozen=True)
class RankInfo:
    """The position of a process among the processes of its job.

    Attributes:
        rank: number of this process, from 0
        world_size: number of processes
        local_rank: number of this process on its machine, from 0
        restart_count: number of times that torchrun has restarted the job
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    restart_count: int = 0

    @classmethod
    def from_environment(cls) -> "RankInfo":
        """Read torchrun's variables; without torchrun, return the rank of a single process."""
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return SINGLE_PROCESS
        return cls(*(int(os.environ[name]) for name in VARIABLES))

    @property
    def is_first(self) -> bool:
        """Return whether this is rank 0, which writes files and reports."""
        return self.rank == 0

    def require_single_process(self, subject: str) -> None:
        """Raise UserError if the job has several processes.

        Args:
            subject: command or options that run in one process, for the message
        """
        if self.world_size > 1:
            raise UserError(f"{subject}: requires a single process; run it without torchrun")


SINGLE_PROCESS = RankInfo()
