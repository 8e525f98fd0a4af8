"""CUDA graphs of the loop: hundreds of launches as one, there, and as one, back.

Only the loop is captured: encoder, readout, loss and optimizer stay as they are. A graph has fixed
addresses and sizes, so a batch is copied into room of its own, filled up to the sizes of a bucket.
What is filled up takes no part: positions are masked, and steps and sentences get no gradient.
"""

import warnings
from collections.abc import Callable
from math import isfinite
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from nmt.model.recurrence.buffers import Given, begin, empty_trail
from nmt.model.recurrence.gradients import gradients
from nmt.model.recurrence.loop import backward, forward
from nmt.model.recurrence.steps import Steps

GRAIN = {"t": 8, "b": 16, "s": 16}
"""Steps, sentences and positions are filled up to multiples of these."""

MOST = 16
"""Buckets that are captured, of those that come twice; each holds a batch's whole trail."""

Results = tuple[Tensor | None, ...]
Work = Callable[[], Results]

_seen: set[Any] = set()
_captured: dict[Any, "Captured | None"] = {}


def find(given: Given, steps: Steps) -> "Captured | None":
    """The graphs for a batch like this; None where it has to go without.

    That is the first time that a bucket comes, when there are enough buckets, and as long as the
    way back of the batch before is still to come on the same room.
    """
    key = (_shapes(given), given.projected_tbg.dtype, given.projected_tbg.device)
    if key not in _captured:
        if key not in _seen or len(_captured) >= MOST:
            _seen.add(key)
            return None
        _captured[key] = _try(given, steps)
    found = _captured[key]
    return None if found is None or found.is_taken else found


def _try(given: Given, steps: Steps) -> "Captured | None":
    """Fails softly: the loop runs without graphs as well, only slower."""
    try:
        return Captured(given, steps, capture)
    except RuntimeError as error:
        warnings.warn(f"the recurrence goes without a CUDA graph: {error}", stacklevel=2)
        return None


def replay(captured: "Captured", given: Given) -> tuple[Tensor, Tensor]:
    """The top layer's states and what is fed back, by graphs."""
    hidden_tbd, fed_tbf = _Replayed.apply(captured, *given)  # type: ignore[no-untyped-call]
    return hidden_tbd, fed_tbf


def capture(work: Work) -> Work:
    """The same work as a graph; its results stand in the same place every time.

    Raises:
        RuntimeError: when CUDA refuses, or the graph does not do what it was made of
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        # Triton compiles here, which a capture forbids.
        expected = [None if part is None else part.clone() for part in work()]
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # Threads that load data or watch other processes may go on meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        results = work()

    def again() -> Results:
        graph.replay()
        return results

    for found, exact in zip(again(), expected, strict=True):
        if found is not None and exact is not None and _differs(found, exact):
            raise RuntimeError("the graph gives other numbers than the loop")
    return again


def _differs(found: Tensor, exact: Tensor) -> bool:
    """By more than rounding in 16 bits. What has run over says nothing."""
    size = float(exact.double().norm())
    return isfinite(size) and not float((found - exact).double().norm()) <= 0.01 * size


class Turn:
    """One way there on a room, whose way back may still come."""

    is_open = True


class Captured:
    """The loop there and back on a room of its own.

    Args:
        like: a batch of the bucket; its numbers serve to warm up
        steps: what the loop is made of
        capture: makes a graph of work
    """

    @torch.no_grad()
    def __init__(self, like: Given, steps: Steps, capture: Callable[[Work], Work]) -> None:
        rooms = [
            None if part is None else part.new_zeros(shape)
            for part, shape in zip(like, _shapes(like), strict=True)
        ]
        self._given = given = Given(*rooms)  # type: ignore[arg-type]
        self._fill(like)
        self._trail = trail = empty_trail(given)
        self._d_hidden_tbd = torch.ones_like(trail.hidden_tbd)
        self._d_fed_tbf = torch.ones_like(trail.fed_tbf)
        self._turn: ref[Turn] | None = None

        def there() -> Results:
            begin(given, trail)
            forward(given, trail, steps)
            return trail.hidden_tbd, trail.fed_tbf

        def back() -> Results:
            slopes = backward(given, trail, steps, self._d_hidden_tbd, self._d_fed_tbf)
            return gradients(given, trail, slopes, steps)

        self._there, self._back = capture(there), capture(back)

    @property
    def is_taken(self) -> bool:
        """Whether a way back is still to come; forgotten graphs of autograd do not count."""
        turn = None if self._turn is None else self._turn()
        return turn is not None and turn.is_open

    def there(self, given: Given, turn: Turn) -> tuple[Tensor, ...]:
        """What the readout sees of this batch."""
        assert not self.is_taken
        self._turn = ref(turn)
        self._fill(given)
        steps, sentences, _ = given.projected_tbg.shape
        return tuple(
            part_tbx[:steps, :sentences].clone()
            for part_tbx in self._there()
            if part_tbx is not None
        )

    def back(
        self, turn: Turn, shapes: tuple[torch.Size | None, ...], *d_outputs: Tensor
    ) -> Results:
        """The gradients of that batch, whose parts have these shapes.

        Raises:
            RuntimeError: when another batch has been there since
        """
        if self._turn is None or self._turn() is not turn:
            raise RuntimeError(
                "the recurrence of this batch has been overwritten by a later one; "
                "set NMT_RECURRENCE=fused to go back twice"
            )
        _copy(self._d_hidden_tbd, d_outputs[0])
        _copy(self._d_fed_tbf, d_outputs[1])
        found = self._back()
        turn.is_open = False
        return tuple(
            None if part is None or shape is None else part[_region(shape)].clone()
            for part, shape in zip(found, shapes, strict=True)
        )

    def _fill(self, given: Given) -> None:
        for room, part in zip(self._given, given, strict=True):
            if room is not None and part is not None:
                _copy(room, part)
        # A softmax needs a real position, in sentences that are filled up too.
        self._given.mask_bs[given.mask_bs.size(0) :, 0] = True


class _Replayed(Function):
    """As the loop without graphs, but on the room of a bucket."""

    @staticmethod
    def forward(ctx: Any, captured: Captured, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        ctx.captured, ctx.turn = captured, Turn()
        ctx.shapes = tuple(None if part is None else part.shape for part in tensors)
        return captured.there(Given(*tensors), ctx.turn)  # type: ignore[arg-type]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.captured.back(ctx.turn, ctx.shapes, *d_outputs)


def _shapes(given: Given) -> tuple[tuple[int, ...], ...]:
    """The shapes of a bucket's room; an axis is known by its letter."""
    found: list[tuple[int, ...]] = []
    for name, part in zip(Given._fields, given, strict=True):
        letters = name.rpartition("_")[2]
        sizes = () if part is None else part.shape
        # A part that is not there has no axes, and a scalar there is none.
        pairs = zip(letters, sizes, strict=bool(sizes))
        found.append(tuple(-(-n // GRAIN.get(x, 1)) * GRAIN.get(x, 1) for x, n in pairs))
    return tuple(found)


def _copy(room: Tensor, part: Tensor) -> None:
    """Into the corner of a room; the rest is zero."""
    if room.shape != part.shape:
        room.zero_()
    room[_region(part.shape)].copy_(part)


def _region(shape: torch.Size) -> tuple[slice, ...]:
    return tuple(slice(size) for size in shape)
