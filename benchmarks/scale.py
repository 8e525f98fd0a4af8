r"""Simulate the ranks of a training on a text of tens of millions of pairs, with a null model.

    python benchmarks/scale.py --pairs 50000000 --ranks 8
    python benchmarks/scale.py --pairs 50000000 --ranks 8 --bucket-pairs 1000000 --update-ms 10

The token cache consists of random ids, with lengths like those of news texts, and takes 7 GB. Each
simulated rank is a process of its own, one after another, that reads its batches as a rank of
`nmt-train` does and ignores them. The same cache serves every start.
"""

import argparse
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nmt.cpu_tuning import keep_freed_memory
from nmt.data.loader import BatchLoader, Position
from nmt.data.special_tokens import SpecialTokens
from nmt.data.token_corpus import (
    Array,
    FilterStats,
    RaggedIds,
    TokenArrays,
    TokenArrayWriter,
    TokenCorpus,
)
from nmt.distributed.rank import RankInfo
from nmt.prefetch import prefetch

VOCABULARY = 32_000
CHUNK_PAIRS = 500_000  # pairs that are generated at once
POLL_SECONDS = 0.02


class Rank(NamedTuple):
    """Measurements of one simulated rank.

    Attributes:
        first: seconds until the first batch
        next_epoch: seconds of the wait for the first batch of the next epoch
        longest: seconds of the longest wait for any other batch after the first
        batches: batches per second, without a model
        planned: bytes of memory that belong to this process alone, at their peak
    """

    first: float
    next_epoch: float
    longest: float
    batches: float
    planned: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the simulation, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--pairs", type=int, default=50_000_000, help="(default: 50000000)")
    add("--ranks", type=int, default=8, help="ranks of the job (default: 8)")
    add("--measured", type=int, nargs="+", default=[0], help="simulated ranks (default: 0)")
    add("--bucket-pairs", type=int, help="training.bucket_pairs (default: a whole epoch)")
    add("--batch-tokens", type=int, default=4000, help="training.batch_tokens (default: 4000)")
    add("--updates", type=int, default=2000, help="updates to measure (default: 2000)")
    add("--update-ms", type=float, default=10.0, help="duration of an update (default: 10)")
    add("--work", type=Path, default=Path("build/scale"), help="(default: build/scale)")
    options = parser.parse_args(arguments)
    folder = make_corpus(options.work, options.pairs)
    print("rank | first batch s | next epoch s | longest other wait s | batches/s | memory MB")
    for rank in options.measured:
        # A process per rank, whose memory starts from nothing.
        with get_context("spawn").Pool(1) as pool:
            one = pool.apply(
                simulate,
                (folder, RankInfo(rank, options.ranks), options.bucket_pairs),
                {
                    "batch_tokens": options.batch_tokens,
                    "updates": options.updates,
                    "seconds": options.update_ms / 1000,
                },
            )
        print(
            f"{rank} | {one.first:.2f} | {one.next_epoch:.2f} | {one.longest:.2f} | "
            f"{one.batches:.0f} | {one.planned / 1e6:.0f}",
            flush=True,
        )


def make_corpus(work: Path, pairs: int) -> Path:
    """Write a token cache of random ids, once, and return its folder."""
    folder = work / f"pairs-{pairs}"
    if (folder / "whole").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    streams = {name: (folder / f"{name}.npy").open("wb") for name in TokenArrays._fields}
    writer = TokenArrayWriter(streams, (VOCABULARY, VOCABULARY))
    for first in range(0, pairs, CHUNK_PAIRS):
        count = min(CHUNK_PAIRS, pairs - first)
        targets = generator.lognormal(3.2, 0.6, count)
        sources = targets * generator.lognormal(0.0, 0.2, count)
        writer.append(
            _random_sentences(generator, sources),
            _random_sentences(generator, targets),
            np.arange(first, first + count),
        )
    writer.finish()
    for stream in streams.values():
        stream.close()
    (folder / "whole").touch()
    return folder


def _random_sentences(generator: np.random.Generator, lengths: Array) -> RaggedIds:
    lengths = np.clip(np.rint(lengths), 1, 100).astype(np.int64)
    ids = generator.integers(3, VOCABULARY, int(lengths.sum()), dtype=np.uint16)
    return RaggedIds(ids, lengths)


def simulate(
    folder: Path,
    rank: RankInfo,
    bucket_pairs: int | None,
    *,
    batch_tokens: int,
    updates: int,
    seconds: float,
) -> Rank:
    """Read the batches of a rank: at the start of an epoch, and from one epoch into the next.

    Args:
        folder: the token cache
        rank: the simulated rank
        bucket_pairs: pairs of a bucket; None for a whole epoch
        batch_tokens: size of a batch
        updates: updates to read at the start, and half as many before the end of the epoch
        seconds: duration of an update
    """
    keep_freed_memory()
    arrays = TokenArrays(
        *(np.load(folder / f"{name}.npy", mmap_mode="r") for name in TokenArrays._fields)
    )
    pairs, special = len(arrays.lines), SpecialTokens(0, 1, 2)
    corpus = TokenCorpus(arrays, FilterStats(read=pairs, kept=pairs), "", "")
    loader = BatchLoader(
        lambda _: corpus,
        (special, special),
        batch_tokens=batch_tokens,
        batch_sentences=None,
        bucket_pairs=bucket_pairs,
        seed=1,
    )
    with _peak_private_memory() as peak:
        started = time.perf_counter()
        stream = loader.updates(Position(0, 0), rank.world_size, rank)
        next(stream)
        first = time.perf_counter() - started
        started = time.perf_counter()
        for _ in islice(stream, updates):
            pass
        speed = updates / (time.perf_counter() - started)
        # The thread reads ahead while the null model spends the time of an update.
        start = _near_the_end(loader, rank.world_size, updates // 2)
        longest = next_epoch = 0.0
        with closing(prefetch(loader.updates(start, rank.world_size, rank))) as prefetched:
            position = next(prefetched).next_position
            while position.epoch == 0 or position.batch < updates * rank.world_size // 2:
                starts_epoch = position == Position(1, 0)
                time.sleep(seconds)
                started = time.perf_counter()
                position = next(prefetched).next_position
                waited = time.perf_counter() - started
                if starts_epoch:
                    next_epoch = waited
                else:
                    longest = max(longest, waited)
    return Rank(first, next_epoch, longest, speed, peak[0])


def _near_the_end(loader: BatchLoader, size: int, updates: int) -> Position:
    """Return a position so many updates before the end of the first epoch."""
    buckets = loader.count_buckets(0)
    batches = sum(len(loader.plan(0, bucket)[1]) for bucket in range(buckets))
    return Position(0, max(0, batches // size - updates) * size)


@contextmanager
def _peak_private_memory() -> Iterator[list[int]]:
    """Measure the largest growth of the memory that no file backs, in bytes, inside the block."""
    before, peak, is_done = _private_memory(), [0], threading.Event()

    def poll() -> None:
        while not is_done.wait(POLL_SECONDS):
            peak[0] = max(peak[0], _private_memory() - before)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield peak
    finally:
        is_done.set()
        thread.join()


def _private_memory() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("RssAnon:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main()
