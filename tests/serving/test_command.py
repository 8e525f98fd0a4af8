"""nmt-serve as a real process, with the clients of other packages."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from nmt.cli.serve import _bind
from nmt.search.translator import Translator
from tests.conftest import start_command

pytest.importorskip("fastapi")

ADDRESS = re.compile(r"listening at http://(\S+):(\d+)")


@pytest.fixture(scope="module")
def process(
    trained: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Popen[str], int]]:
    """The service of the tiny model, and its port."""
    folder = tmp_path_factory.mktemp("serve")
    started = start_command(
        *("serve", trained, "--port", 0, "--threads", 1),
        cwd=folder,
        environment={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert started.stderr is not None
    try:
        lines = iter(started.stderr.readline, "")
        port = next((int(found[2]) for line in lines if (found := ADDRESS.search(line))), 0)
        assert port
        yield started, port
    finally:
        started.kill()
        started.communicate()


def post(port: int, path: str, **body: Any) -> Any:
    """Return the answer to JSON."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_clients_of_libretranslate_work_as_they_are(
    process: tuple[Popen[str], int], translator: Translator
) -> None:
    port = process[1]
    expected = translator("Ein Mann liest.").text
    libretranslatepy = pytest.importorskip("libretranslatepy")
    client = libretranslatepy.LibreTranslateAPI(f"http://127.0.0.1:{port}")
    assert client.translate("Ein Mann liest.", "de", "en") == expected
    assert client.languages()[0]["code"] == "de"
    assert client.detect("Ein Mann liest.")[0]["language"] == "de"
    deep_translator = pytest.importorskip("deep_translator")
    other = deep_translator.LibreTranslator(
        source="de", target="en", api_key="none", custom_url=f"http://127.0.0.1:{port}/"
    )
    assert other.translate_batch(["Ein Mann liest."]) == [expected]


def test_hang_up_replacement_and_end(
    process: tuple[Popen[str], int], translator: Translator
) -> None:
    started, port = process
    given = {"q": "Ein Mann liest.", "source": "de", "target": "en"}
    expected = {"translatedText": translator(given["q"]).text}
    body = json.dumps(given | {"q": [given["q"]] * 200}).encode()
    lines = ("host: x", "content-type: application/json", f"content-length: {len(body)}")
    head = "\r\n".join(["POST /translate HTTP/1.1", *lines])
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(f"{head}\r\n\r\n".encode() + body)
    assert post(port, "/translate", **given) == expected
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        metrics = answer.read().decode()
    assert "\nnmt_queue 0.0" in metrics
    assert 'path="/translate",status="499"' in metrics

    started.send_signal(signal.SIGHUP)
    assert started.stderr is not None
    assert "replaced by the model" in started.stderr.readline()
    assert post(port, "/translate", **given) == expected

    answers: list[Any] = []
    many = [given["q"]] * 150
    asking = threading.Thread(
        target=lambda: answers.append(post(port, "/translate", **given | {"q": many}))
    )
    asking.start()
    while post_queue(port) < 1 and asking.is_alive():
        pass
    started.send_signal(signal.SIGTERM)
    asking.join()
    out, err = started.communicate()
    assert answers == [{"translatedText": [expected["translatedText"]] * 150}]
    assert (started.returncode, out, err) == (0, "", "")


def post_queue(port: int) -> float:
    """Return the number of requests that wait or run."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        found = re.search(r"^nmt_queue (\S+)", answer.read().decode(), re.M)
    assert found is not None
    return float(found[1])


def test_mistakes_end_the_start_with_one_line(trained: Path, tmp_path: Path) -> None:
    from nmt.cli import serve
    from tests.commands import call

    (tmp_path / "keys").write_text("short\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments, message in (
            ([], "no model is given"),
            (["--pair", "de=runs/x"], "expected SOURCE-TARGET=MODEL"),
            ([trained, "--batch-wait", "5"], "such as 5ms"),
            ([trained, "--host", "a" * 70], ":5000: cannot listen: no host"),
            ([trained, "--port", port], f"127.0.0.1:{port}: cannot listen"),
            ([trained, "--port", 0, "--api-keys", tmp_path / "keys"], "keys:1: expected a key"),
        ):
            assert message in call(serve.main, *arguments).complaint


def test_answers_are_sent_without_delay() -> None:
    async def delays() -> int:
        connected: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        with _bind("127.0.0.1", 0) as listener:
            server = await asyncio.start_server(
                lambda _, writer: connected.put(writer), sock=listener
            )
            _, client = await asyncio.open_connection(*listener.getsockname())
            writer = await connected.get()
            own = writer.get_extra_info("socket")
            option: int = own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            for one in (client, writer):
                one.close()
                await one.wait_closed()
            server.close()
            await server.wait_closed()
            return option

    assert asyncio.run(delays())
