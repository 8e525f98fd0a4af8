"""Whole updates as CUDA graphs: forward and backward pass, clipping and optimizer in one launch.

A GPU needs less time for the thousands of small kernels of an update than the host needs to launch
them. A graph launches all of them at once, but only for tensors of the shapes with which it was
captured, at the same addresses. `training.recurrence: graph` therefore plans batches of few shapes.

The first update of a shape runs as usual. It compiles kernels and lets libraries allocate their
workspaces, which must not happen during a capture. The second one is captured, and from then on the
graph is launched.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

from nmt.data.batch import Batch
from nmt.device import parallel_branches
from nmt.errors import OptionError

log = logging.getLogger("nmt")

MAX_GRAPHS = 128
"""Number of graphs that are kept; they share their memory, but each has thousands of nodes."""

Shape = tuple[torch.Size, ...]

Compute = Callable[[Batch, Tensor], Tensor]
"""(batch and number of target tokens on the device) -> results of the update.

It reads and writes tensors on the device alone, and leaves no gradients behind, even if it fails.
"""


class _Captured(NamedTuple):
    """A graph, the tensors that it reads, and the tensor that it writes its results to."""

    graph: torch.cuda.CUDAGraph
    batch: Batch
    target_tokens: Tensor
    results: Tensor


class GraphedUpdate:
    """Updates of one process on one GPU, by graphs where a shape occurs again.

    After a capture that fails, all further updates run without graphs.

    Args:
        compute: computes an update
        device: the GPU
        max_graphs: number of graphs to keep; the least recently used one is dropped

    Attributes:
        captures: number of captures
        launches: number of updates by graphs
    """

    def __init__(
        self, compute: Compute, device: torch.device, *, max_graphs: int = MAX_GRAPHS
    ) -> None:
        self._compute, self._device, self._max_graphs = compute, device, max_graphs
        self._warm: set[Shape] = set()
        self._graphs: OrderedDict[Shape, _Captured] = OrderedDict()
        self._pool = torch.cuda.graph_pool_handle()
        self._has_failed = False
        self.captures = self.launches = 0

    def __call__(self, batch: Batch, target_tokens: int) -> Float[Tensor, "..."]:
        """Run an update; return its results, which later updates do not overwrite.

        Args:
            batch: a batch in pinned memory
            target_tokens: number of target tokens to average the loss over
        """
        shape = tuple(tensor.shape for tensor in _tensors(batch))
        captured = self._graphs.get(shape)
        if captured is None:
            # float32, because the loss is divided by it.
            tokens = torch.full((), float(target_tokens), device=self._device)
            inputs = batch.to(self._device)
            if self._has_failed:
                return self._compute(inputs, tokens)
            if shape not in self._warm:
                self._warm.add(shape)
                return self._warm_up(inputs, tokens)
            captured = self._capture(inputs, tokens)
            if captured is None:
                return self._compute(inputs, tokens)
            self._keep(shape, captured)
        else:
            self._graphs.move_to_end(shape)
            for static, new in zip(_tensors(captured.batch), _tensors(batch), strict=True):
                static.copy_(new, non_blocking=True)
            captured.target_tokens.fill_(target_tokens)
        captured.graph.replay()
        self.launches += 1
        return captured.results.clone()

    def _warm_up(self, batch: Batch, target_tokens: Tensor) -> Tensor:
        """Run an update on the stream of the captures."""
        current, stream = torch.cuda.current_stream(), _streams()[0]
        stream.wait_stream(current)
        with torch.cuda.stream(stream), _two_branches():
            results = self._compute(batch, target_tokens)
        current.wait_stream(stream)
        return results

    def _capture(self, batch: Batch, target_tokens: Tensor) -> _Captured | None:
        """Capture an update without running it; return None if that fails."""
        graph = torch.cuda.CUDAGraph()
        try:
            # torch does not return to the current stream if the end of a capture fails. Other
            # threads go on with their work: one of them pins the memory of the next batches.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(
                    graph,
                    pool=self._pool,
                    stream=_streams()[0],
                    capture_error_mode="thread_local",
                ),
                _two_branches(),
            ):
                results = self._compute(batch, target_tokens)
        except RuntimeError as error:
            self._give_up(graph, error)
            return None
        self.captures += 1
        return _Captured(graph, batch, target_tokens, results)

    def _give_up(self, graph: torch.cuda.CUDAGraph, error: RuntimeError) -> None:
        """Drop all graphs and continue without them; raise the error if the GPU is unusable."""
        self._has_failed = True
        for one in (graph, *(captured.graph for captured in self._graphs.values())):
            try:
                one.reset()
            except RuntimeError as second:
                log.debug("%s: %s", type(second).__name__, second)
        self._graphs.clear()
        self._leave_pool()
        try:
            # After an error such as an illegal address every call fails. A failed capture may also
            # leave the random generator unusable: github.com/pytorch/pytorch/issues/171263.
            torch.cuda.synchronize(self._device)
            torch.rand(1, device=self._device)
        except RuntimeError:
            error.add_note("during the capture of a CUDA graph; try training.recurrence: auto")
            raise error from None
        log.warning(
            "an update cannot be captured as a CUDA graph, and training continues without graphs; "
            "set training.recurrence: auto to avoid the attempt (%s)",
            str(error).partition("\n")[0],
        )

    def _leave_pool(self) -> None:
        """Let the allocator leave the memory of the graphs after a capture that has failed.

        Before torch 2.12 it would take the capture to be under way for the rest of the process, and
        never again free cached memory when a GPU is full: github.com/pytorch/pytorch/pull/180395.
        """
        for leave in (torch._C._cuda_endAllocateToPool, torch._C._cuda_releasePool):
            with suppress(RuntimeError):  # this version of torch has left it
                leave(torch.cuda.current_device(), self._pool)

    def _keep(self, shape: Shape, captured: _Captured) -> None:
        self._graphs[shape] = captured
        if len(self._graphs) > self._max_graphs:
            _, oldest = self._graphs.popitem(last=False)
            oldest.graph.reset()


def make_capturable(optimizer: Optimizer, device: torch.device) -> Tensor:
    """Let an optimizer be captured; return the tensor to use as its learning rate."""
    for group in optimizer.param_groups:
        if "capturable" in group:  # adam and adamw, which then count their steps on the device
            group["capturable"] = True
    # torch warns of capturable optimizers outside of a capture, such as in the first updates.
    optimizer._warned_capturable_if_run_uncaptured = True
    return torch.zeros((), device=device)


def check_graph_support(
    device: torch.device, optimizer: Optimizer, *, accumulate: int, ranks: int, deterministic: bool
) -> None:
    """Raise OptionError if `training.recurrence: graph` is not possible.

    Args:
        device: device of the model
        optimizer: its optimizer
        accumulate: batches per update
        ranks: number of processes
        deterministic: `training.deterministic`
    """
    reasons = {
        "graph requires a GPU": device.type != "cuda",
        "graph does not support several processes": ranks > 1,
        "graph does not support accumulate, as an update is one batch": accumulate > 1,
        "graph does not support deterministic": deterministic,
        # Other optimizers cannot skip an update that is not finite without the host.
        "graph requires the optimizer adam, adamw or sgd": not getattr(
            optimizer, "_step_supports_amp_scaling", False
        ),
    }
    for reason, applies in reasons.items():
        if applies:
            raise OptionError(f"{reason}; use auto", "training.recurrence")


def _tensors(batch: Batch) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(batch) if isinstance(leaf, Tensor)]


@cache
def _streams() -> tuple[torch.cuda.Stream, torch.cuda.Stream]:
    """Return the stream of all first updates and captures, and the one of second branches.

    Libraries keep a workspace per stream for ever. That of a stream which is first used in a
    capture would belong to the graph, and later graphs would use it after the graph is dropped.
    """
    return torch.cuda.Stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]


@contextmanager
def _two_branches() -> Iterator[None]:
    """Let the directions of encoders run at the same time."""
    stream, branch = _streams()
    # Not every encoder has two directions. A capture may wait only for a stream that belongs to it,
    # and it has to end on the stream on which it began.
    branch.wait_stream(stream)
    with parallel_branches(branch):
        yield
    stream.wait_stream(branch)
