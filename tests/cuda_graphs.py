"""CUDA streams and graphs that are simulated on a CPU.

A simulated capture computes nothing, like a real one: it notes the call, whose result is a tensor
without values. A replay repeats the call with the tensors of the capture.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.training import graphed_update

NAN = float("nan")


class Stream:
    """A stream that notes for which others it waits."""

    __class__ = torch.cuda.Stream  # type: ignore[assignment]  # for the checks of types in tests

    def __init__(self, cuda: "CudaGraphs") -> None:
        self.waited: list[Stream] = []
        cuda.streams.append(self)

    def wait_stream(self, other: "Stream") -> None:
        """Note the other stream."""
        self.waited.append(other)


class Graph:
    """A graph of one call."""

    __class__ = torch.cuda.CUDAGraph  # type: ignore[assignment]

    def __init__(self, cuda: "CudaGraphs") -> None:
        self._cuda = cuda
        self.call: Callable[[], Tensor] | None = None
        self.result: Tensor | None = None
        self.is_reset = False
        cuda.graphs.append(self)

    def pool(self) -> str:
        """Return the pool of memory, which all graphs share."""
        return "pool"

    def replay(self) -> None:
        """Repeat the call, and write its result where the capture had it."""
        assert self.call is not None and self.result is not None and not self.is_reset
        self.result.copy_(self.call())

    def reset(self) -> None:
        """Note the end of the graph."""
        self.is_reset = True


class CudaGraphs:
    """The simulated device.

    Attributes:
        streams: all streams that were made, the current one first
        graphs: all graphs that were made
        captured_on: stream of each capture
        pools: pool of each capture
        failure: error of the next captures
        is_unusable: whether the device fails after such an error
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.streams: list[Stream] = []
        self.graphs: list[Graph] = []
        self.captured_on: list[Stream] = []
        self.pools: list[str | None] = []
        self.ran_on: list[Stream] = []
        self.failure: RuntimeError | None = None
        self.is_unusable = False
        self._capturing: Graph | None = None
        self._current = Stream(self)
        graphed_update._streams.cache_clear()
        patch.setattr(torch.cuda, "Stream", lambda: Stream(self))
        patch.setattr(torch.cuda, "CUDAGraph", lambda: Graph(self))
        patch.setattr(torch.cuda, "current_stream", lambda: self._current)
        patch.setattr(torch.cuda, "stream", self._stream)
        patch.setattr(torch.cuda, "graph", self._capture)
        patch.setattr(torch.cuda, "synchronize", self._synchronize)
        patch.setattr(Tensor, "record_stream", lambda tensor, stream: None)

    def recorded(self, compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Return a function that only notes its call during a capture."""

        def call(*arguments: Any) -> Tensor:
            if self._capturing is None:
                self.ran_on.append(self._current)
                return compute(*arguments)
            self._capturing.call = lambda: compute(*arguments)
            self._capturing.result = torch.full((3,), NAN)
            return self._capturing.result

        return call

    @contextmanager
    def _stream(self, stream: Stream) -> Iterator[None]:
        before, self._current = self._current, stream
        try:
            yield
        finally:
            self._current = before

    @contextmanager
    def _capture(
        self, graph: Graph, *, pool: str | None, stream: Stream, capture_error_mode: str
    ) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        self.captured_on.append(stream)
        self.pools.append(pool)
        with self._stream(stream):
            self._capturing = graph
            yield
            self._capturing = None
        if self.failure is not None:
            # As torch: a capture that fails at its end leaves its stream the current one.
            self._current = stream
            raise self.failure

    def _synchronize(self, device: torch.device) -> None:
        if self.is_unusable:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
