"""CUDA streams and graphs that are simulated on a CPU.

A simulated capture computes nothing, like a real one: it notes the call, whose result has no
values. A replay repeats the call with the tensors of the capture.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from nmt import cuda_graphs
from nmt.search import beam
from nmt.search.graphed_steps import GraphedSteps
from tests.lagging_copy import lagging_copy

NAN = float("nan")


class Stream:
    """A stream that notes for which others it waits, with the rules of a capture.

    A stream that waits for one of a capture becomes part of it. It has to be joined again: the
    stream on which the capture began has to wait for it. That one may wait for no other stream.
    """

    __class__ = torch.cuda.Stream  # type: ignore[assignment]  # for the checks of types in tests

    def __init__(self, cuda: "CudaGraphs") -> None:
        self._cuda = cuda
        self.waited: list[Stream] = []
        cuda.streams.append(self)

    def wait_stream(self, other: "Stream") -> None:
        """Note the other stream."""
        self.waited.append(other)
        joined = self._cuda.joined
        if self in joined and other not in joined:
            raise RuntimeError(
                "CUDA error: dependency created on uncaptured work in another stream"
            )
        if other in joined:
            joined.setdefault(self, False)
        if self in joined and self is self._cuda.captured_on[-1]:
            joined[other] = True


class Graph:
    """A graph of one call."""

    __class__ = torch.cuda.CUDAGraph  # type: ignore[assignment]

    def __init__(self, cuda: "CudaGraphs") -> None:
        self._cuda = cuda
        self.call: Callable[[], Any] | None = None
        self.result: Any = None
        self.is_reset = False
        cuda.graphs.append(self)

    def replay(self) -> None:
        """Repeat the call, and write its result where the capture had it."""
        assert self.call is not None and not self.is_reset
        cuda_graphs.copy_tensors(self.call(), self.result)

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
        pools_left: pools that the allocator was made to leave
        joined: streams of the capture under way, and whether each one is joined
        failure: error of the next captures
        is_unusable: whether the device fails after such an error
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.streams: list[Stream] = []
        self.graphs: list[Graph] = []
        self.captured_on: list[Stream] = []
        self.pools: list[str | None] = []
        self.pools_left: list[tuple[int, str]] = []
        self.joined: dict[Stream, bool] = {}
        self.ran_on: list[Stream] = []
        self.failure: RuntimeError | None = None
        self.is_unusable = False
        self._capturing: Graph | None = None
        self._current = Stream(self)
        cuda_graphs.streams.cache_clear()
        patch.setattr(torch.cuda, "Stream", lambda: Stream(self))
        patch.setattr(torch.cuda, "CUDAGraph", lambda: Graph(self))
        patch.setattr(torch.cuda, "current_stream", lambda: self._current)
        patch.setattr(torch.cuda, "stream", self._stream)
        patch.setattr(torch.cuda, "graph", self._capture)
        patch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
        patch.setattr(torch.cuda, "current_device", lambda: 0)
        patch.setattr(torch._C, "_cuda_endAllocateToPool", self._leave_pool)
        patch.setattr(torch.cuda, "synchronize", self._synchronize)
        patch.setattr(Tensor, "record_stream", lambda tensor, stream: None)

    def recorded(
        self,
        compute: Callable[..., Any],
        result: Callable[..., Any] = lambda *_: torch.full((3,), NAN),
    ) -> Callable[..., Any]:
        """Return a function that only notes its call during a capture.

        Args:
            compute: the function
            result: returns the result of a capture, of tensors without values, for its arguments
        """

        def call(*arguments: Any) -> Any:
            if self._capturing is None:
                self.ran_on.append(self._current)
                return compute(*arguments)
            self._capturing.call = lambda: compute(*arguments)
            self._capturing.result = result(*arguments)
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
            self._capturing, self.joined = graph, {stream: True}
            try:
                yield
            finally:
                self._capturing, joined, self.joined = None, self.joined, {}
        if not all(joined.values()):
            raise RuntimeError("CUDA error: capturing stream has unjoined work")
        if self.failure is not None:
            # As torch: a capture that fails at its end leaves its stream the current one.
            self._current = stream
            raise self.failure

    def _leave_pool(self, device: int, pool: str) -> None:
        self.pools_left.append((device, pool))

    def _synchronize(self, device: torch.device) -> None:
        if self.is_unusable:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")


class _CopyingQueue(lagging_copy(1)):  # type: ignore[misc]
    """A host copy that lags as on a GPU, and that graphs cannot overwrite."""

    def enqueue(self, tree: Any) -> None:
        """Copy the tensors, as a transfer does."""
        super().enqueue(tree_map_only(Tensor, Tensor.clone, tree))


def simulate_search(patch: pytest.MonkeyPatch) -> CudaGraphs:
    """Return a simulated device on which steps of beam search can be captured."""
    simulated, compute = CudaGraphs(patch), GraphedSteps._compute

    def recorded(self: GraphedSteps, inputs: Any) -> Any:
        def without_values(inputs: Any) -> Any:
            extension = compute(self, tree_map_only(Tensor, Tensor.clone, inputs))
            empty = tree_map_only(
                Tensor,
                lambda tensor: torch.full_like(tensor, NAN if tensor.is_floating_point() else -1),
                extension,
            )
            return empty._replace(beam=inputs.beam, state=inputs.state)

        return simulated.recorded(lambda same: compute(self, same), without_values)(inputs)

    patch.setattr(GraphedSteps, "_compute", recorded)
    patch.setattr(beam, "AsyncHostCopy", _CopyingQueue)
    return simulated
