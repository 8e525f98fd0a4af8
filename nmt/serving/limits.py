"""Limits of a service: API keys, rates of requests, and the number of requests at a time."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from nmt.errors import UserError
from nmt.files import MIB, read_text

MAX_BUCKETS = 10_000  # clients whose rates are remembered
MIN_KEY = 8  # characters


class Refusal(Exception):
    """A request that is refused.

    Args:
        status: HTTP status
        message: what is wrong
        retry_after: seconds after which the same request may succeed
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after


class ApiKeys:
    """The keys of a file, one per line, each with an optional number of requests per minute.

    Keys are compared by their hashes, so that the time of a comparison reveals nothing about them.

    Args:
        file: text; lines that begin with # are comments

    Raises:
        UserError: if the file cannot be read, or a line is no key
    """

    def __init__(self, file: Path) -> None:
        self._rates: dict[bytes, float | None] = {}
        for number, line in enumerate(read_text(file, max_bytes=MIB).splitlines(), 1):
            fields = line.split()
            if not fields or line.startswith("#"):
                continue
            if len(fields) > 2 or len(fields[0]) < MIN_KEY:
                message = f"expected a key of at least {MIN_KEY} characters without spaces, and"
                raise UserError(f"{message} optionally requests per minute", f"{file}:{number}")
            rate = fields[1] if len(fields) == 2 else None
            if rate is not None and (not rate.isdecimal() or int(rate) == 0):
                message = "the requests per minute must be an integer of at least 1"
                raise UserError(message, f"{file}:{number}")
            self._rates[_hash(fields[0])] = None if rate is None else float(rate)
        if not self._rates:
            raise UserError("contains no key; write one per line", str(file))

    def rate(self, key: str) -> float | None:
        """Return the requests per minute of a key, None for the default; raises Refusal."""
        if not key:
            raise Refusal(403, "an API key is required; give it as api_key")
        try:
            return self._rates[_hash(key)]
        except KeyError:
            raise Refusal(403, "Invalid API key") from None


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


class _Bucket(NamedTuple):
    level: float
    time: float


class RateLimiter:
    """Requests per minute of each client, as a token bucket that holds one minute's requests.

    Args:
        clock: seconds
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[object, _Bucket] = OrderedDict()

    def take(self, client: object, per_minute: float) -> None:
        """Count a request of a client; raises Refusal if it exceeds the rate."""
        now = self._clock()
        bucket = self._buckets.pop(client, _Bucket(per_minute, now))
        level = min(per_minute, bucket.level + (now - bucket.time) * per_minute / 60)
        allowed = level >= 1
        self._buckets[client] = _Bucket(level - allowed, now)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        if not allowed:
            seconds = 1 + int((1 - level) * 60 / per_minute)
            message = f"Slowdown: {per_minute:g} requests per minute are allowed"
            raise Refusal(429, message, seconds)


class Places:
    """The requests that a service holds at a time.

    Args:
        count: maximum number
    """

    def __init__(self, count: int) -> None:
        self._count, self.taken = count, 0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Occupy a place inside the block; raises Refusal if all are taken."""
        if self.taken >= self._count:
            message = f"the service is busy with {self.taken} requests; try again later"
            raise Refusal(503, message, 1)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
