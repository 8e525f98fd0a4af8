"""A process that has imported the commands and forks one child per case.

A command starts in hundredths of a second this way instead of seconds. Each child is a process of
its own session with its own limits, so a case may be killed, exhaust its memory or never end.
"""

import atexit
import gc
import json
import os
import resource
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from tests.campaigns import file_events

COMMANDS = {
    f"nmt-{name}": "evaluate" if name == "eval" else name
    for name in ("train", "translate", "eval", "compare", "export", "init", "plot", "serve")
}
POLL_SECONDS = 0.002


def main(requests: int, replies: int) -> None:
    """Serve requests until the other end closes; in a child, run the command and exit."""
    _import_commands()
    gc.freeze()  # otherwise the first collection in a child would copy all pages
    with os.fdopen(requests) as lines, os.fdopen(replies, "w") as answers:
        for line in lines:
            request = json.loads(line)
            child = os.fork()
            if child == 0:
                break
            print(json.dumps(_wait(child, request)), file=answers, flush=True)
        else:
            return
    try:
        _leave(_run(request))
    except SystemExit as left:
        _leave(left.code)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        _leave(1)


def _import_commands() -> None:
    """Import what commands import sooner or later; no thread may run before the first fork."""
    import nmt.cli.compare
    import nmt.cli.evaluate
    import nmt.cli.export
    import nmt.cli.init
    import nmt.cli.plot
    import nmt.cli.serve
    import nmt.cli.shared_translator
    import nmt.cli.train
    import nmt.cli.translate
    import nmt.cli.translate_io
    import nmt.evaluation.metrics
    import nmt.evaluation.samples
    import nmt.training.dry_run
    import nmt.training.run  # noqa: F401

    with suppress(ImportError):
        import torch.utils.tensorboard  # noqa: F401


def _wait(child: int, request: dict[str, Any]) -> dict[str, Any]:
    """Send the requested signals, and wait for the child until its time is over."""
    start, signals, timed_out = time.monotonic(), list(request["signals"]), False
    while True:
        seconds = time.monotonic() - start
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            break
        while signals and seconds >= signals[0][0]:
            os.kill(child, signals.pop(0)[1])
        if seconds > request["seconds"] and not timed_out:
            timed_out = True
            _kill_session(child)
        time.sleep(POLL_SECONDS)
    left = _kill_session(child)
    code = os.waitstatus_to_exitcode(status)
    return {
        "code": code,
        "timed_out": timed_out,
        "left_processes": left,
        "seconds": seconds,
        "megabytes": usage.ru_maxrss / 1024,
    }


def _kill_session(leader: int) -> bool:
    """Kill all processes of a session; return whether there was one."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return False
    except PermissionError:  # only the zombie is left
        return False
    return True


def _run(request: dict[str, Any]) -> int:
    os.setsid()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
        handle = os.open(request[name], flags, 0o644)
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(request["cwd"])
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    limit = request["megabytes"] << 20
    if request["free_megabytes"] is not None:
        limit = _address_space() + (request["free_megabytes"] << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    if request["file_bytes"] is not None:
        limit = request["file_bytes"]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.argv = [request["command"], *request["arguments"]]
    if request["faults"] is not None:
        file_events.install(file_events.Faults.from_json(request["faults"]))
    module = sys.modules[f"nmt.cli.{COMMANDS[request['command']]}"]
    code: int = module.main(request["arguments"])
    return code


def _address_space() -> int:
    """Return the size of the address space of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


def _leave(code: object) -> NoReturn:
    """Exit as the interpreter does, without seconds of taking all modules apart."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    if isinstance(code, str):
        os.write(2, f"{code}\n".encode())
    os._exit(code if isinstance(code, int) else int(code is not None))


def _ignore(number: int, frame: FrameType | None) -> None:
    """Leave the server alive when a terminal interrupts the tests; its input then closes."""


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _ignore)
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main(int(sys.argv[1]), int(sys.argv[2]))
