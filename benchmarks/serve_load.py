r"""Load test of nmt-serve: throughput, latency and memory, next to nmt-translate on the same text.

    python benchmarks/serve_load.py runs/my corpus/test.ko --requests 2000
    python benchmarks/serve_load.py runs/my corpus/test.ko --clients 64 --requests 100000

Every client sends one sentence per request, and the next one when it has the answer, which has to
equal that of nmt-translate. Clients, interface and model share the cores of the machine.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from urllib.request import urlopen

from nmt.serving.segments import Segment, split_sentences

ADDRESS = re.compile(r"listening at http://127.0.0.1:(\d+)")
SAMPLES = 10  # of the memory


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load test, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", metavar="RUN", help="run directory or bundle")
    add("text", type=Path, metavar="TEXT", help="sentences in the source language, one per line")
    add("--clients", type=int, nargs="+", default=[1, 8, 64], help="(default: 1 8 64)")
    add("--requests", type=int, default=2000, help="per number of clients (default: 2000)")
    add("--threads", type=int, default=1, help="threads of the model (default: 1)")
    options = parser.parse_args(arguments)
    lines = options.text.read_text(encoding="utf-8").splitlines()
    # nmt-translate does not divide lines of several sentences.
    lines = [line for line in lines if split_sentences(line) == [Segment("", line)]]
    sentences = [lines[number % len(lines)] for number in range(options.requests)]
    alone, translations = _translate(options, lines[: options.requests])
    expected = dict(zip(lines, translations, strict=False))
    print(f"nmt-translate: {alone:.1f} sentences per second", flush=True)
    command = [sys.executable, "-m", "nmt.cli.serve", options.model, "--port", "0"]
    server = subprocess.Popen(
        [*command, "--threads", str(options.threads)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stderr is not None
        found = (ADDRESS.search(line) for line in server.stderr)
        port = next(int(one[1]) for one in found if one)
        print("clients | sentences/s | of nmt-translate | p50 ms | p99 ms | memory MB")
        for clients in options.clients:
            asyncio.run(_load(port, server.pid, clients, expected, sentences[:100]))  # warm
            speed, times, memory = asyncio.run(
                _load(port, server.pid, clients, expected, sentences)
            )
            p99 = quantiles(times, n=100)[98] if len(times) > 1 else times[0]
            print(
                f"{clients} | {speed:.1f} | {speed / alone:.0%} | {1000 * median(times):.0f} | "
                f"{1000 * p99:.0f} | {' '.join(f'{size:.0f}' for size in memory)}",
                flush=True,
            )
    finally:
        server.terminate()
        server.wait()
    return 0


def _translate(options: argparse.Namespace, sentences: list[str]) -> tuple[float, list[str]]:
    """Return sentences per second of nmt-translate without its start, and its translations."""
    command = [sys.executable, "-m", "nmt.cli.translate", "-m", options.model]
    command += ["--threads", str(options.threads)]

    def run(text: list[str]) -> tuple[float, list[str]]:
        start = time.perf_counter()
        done = subprocess.run(
            command, input="".join(f"{one}\n" for one in text), text=True, capture_output=True
        )
        assert done.returncode == 0, done.stderr
        return time.perf_counter() - start, done.stdout.splitlines()

    start, _ = run(sentences[:1])
    seconds, translations = run(sentences)
    return (len(sentences) - 1) / (seconds - start), translations


async def _load(
    port: int, pid: int, clients: int, expected: dict[str, str], sentences: list[str]
) -> tuple[float, list[float], list[float]]:
    """Send sentences; return their number per second, the times in seconds, and memory in MB."""
    numbers, times, memory = count(), list[float](), list[float]()
    every = max(1, len(sentences) // SAMPLES)
    start = time.perf_counter()

    with urlopen(f"http://127.0.0.1:{port}/v1/models") as found:
        model = json.load(found)[0]
    languages = {"source": model["source"], "target": model["target"]}

    async def client(numbers: Iterator[int]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            if number >= len(sentences):
                break
            begin = time.perf_counter()
            answer = await _post(reader, writer, sentences[number], languages)
            times.append(time.perf_counter() - begin)
            assert answer == {"translatedText": expected[sentences[number]]}, answer
            if number % every == 0:
                memory.append(_memory(pid))
        writer.close()

    await asyncio.gather(*(client(numbers) for _ in range(clients)))
    return len(sentences) / (time.perf_counter() - start), times, memory


async def _post(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    text: str,
    languages: dict[str, str],
) -> dict[str, str]:
    body = json.dumps({"q": text, **languages}).encode()
    writer.write(
        b"POST /translate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%s" % (len(body), body)
    )
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None, head
    answer: dict[str, str] = json.loads(await reader.readexactly(int(length[1])))
    return answer


def _memory(pid: int) -> float:
    """Return the resident memory of a process and its children in MB."""
    # A thread starts the process of the model, and is its parent.
    lists = [one.read_text() for one in Path(f"/proc/{pid}/task").glob("*/children")]
    processes = [str(pid), *" ".join(lists).split()]
    pages = [int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in processes]
    return sum(pages) * 4096 / 1e6


if __name__ == "__main__":
    sys.exit(main())
