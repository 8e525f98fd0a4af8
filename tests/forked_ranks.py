"""The job of torchrun, with processes that are forked after the imports that they share.

    python -m tests.forked_ranks PROCESSES RESTARTS MODULE [ARGUMENTS]

Agent, rendezvous, restarts and environment are those of torchrun, which would start an interpreter
and import everything once per process and start.
"""

import sys
from importlib import import_module
from uuid import uuid4

from torch.distributed.elastic.multiprocessing.errors import record
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from nmt.cli import common

# Modules that are imported only when they are needed; DDP needs the last one.
IMPORTS = {
    "nmt.cli.translate": ["nmt.cli.translate_io"],
    "nmt.cli.train": ["nmt.training.run", "torch._dynamo"],
}


def _run(module: str, *arguments: str) -> None:
    sys.argv = [module, *arguments]
    # multiprocessing has replaced it.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    # Not by `os._exit`, since torch waits for a value that each process returns.
    setattr(common, "end_rank", sys.exit)  # noqa: B010 (imported there)
    # torch takes the exit code None for a failure without an error.
    sys.exit(import_module(module).main(list(arguments)) or 0)


@record
def _main(processes: str, restarts: str, module: str, *arguments: str) -> None:
    for shared in (module, *IMPORTS.get(module, ["torch._dynamo"])):
        import_module(shared)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=int(processes),
        run_id=str(uuid4()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=int(restarts),
        start_method="fork",
    )
    elastic_launch(config, _run)(module, *arguments)


if __name__ == "__main__":
    _main(*sys.argv[1:])
