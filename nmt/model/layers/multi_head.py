"""Multi-head attention: h attention functions in parallel, each with its own projections."""

from math import sqrt
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from nmt.model.layers.dropout import dropout as apply_dropout
from nmt.model.layers.linear import glorot_linear


class Heads(NamedTuple):
    """Projected keys and values of all heads, computed once and attended to many times."""

    keys_bhsw: Float[Tensor, "b h s w"]
    values_bhsw: Float[Tensor, "b h s w"]


class AttentionFunction(Protocol):
    """softmax(Q Kᵀ / √w) V of every head, concatenated; Vaswani et al. 2017, section 3.2."""

    def __call__(
        self,
        query_bhqw: Float[Tensor, "b h q w"],
        memory: Heads,
        mask_bs: Bool[Tensor, "b s"] | None = None,
        *,
        causal: bool = False,
        dropout: float = 0.0,
        need_weights: bool = True,
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b h q s"] | None]:
        """Compute contexts and, if needed, attention weights.

        Args:
            query_bhqw: queries
            memory: keys and values
            mask_bs: positions that may be attended to (default: all)
            causal: whether query q attends to positions up to q only; not together with a mask
            dropout: dropout rate of the weights
            need_weights: whether the weights are needed
        """


def multi_head_attention(
    query_bhqw: Float[Tensor, "b h q w"],
    memory: Heads,
    mask_bs: Bool[Tensor, "b s"] | None = None,
    *,
    causal: bool = False,
    dropout: float = 0.0,
    need_weights: bool = True,
) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b h q s"] | None]:
    """Compute `AttentionFunction`, on a GPU by torch's fused kernels if no weights are needed."""
    # The fused kernels for a CPU are made for long texts. At the length of a sentence, up to 128
    # tokens, they take 3 to 15 times as long as separate operations.
    if query_bhqw.is_cuda and not need_weights:
        return fused_attention(query_bhqw, memory, mask_bs, causal, dropout), None
    return explicit_attention(query_bhqw, memory, mask_bs, causal, dropout)


def fused_attention(
    query_bhqw: Float[Tensor, "b h q w"],
    memory: Heads,
    mask_bs: Bool[Tensor, "b s"] | None,
    causal: bool,
    dropout: float = 0.0,
) -> Float[Tensor, "b q d"]:
    """Compute contexts by torch's fused kernels, which do not return the weights."""
    context_bhqw = scaled_dot_product_attention(
        query_bhqw, *memory, _broadcast(mask_bs), dropout, is_causal=causal
    )
    return context_bhqw.transpose(1, 2).flatten(2)


def explicit_attention(
    query_bhqw: Float[Tensor, "b h q w"],
    memory: Heads,
    mask_bs: Bool[Tensor, "b s"] | None,
    causal: bool,
    dropout: float = 0.0,
) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b h q s"]]:
    """Compute contexts and weights by separate operations."""
    energies_bhqs = query_bhqw @ memory.keys_bhsw.mT / sqrt(query_bhqw.size(-1))
    # A causal mask also hides the padding after a real position.
    visible = torch.ones_like(energies_bhqs[0, 0]).tril().bool() if causal else _broadcast(mask_bs)
    if visible is not None:
        energies_bhqs = energies_bhqs.masked_fill(~visible, float("-inf"))
    weights_bhqs = energies_bhqs.softmax(dim=-1)
    # Dropout changes the contexts, but not the weights that are returned.
    kept_bhqs = apply_dropout(weights_bhqs, dropout) if dropout else weights_bhqs
    # Heads are concatenated per query.
    context_bqd = (kept_bhqs @ memory.values_bhsw).transpose(1, 2).flatten(2)
    return context_bqd.to(query_bhqw.dtype), weights_bhqs.to(query_bhqw.dtype)


class SelfAttention(nn.Module):
    """Attention of the positions of a sequence to each other. Vaswani et al. 2017, section 3.2.3.

    Queries, keys and values come from one product: `in_proj` and `out_proj` are torch's
    `in_proj_weight` (q, k, v on top of each other), `in_proj_bias` and `out_proj`.

    Args:
        width: width of inputs and outputs
        heads: number of heads
        dropout: dropout rate of attention weights

    Attributes:
        attention: computes contexts and weights

    Raises:
        ValueError: the width is not a multiple of the number of heads
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        check_heads(width, heads)
        self.heads, self.dropout = heads, dropout
        self.attention: AttentionFunction = multi_head_attention
        self.in_proj = glorot_linear(width, width, parts=3)
        self.out_proj = glorot_linear(width, width)

    def forward(
        self,
        inputs_btd: Float[Tensor, "b t d"],
        mask_bt: Bool[Tensor, "b t"] | None = None,
        *,
        causal: bool = False,
    ) -> Float[Tensor, "b t d"]:
        """Attend from all positions at once.

        Args:
            inputs_btd: all positions
            mask_bt: real positions; not together with `causal`
            causal: whether a position attends only to itself and to those before it
        """
        query_bhtw, memory = self._project(inputs_btd)
        context_btd, _ = self.attention(
            query_bhtw,
            memory,
            mask_bt,
            causal=causal,
            dropout=self.dropout if self.training else 0.0,
            need_weights=False,
        )
        return self.out_proj(context_btd)

    def step(
        self, inputs_nd: Float[Tensor, "n d"], past: Heads
    ) -> tuple[Float[Tensor, "n d"], Heads]:
        """Attend from the next position to itself and the past; return the extended past too."""
        query_nh1w, new = self._project(inputs_nd[:, None])
        # The cache grows by one position per step.
        past = Heads(*(torch.cat(pair, dim=2) for pair in zip(past, new, strict=True)))
        context_n1d, _ = self.attention(query_nh1w, past)
        return self.out_proj(context_n1d[:, 0]), past

    def _project(self, inputs_btd: Tensor) -> tuple[Tensor, Heads]:
        # One product for queries, keys and values.
        query, keys, values = self.in_proj(inputs_btd).chunk(3, dim=-1)
        heads = self.heads
        return split_heads(query, heads), Heads(
            split_heads(keys, heads), split_heads(values, heads)
        )


class CrossAttention(nn.Module):
    """Attention of queries to another sequence. Vaswani et al. 2017, section 3.2.3.

    `q_proj`, `kv_proj` (k and v on top of each other) and `out_proj` are torch's `q_proj_weight`,
    `k_proj_weight`, `v_proj_weight` and `out_proj`, or slices of its `in_proj_weight`.

    Args:
        query_size: width of a query
        key_size: width of an annotation
        width: width of all heads together and of the output
        heads: number of heads
        dropout: dropout rate of attention weights

    Attributes:
        attention: computes contexts and weights

    Raises:
        ValueError: the width is not a multiple of the number of heads
    """

    def __init__(
        self, query_size: int, key_size: int, width: int, heads: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_heads(width, heads)
        self.heads, self.dropout = heads, dropout
        self.attention: AttentionFunction = multi_head_attention
        self.q_proj = glorot_linear(query_size, width)
        self.kv_proj = glorot_linear(key_size, width, parts=2)
        self.out_proj = glorot_linear(width, width)

    def project(
        self, states_bse: Float[Tensor, "b s e"]
    ) -> tuple[Float[Tensor, "b s d"], Float[Tensor, "b s d"]]:
        """Compute keys and values of all heads, concatenated."""
        keys_bsd, values_bsd = self.kv_proj(states_bse).chunk(2, dim=-1)
        return keys_bsd, values_bsd

    def prepare(self, states_bse: Float[Tensor, "b s e"]) -> Heads:
        """Compute keys and values of each head, once per sentence."""
        return Heads(*(split_heads(part, self.heads) for part in self.project(states_bse)))

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], memory: Heads, mask_bs: Bool[Tensor, "b s"]
    ) -> Float[Tensor, "b q d2"]:
        """Compute the context of each query."""
        query_bhqw = split_heads(self.q_proj(query_bqd), self.heads)
        dropout = self.dropout if self.training else 0.0
        context_bqd, _ = self.attention(
            query_bhqw, memory, mask_bs, dropout=dropout, need_weights=False
        )
        return self.out_proj(context_bqd)

    def with_weights(
        self,
        query_bqd: Float[Tensor, "b q d"],
        memory: Heads,
        mask_bs: Bool[Tensor, "b s"],
        head: int | None = None,
    ) -> tuple[Float[Tensor, "b q d2"], Float[Tensor, "b q s"]]:
        """Compute contexts, and the attention weights of a head or their mean over the heads.

        Args:
            query_bqd: queries
            memory: keys and values of each head
            mask_bs: real source positions
            head: the head, from 1; None for the mean
        """
        query_bhqw = split_heads(self.q_proj(query_bqd), self.heads)
        dropout = self.dropout if self.training else 0.0
        context_bqd, weights_bhqs = self.attention(query_bhqw, memory, mask_bs, dropout=dropout)
        assert weights_bhqs is not None
        weights_bqs = weights_bhqs.mean(dim=1) if head is None else weights_bhqs[:, head - 1]
        return self.out_proj(context_bqd), weights_bqs


def split_heads(projected_bsd: Float[Tensor, "b s d"], heads: int) -> Float[Tensor, "b h s w"]:
    """Split a projection into the parts of the heads."""
    # A view; products copy it if they need it contiguous.
    parts_bshw = projected_bsd.unflatten(-1, (heads, -1))  # type: ignore[no-untyped-call]
    return parts_bshw.transpose(1, 2)


def _broadcast(mask_bs: Tensor | None) -> Tensor | None:
    return None if mask_bs is None else mask_bs[:, None, None]


def check_heads(width: int, heads: int) -> None:
    """Raise ValueError unless a width is a multiple of the number of heads."""
    if width % heads:
        # The largest number of heads that divides the width.
        fewer = next(number for number in range(heads, 0, -1) if width % number == 0)
        raise ValueError(
            f"heads: {heads} does not divide the width {width}; use {fewer}, or a width that is a "
            f"multiple of {heads}"
        )
