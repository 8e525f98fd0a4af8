"""CUDA graphs of one function, by the shapes of its inputs, and the way on if a capture fails.

A GPU needs less time for many small kernels than the host needs to launch them. A graph launches
all of them at once, but only for tensors of the shapes with which it was captured, at the same
addresses.

The first call of a shape runs as usual. It compiles kernels and lets libraries allocate their
workspaces, which must not happen during a capture. The second one is captured, and from then on the
graph is launched.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from nmt.device import parallel_branches

Inputs = TypeVar("Inputs")
Outputs = TypeVar("Outputs")

log = logging.getLogger("nmt")

MAX_GRAPHS = 128
"""Number of graphs that are kept; they share their memory, but each has thousands of nodes."""


class Purpose(NamedTuple):
    """Words for the warning that a process continues without graphs.

    Attributes:
        call: one call of the function, such as "an update"
        activity: the activity that continues, such as "training"
        remedy: the change that avoids the attempt, as an imperative
    """

    call: str
    activity: str
    remedy: str


@dataclass(frozen=True)
class Captured(Generic[Inputs, Outputs]):
    """A graph, the pytree of tensors that it reads, and the one of its results."""

    graph: torch.cuda.CUDAGraph
    inputs: Inputs
    outputs: Outputs


class GraphCache(Generic[Inputs, Outputs]):
    """Graphs of a function on one GPU. After a capture that fails, it runs without graphs.

    Args:
        compute: the function; reads and writes tensors on the device alone, and has no effects if
            it fails
        device: the GPU
        purpose: words for the warning
        max_graphs: number of graphs to keep; the least recently used one is dropped

    Attributes:
        captures: number of captures
        launches: number of launches of a graph
        has_failed: whether the function only runs without graphs
    """

    def __init__(
        self,
        compute: Callable[[Inputs], Outputs],
        device: torch.device,
        purpose: Purpose,
        *,
        max_graphs: int = MAX_GRAPHS,
    ) -> None:
        self._compute, self._device, self._purpose = compute, device, purpose
        self._max_graphs = max_graphs
        self._pool = torch.cuda.graph_pool_handle()
        self._warm: set[Hashable] = set()
        self._graphs: OrderedDict[Hashable, Captured[Inputs, Outputs]] = OrderedDict()
        self.captures = self.launches = 0
        self.has_failed = False

    def find(self, key: Hashable) -> Captured[Inputs, Outputs] | None:
        """Return the graph of a key, which is then the last one to be dropped."""
        captured = self._graphs.get(key)
        if captured is not None:
            self._graphs.move_to_end(key)
        return captured

    def is_warm(self, key: Hashable) -> bool:
        """Return whether the function has run with inputs of this key."""
        return key in self._warm

    def run(self, key: Hashable, inputs: Inputs) -> Outputs:
        """Run the function without a graph, before a capture on the stream of the captures."""
        if self.has_failed:
            return self._compute(inputs)
        self._warm.add(key)
        current, stream = torch.cuda.current_stream(), streams()[0]
        stream.wait_stream(current)
        with torch.cuda.stream(stream), _two_branches():
            outputs = self._compute(inputs)
        current.wait_stream(stream)
        return outputs

    def capture(self, key: Hashable, inputs: Inputs) -> Captured[Inputs, Outputs] | None:
        """Capture the function without running it; return None if that fails.

        The graph reads and writes clones of the tensors, which may be views or belong to others.
        """
        graph = torch.cuda.CUDAGraph()
        try:
            static = tree_map_only(Tensor, Tensor.clone, inputs)
            # torch does not return to the current stream if the end of a capture fails. Other
            # threads go on with their work: one of them pins the memory of the next batches.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(
                    graph,
                    pool=self._pool,
                    stream=streams()[0],
                    capture_error_mode="thread_local",
                ),
                _two_branches(),
            ):
                outputs = self._compute(static)
        except RuntimeError as error:
            self._recover(graph, error)
            return None
        self.captures += 1
        captured = self._graphs[key] = Captured(graph, static, outputs)
        if len(self._graphs) > self._max_graphs:
            _, oldest = self._graphs.popitem(last=False)
            oldest.graph.reset()
        return captured

    def launch(self, captured: Captured[Inputs, Outputs]) -> Outputs:
        """Launch a graph; return its results, which its next launch overwrites."""
        captured.graph.replay()
        self.launches += 1
        return captured.outputs

    def give_up(self, reason: str) -> None:
        """Drop all graphs and continue without them, after a warning."""
        self._drop(*(captured.graph for captured in self._graphs.values()))
        self._warn(reason)

    def _recover(self, graph: torch.cuda.CUDAGraph, error: RuntimeError) -> None:
        """Continue without graphs after a failed capture; raise it if the GPU is unusable."""
        self._drop(graph, *(captured.graph for captured in self._graphs.values()))
        self._leave_pool()
        try:
            # After an error such as an illegal address every call fails. A failed capture may also
            # leave the random generator unusable: github.com/pytorch/pytorch/issues/171263.
            torch.cuda.synchronize(self._device)
            torch.rand(1, device=self._device)
        except RuntimeError:
            error.add_note(f"during the capture of a CUDA graph; {self._purpose.remedy}")
            raise error from None
        self._warn(str(error).partition("\n")[0])

    def _leave_pool(self) -> None:
        """Let the allocator leave the memory of the graphs after a capture that has failed.

        Before torch 2.12 it would take the capture to be under way for the rest of the process, and
        never again free cached memory when a GPU is full: github.com/pytorch/pytorch/pull/180395.
        """
        for leave in (torch._C._cuda_endAllocateToPool, torch._C._cuda_releasePool):
            with suppress(RuntimeError):  # this version of torch has left it
                leave(torch.cuda.current_device(), self._pool)

    def _drop(self, *graphs: torch.cuda.CUDAGraph) -> None:
        self.has_failed = True
        for graph in graphs:
            try:
                graph.reset()
            except RuntimeError as error:
                log.debug("%s: %s", type(error).__name__, error)
        self._graphs.clear()

    def _warn(self, reason: str) -> None:
        log.warning(
            "%s cannot be captured as a CUDA graph, and %s continues without graphs; "
            "%s to avoid the attempt (%s)",
            *(*self._purpose, reason),
        )


def shapes_of(tree: object) -> Hashable:
    """Return the shapes and types of all tensors of a pytree, and its other leaves."""
    return tuple(
        (leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else leaf for leaf in tree_leaves(tree)
    )


def copy_tensors(source: object, target: object) -> None:
    """Copy the tensors of a pytree into those of another one with the same shapes."""
    for new, static in zip(tree_leaves(source), tree_leaves(target), strict=True):
        if isinstance(static, Tensor) and static is not new:
            static.copy_(new, non_blocking=True)


@cache
def streams() -> tuple[torch.cuda.Stream, torch.cuda.Stream]:
    """Return the stream of all first calls and captures, and the one of second branches.

    Libraries keep a workspace per stream for ever. That of a stream which is first used in a
    capture would belong to the graph, and later graphs would use it after the graph is dropped.
    """
    return torch.cuda.Stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]


@contextmanager
def _two_branches() -> Iterator[None]:
    """Let the directions of encoders run at the same time."""
    stream, branch = streams()
    # Not every encoder has two directions. A capture may wait only for a stream that belongs to it,
    # and it has to end on the stream on which it began.
    branch.wait_stream(stream)
    with parallel_branches(branch):
        yield
    stream.wait_stream(branch)
