"""Where the processes of a job find one another, each time torchrun starts them."""

import os
import socket
import time
from datetime import timedelta

from torch._C._distributed_c10d import Store, TCPStore  # where torch.distributed has them from
from torch.distributed import DistError
from torch.distributed.rendezvous import rendezvous

from nmt.data.stream import Share

WAITING = timedelta(minutes=30)  # for the slowest process to come
TRYING = timedelta(seconds=5)  # for an answer at a port that was found
KEY = "nmt/port"


def meet(share: Share) -> Store:
    """A store of this start alone, by which a process group can be made.

    torchrun's own store outlives a restart and keeps the addresses of processes that have died,
    which gloo would wait for. So the first process opens a store of its own and leaves only its
    port there; the others ask again while nobody answers at the port that they found.
    """
    agents, _, _ = next(iter(rendezvous("env://")))
    agents.set_timeout(WAITING)
    host = os.environ["MASTER_ADDR"]
    if share.number == 0:
        own = TCPStore(host, 0, None, True, WAITING, wait_for_workers=False)
        agents.set(KEY, str(own.port))
        return own
    until = time.monotonic() + WAITING.total_seconds()
    while True:
        port = int(agents.get(KEY))
        try:
            # Where nobody listens, a store would knock for all of TRYING.
            socket.create_connection((host, port), TRYING.total_seconds()).close()
            found = TCPStore(host, port, None, False, TRYING, wait_for_workers=False)
        except (OSError, DistError):
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
            continue
        found.set_timeout(WAITING)
        return found
