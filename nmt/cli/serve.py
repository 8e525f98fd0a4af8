"""nmt-serve: a translation service with the API of LibreTranslate."""

import argparse
import asyncio
import re
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from nmt.cli.arguments import (
    add_checkpoint,
    add_device,
    add_fast,
    add_precision,
    add_threads,
    add_trust_plugins,
    integer,
)
from nmt.cli.common import SUCCESS, Parser, run
from nmt.cli.model_process import load_model
from nmt.cli.process import limit_shape_caches
from nmt.cli.search_arguments import add_search_options
from nmt.cli.streams import complain
from nmt.errors import UserError
from nmt.parallel import usable_cores
from nmt.version import install_command

if TYPE_CHECKING:
    from nmt.serving.models import ModelSpec

NAME = "nmt-serve"
PACKAGES = ("fastapi", "fastapi_offline", "uvicorn", "multipart", "prometheus_client")
MAX_NUMBER = 1_000_000_000
MAX_WAIT = 10.0  # seconds
GRACE = 60  # seconds in which running requests may end after SIGTERM


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(NAME, lambda: _serve(_parser().parse(arguments)), memory="the number of models")


def _parser() -> Parser:
    parser = Parser(
        NAME,
        "Serve models over HTTP with the API of LibreTranslate, until SIGTERM or Ctrl-C. SIGHUP\n"
        "loads the models and the API keys again without interruption.",
        "examples:\n"
        "  nmt-serve runs/multi30k_de_en\n"
        "  nmt-serve --pair ko-en=runs/first --pair en-ko=runs/second --precision int8\n"
        "  curl -d q='Ein Mann liest.' -d source=de -d target=en localhost:5000/translate",
    )
    models = parser.add_argument_group("models")
    add = models.add_argument
    add(
        "models",
        nargs="*",
        metavar="MODEL",
        help="run directories or bundles; the first one of a pair of languages is the default",
    )
    add(
        "--pair",
        action="append",
        default=[],
        type=_pair,
        metavar="SOURCE-TARGET=MODEL",
        help="a model and its languages, such as de-en=runs/my (default: those of its training)",
    )
    add_checkpoint(models, "best, last, average or the number of an update")
    add_trust_plugins(models, "run the Python code that the runs contain")
    add = parser.add_argument_group("interface").add_argument
    add("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1)")
    add(
        "--port",
        type=integer(0, 65535),
        default=5000,
        metavar="N",
        help="port to listen at; 0 for a free one (default: 5000)",
    )
    add(
        "--cors",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="origin of pages whose scripts may use the service; * for all (default: none)",
    )
    add(
        "--api-keys",
        type=Path,
        metavar="FILE",
        help="keys of the clients, one per line, each with an optional number of requests per "
        "minute (default: no key is required)",
    )
    add = parser.add_argument_group("limits").add_argument
    number = integer(1, MAX_NUMBER)
    limits = {
        "--max-chars": (5000, "characters of a request"),
        "--max-document-chars": (1_000_000, "characters of a document that is streamed"),
        "--queue": (256, "requests that wait or run; others are refused for a moment"),
    }
    for option, (default, text) in limits.items():
        text = f"{text} (default: {default})"
        add(option, type=number, default=default, metavar="N", help=text)
    text = "requests per minute of a client, which is a key or an address (default: unlimited)"
    add("--rate", type=number, metavar="N", help=text)
    runtime = parser.add_argument_group("runtime")
    add_device(runtime, "auto uses a GPU if one is available")
    add_precision(runtime, "models", "fp32")
    add_fast(runtime)
    add_search_options(runtime, "shortlist")
    add_threads(runtime, "per model")
    runtime.add_argument(
        "--batch-wait",
        type=_seconds,
        default=0.005,
        metavar="TIME",
        help="time to wait for requests to translate together, in ms or s (default: 5ms)",
    )
    return parser


def _pair(text: str) -> tuple[tuple[str, str], str]:
    match = re.fullmatch(r"([^-=\s]+)-([^=\s]+)=(.+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected SOURCE-TARGET=MODEL, got '{text[:80]}'")
    return (match[1], match[2]), match[3]


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)(ms|s)", text)
    seconds = float(match[1]) / (1000 if match[2] == "ms" else 1) if match else MAX_WAIT + 1
    if seconds > MAX_WAIT:
        message = f"expected a time of at most {MAX_WAIT:g}s, such as 5ms, got '{text[:40]}'"
        raise argparse.ArgumentTypeError(message)
    return seconds


def _serve(arguments: argparse.Namespace) -> int:
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise UserError(f"requires {', '.join(missing)}; run {install_command('serve')}")
    specs = _specs(arguments)
    limit_shape_caches()  # inherited by the processes of the models
    import uvicorn

    with _bind(arguments.host, arguments.port) as listener:
        loop_factory = uvicorn.Config(NAME).get_loop_factory()
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_run(arguments, specs, listener))
    return SUCCESS


def _specs(arguments: argparse.Namespace) -> "list[ModelSpec]":
    """Return the models that the command line names."""
    from nmt.data.languages import language_code
    from nmt.serving.models import ModelSpec

    if not arguments.models and not arguments.pair:
        raise UserError("no model is given; give a run directory, or --pair")
    threads = arguments.threads or usable_cores()
    precision = arguments.precision or (None if arguments.fast else "fp32")

    def spec(path: str, pair: tuple[str, str] | None = None) -> ModelSpec:
        load = partial(
            load_model,
            path,
            arguments.checkpoint,
            arguments.device,
            precision,
            threads,
            arguments.trust_plugins,
            fast=arguments.fast,
            shortlist=bool(arguments.shortlist),
        )
        return ModelSpec(path, load, pair)

    named = [
        spec(path, (language_code(source) or source, language_code(target) or target))
        for (source, target), path in arguments.pair
    ]
    return [*map(spec, arguments.models), *named]


def _bind(host: str, port: int) -> socket.socket:
    """Return a socket with this address, which does not listen yet."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        with ExitStack() as stack:
            # asyncio sets TCP_NODELAY only for sockets with a protocol. Without it, the body of an
            # answer waits up to 40 ms for the acknowledgment of the head.
            listener = stack.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            stack.pop_all()
    except (OSError, UnicodeError) as error:  # the latter from a name that no domain can have
        reason = getattr(error, "strerror", None) or "no host has this name"
        message = f"cannot listen: {reason}; choose another --host or --port"
        raise UserError(message, f"{host}:{port}") from None
    return listener


async def _run(
    arguments: argparse.Namespace, specs: "list[ModelSpec]", listener: socket.socket
) -> None:
    """Load the models, and serve them until a signal."""
    import uvicorn

    from nmt.serving.app import create_app
    from nmt.serving.limits import ApiKeys
    from nmt.serving.metrics import Metrics
    from nmt.serving.models import Models
    from nmt.serving.service import Limits, Service

    def read_keys() -> ApiKeys | None:
        return None if arguments.api_keys is None else ApiKeys(arguments.api_keys)

    metrics = Metrics()
    models = Models(specs, arguments.batch_wait, metrics.observe_batch)
    limits = Limits(
        arguments.max_chars, arguments.max_document_chars, arguments.queue, arguments.rate
    )
    service = Service(models, limits, read_keys(), metrics)
    await models.load()
    config = uvicorn.Config(
        create_app(service, arguments.cors),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE,
        lifespan="off",  # the models are loaded before and closed after
    )

    async def reload() -> None:
        try:
            service.keys = read_keys()
        except UserError as error:
            complain(f"{NAME}: the API keys are kept as they were: {error}")
        await models.replace()

    tasks = set[asyncio.Task[None]]()
    if hasattr(signal, "SIGHUP"):
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, lambda: tasks.add(loop.create_task(reload())))
    for model in models:
        complain(f"{NAME}: {model.name} translates {model.source} to {model.target}")
    listener.listen(config.backlog)
    host, port = listener.getsockname()[:2]
    complain(f"{NAME}: listening at http://{f'[{host}]' if ':' in host else host}:{port}")
    # The server raises the signal that ends it once more, after the requests are finished.
    with suppress(KeyboardInterrupt):
        await uvicorn.Server(config).serve(sockets=[listener])
    await models.close()


if __name__ == "__main__":
    sys.exit(main())
