"""How the processes of a job connect, each time torchrun starts them."""

import os
import socket
import time
from datetime import timedelta

# Where torch.distributed imports these classes from.
from torch._C._distributed_c10d import Store, TCPStore
from torch.distributed import DistError
from torch.distributed.rendezvous import rendezvous

from nmt.distributed.rank import RankInfo

JOIN_TIMEOUT = timedelta(minutes=30)  # until the slowest process has started
CONNECT_TIMEOUT = timedelta(seconds=5)
RETRY_SECONDS = 0.2
PORT_KEY = "nmt/port"


def open_store(info: RankInfo) -> Store:
    """Return a key-value store of this start of the job, for creating a process group.

    torchrun's own store outlives a restart and keeps the addresses of processes that have died,
    which gloo would wait for. Therefore rank 0 opens a new store and publishes its port in
    torchrun's; the other ranks read the port again until a process answers there.
    """
    agent_store, _, _ = next(iter(rendezvous("env://")))
    agent_store.set_timeout(JOIN_TIMEOUT)
    host = os.environ["MASTER_ADDR"]
    if info.is_first:
        store = TCPStore(host, 0, None, True, JOIN_TIMEOUT, wait_for_workers=False)
        agent_store.set(PORT_KEY, str(store.port))
        return store
    deadline = time.monotonic() + JOIN_TIMEOUT.total_seconds()
    while True:
        port = int(agent_store.get(PORT_KEY))
        try:
            # At a port where no process listens, TCPStore would retry for all of its timeout.
            socket.create_connection((host, port), CONNECT_TIMEOUT.total_seconds()).close()
            store = TCPStore(host, port, None, False, CONNECT_TIMEOUT, wait_for_workers=False)
        except (OSError, DistError):
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_SECONDS)
            continue
        store.set_timeout(JOIN_TIMEOUT)
        return store
