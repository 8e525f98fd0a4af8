"""Metrics of a service in the format of Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SENTENCES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Counters of requests, sentences and rounds; no metric contains text or keys of clients."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "nmt_requests", "HTTP requests", ["path", "status"], registry=registry
        )
        self._seconds = Histogram(
            "nmt_request_seconds",
            "Time to the end of an HTTP request",
            ["path"],
            buckets=SECONDS,
            registry=registry,
        )
        self._sentences = Counter(
            "nmt_sentences", "Translated sentences", ["model"], registry=registry
        )
        self._batches = Histogram(
            "nmt_batch_sentences",
            "Sentences that are translated together",
            ["model"],
            buckets=SENTENCES,
            registry=registry,
        )
        self._queue = Gauge("nmt_queue", "Requests that wait or run", registry=registry)

    def watch_queue(self, count: Callable[[], int]) -> None:
        """Report the number of requests that a function returns."""
        self._queue.set_function(lambda: float(count()))

    def observe_request(self, path: str, status: int, seconds: float) -> None:
        """Count a request of a route."""
        self._requests.labels(path, status).inc()
        self._seconds.labels(path).observe(seconds)

    def observe_batch(self, model: str, jobs: int, sentences: int) -> None:
        """Count the sentences of one round of a model."""
        self._sentences.labels(model).inc(sentences)
        self._batches.labels(model).observe(sentences)

    def text(self) -> bytes:
        """Return all metrics."""
        return generate_latest(self._registry)
