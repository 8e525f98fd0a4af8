"""Multi-head attention: h readings side by side, each through projections of its own.

An axis h is a head, and x the width of one head.
"""

from math import sqrt
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from nmt.model.layers.dropout import dropout as drop
from nmt.model.layers.projection import projection


class Heads(NamedTuple):
    """Projected keys and values: what may be read, made once and read as often as wanted."""

    keys_bhsx: Float[Tensor, "b h s x"]
    values_bhsx: Float[Tensor, "b h s x"]


class SelfAttention(nn.Module):
    """Positions of a sequence read each other. Vaswani et al. 2017, section 3.2.3.

    Queries, keys and values come from one product: `in_proj` and `out_proj` are torch's
    `in_proj_weight` (q, k, v on top of each other), `in_proj_bias` and `out_proj`.

    Args:
        width: of inputs and outputs
        heads: how many
        dropout: share of weights dropped

    Raises:
        ValueError: when the heads do not divide the width
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        _check(width, heads)
        self.heads, self.dropout = heads, dropout
        self.attention: AttentionFunction = multi_head_attention
        self.in_proj = projection(width, width, parts=3)
        self.out_proj = projection(width, width)

    def forward(
        self,
        inputs_btd: Float[Tensor, "b t d"],
        mask_bt: Bool[Tensor, "b t"] | None = None,
        *,
        causal: bool = False,
    ) -> Float[Tensor, "b t d"]:
        """All positions at once: each reads the real ones or, if causal, itself and those before.

        Args:
            inputs_btd: of all positions
            mask_bt: real positions; not together with `causal`
            causal: whether what comes later is hidden
        """
        query_bhtx, past = self._project(inputs_btd)
        dropout = self.dropout if self.training else 0.0
        context_btd, _ = self.attention(
            query_bhtx, past, mask_bt, causal=causal, dropout=dropout, need_weights=False
        )
        return self.out_proj(context_btd)

    def step(
        self, inputs_nd: Float[Tensor, "n d"], past: Heads
    ) -> tuple[Float[Tensor, "n d"], Heads]:
        """The next position, which reads itself and the past, and the past with it."""
        query_nh1x, new = self._project(inputs_nd[:, None])
        past = Heads(*(torch.cat(part, dim=2) for part in zip(past, new, strict=True)))
        context_n1d, _ = self.attention(query_nh1x, past)
        return self.out_proj(context_n1d[:, 0]), past

    def _project(self, inputs_btd: Tensor) -> tuple[Tensor, Heads]:
        query, keys, values = self.in_proj(inputs_btd).chunk(3, dim=-1)
        return split(query, self.heads), Heads(split(keys, self.heads), split(values, self.heads))


class CrossAttention(nn.Module):
    """Queries read another sequence. Vaswani et al. 2017, section 3.2.3.

    `q_proj`, `kv_proj` (k and v on top of each other) and `out_proj` are torch's `q_proj_weight`,
    `k_proj_weight`, `v_proj_weight` and `out_proj`, or slices of its `in_proj_weight`.

    Args:
        query_size: width of a query
        key_size: width of what is read
        width: of all heads together and of the output
        heads: how many
        dropout: share of weights dropped

    Raises:
        ValueError: when the heads do not divide the width
    """

    def __init__(
        self, query_size: int, key_size: int, width: int, heads: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        _check(width, heads)
        self.heads, self.dropout = heads, dropout
        self.attention: AttentionFunction = multi_head_attention
        self.q_proj = projection(query_size, width)
        self.kv_proj = projection(key_size, width, parts=2)
        self.out_proj = projection(width, width)

    def project(
        self, states_bse: Float[Tensor, "b s e"]
    ) -> tuple[Float[Tensor, "b s d"], Float[Tensor, "b s d"]]:
        """Keys and values of all heads side by side."""
        keys_bsd, values_bsd = self.kv_proj(states_bse).chunk(2, dim=-1)
        return keys_bsd, values_bsd

    def prepare(self, states_bse: Float[Tensor, "b s e"]) -> Heads:
        """What there is to read; once a sentence."""
        return Heads(*(split(part, self.heads) for part in self.project(states_bse)))

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], memory: Heads, mask_bs: Bool[Tensor, "b s"]
    ) -> Float[Tensor, "b q width"]:
        """One reading a query."""
        query_bhqx = split(self.q_proj(query_bqd), self.heads)
        dropout = self.dropout if self.training else 0.0
        context_bqd, _ = self.attention(
            query_bhqx, memory, mask_bs, dropout=dropout, need_weights=False
        )
        return self.out_proj(context_bqd)

    def look(
        self, query_bqd: Float[Tensor, "b q d"], memory: Heads, mask_bs: Bool[Tensor, "b s"]
    ) -> tuple[Float[Tensor, "b q width"], Float[Tensor, "b q s"]]:
        """The same and where it was read: weights, the mean over the heads. Drops nothing."""
        query_bhqx = split(self.q_proj(query_bqd), self.heads)
        context_bqd, weights_bhqs = self.attention(query_bhqx, memory, mask_bs)
        assert weights_bhqs is not None
        return self.out_proj(context_bqd), weights_bhqs.mean(dim=1)


def split(projected_bsd: Float[Tensor, "b s d"], heads: int) -> Float[Tensor, "b h s x"]:
    """Every head's part of a projection."""
    parts_bshx = projected_bsd.unflatten(-1, (heads, -1))  # type: ignore[no-untyped-call]
    return parts_bshx.transpose(1, 2)


class AttentionFunction(Protocol):
    """softmax(Q Kᵀ / √x) V of every head, concatenated; Vaswani et al. 2017, eqs. 1 and 5."""

    def __call__(
        self,
        query_bhqx: Float[Tensor, "b h q x"],
        memory: Heads,
        mask_bs: Bool[Tensor, "b s"] | None = None,
        *,
        causal: bool = False,
        dropout: float = 0.0,
        need_weights: bool = True,
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b h q s"] | None]:
        """Compute contexts and, if needed, attention weights.

        Args:
            query_bhqx: queries
            memory: keys and values
            mask_bs: positions that may be attended to (default: all)
            causal: whether query q attends to positions up to q only; not together with a mask
            dropout: dropout rate of the weights
            need_weights: whether the weights are returned
        """


def multi_head_attention(
    query_bhqx: Float[Tensor, "b h q x"],
    memory: Heads,
    mask_bs: Bool[Tensor, "b s"] | None = None,
    *,
    causal: bool = False,
    dropout: float = 0.0,
    need_weights: bool = True,
) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b h q s"] | None]:
    """Compute `AttentionFunction`, on a GPU by torch's fused kernels if no weights are needed.

    The fused kernels for a CPU are made for long texts: at the length of a sentence, up to 128
    tokens, they take 3 to 15 times as long as the separate operations.
    """
    if query_bhqx.is_cuda and not need_weights:
        return fused_attention(query_bhqx, memory, mask_bs, causal, dropout), None
    return explicit_attention(query_bhqx, memory, mask_bs, causal, dropout)


def fused_attention(
    query_bhqx: Float[Tensor, "b h q x"],
    memory: Heads,
    mask_bs: Bool[Tensor, "b s"] | None,
    causal: bool,
    dropout: float = 0.0,
) -> Float[Tensor, "b q d"]:
    """Compute the contexts by torch's fused kernels, which do not keep the weights."""
    context_bhqx = scaled_dot_product_attention(
        query_bhqx, *memory, _broadcast(mask_bs), dropout, is_causal=causal
    )
    return context_bhqx.transpose(1, 2).flatten(2)


def explicit_attention(
    query_bhqx: Float[Tensor, "b h q x"],
    memory: Heads,
    mask_bs: Bool[Tensor, "b s"] | None,
    causal: bool,
    dropout: float = 0.0,
) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b h q s"]]:
    """Compute contexts and weights by separate operations."""
    energies_bhqs = query_bhqx @ memory.keys_bhsx.mT / sqrt(query_bhqx.size(-1))
    weights_bhqs = mask_heads(energies_bhqs, mask_bs, causal).softmax(dim=-1)
    kept_bhqs = drop(weights_bhqs, dropout) if dropout else weights_bhqs
    context_bqd = (kept_bhqs @ memory.values_bhsx).transpose(1, 2).flatten(2)
    return context_bqd.to(query_bhqx.dtype), weights_bhqs.to(query_bhqx.dtype)


def mask_heads(
    energies_bhqs: Float[Tensor, "b h q s"], mask_bs: Bool[Tensor, "b s"] | None, causal: bool
) -> Float[Tensor, "b h q s"]:
    """Set the energies of positions that may not be attended to to minus infinity."""
    readable = torch.ones_like(energies_bhqs[0, 0]).tril().bool() if causal else _broadcast(mask_bs)
    if readable is None:
        return energies_bhqs
    return energies_bhqs.masked_fill(~readable, float("-inf"))


def _broadcast(mask_bs: Tensor | None) -> Tensor | None:
    return None if mask_bs is None else mask_bs[:, None, None]


def _check(width: int, heads: int) -> None:
    if width % heads:
        fewer = next(number for number in range(heads, 0, -1) if width % number == 0)
        raise ValueError(
            f"{heads} heads do not divide the width {width}; use {fewer}, "
            f"or a width that is a multiple of {heads}"
        )
