"""A cache of the products that depend on an input token alone."""

from collections.abc import Callable
from threading import Lock

import torch
from jaxtyping import Int
from torch import Tensor

Projections = tuple[Tensor, ...]
"""Products of n input tokens, tensors with n rows."""


class TokenProjectionCache:
    """Projections of tokens, one row per vocabulary entry, computed when first needed.

    A few tokens make up most of a text, so most rows are found. Memory is reserved for the whole
    vocabulary, but the operating system provides it only for rows that are written. Several threads
    may use one cache.

    Args:
        project: tokens -> tensors with one row per token, which depends on no other token
        vocabulary: number of entries
    """

    def __init__(
        self, project: Callable[[Int[Tensor, " n"]], Projections], vocabulary: int
    ) -> None:
        self._project = project
        self._is_cached_v = torch.zeros(vocabulary, dtype=torch.bool)
        self._rows: Projections = ()
        self._lock = Lock()

    def __call__(self, tokens_n: Int[Tensor, " n"]) -> Projections:
        """Return the projections of n tokens."""
        if not self._is_cached_v[tokens_n].all():
            with self._lock:
                self._add(torch.unique(tokens_n[~self._is_cached_v[tokens_n]]))
        return tuple(rows.index_select(0, tokens_n) for rows in self._rows)

    def _add(self, tokens_n: Int[Tensor, " n"]) -> None:
        if not len(tokens_n):
            return  # another thread has added them
        projections = self._project(tokens_n)
        if not self._rows:
            vocabulary = len(self._is_cached_v)
            # Widths and types are known only from the first projections.
            self._rows = tuple(x.new_empty(vocabulary, *x.shape[1:]) for x in projections)
        for rows, projected in zip(self._rows, projections, strict=True):
            rows[tokens_n] = projected
        # Last: other threads read a row without the lock as soon as it is marked.
        self._is_cached_v[tokens_n] = True
