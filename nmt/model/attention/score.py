"""Base classes of score functions, which compute the energies of attention."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nmt.model.interfaces import FusedSupport
from nmt.model.layers.arithmetic import TORCH_ARITHMETIC, Arithmetic
from nmt.model.layers.linear import xavier_gates
from nmt.model.layers.multi_head import check_heads

Form = Literal["bilinear", "additive", "location", "own"]


class Score(FusedSupport, nn.Module, ABC):
    """A score function: energies_bxs = score(query_bqd, prepare(states_bse)).

    A score with several heads compares as many parts of q' and k' separately. The energies of a
    query's heads are neighboring rows: x = q * heads + h. With one head, x is q.

    Args:
        query_size: width d of a query
        key_size: width e of an annotation
        heads: number of heads

    Attributes:
        form: formula of the energies; see the subclasses
        keys_size: width a of a key, which `prepare` computes from an annotation
        arithmetic: arithmetic of products and sums; row-independent in search
    """

    form: ClassVar[Form] = "own"
    arithmetic: Arithmetic = TORCH_ARITHMETIC

    def __init__(self, query_size: int, key_size: int, heads: int = 1) -> None:
        super().__init__()
        self.query_size, self.key_size, self.heads = query_size, key_size, heads
        self.keys_size = key_size

    def head_weight(self, rows: int, columns: int) -> Float[Tensor, "rows columns"]:
        """Draw a matrix that is one of Glorot's per head, with an equal share of the rows each."""
        check_heads(rows, self.heads)
        return xavier_gates(self.heads, rows // self.heads, columns)

    def by_heads(self, energies: Callable[..., Tensor], *parts: Float[Tensor, "... _"]) -> Tensor:
        """Compute energies of each head from its parts of queries, keys and vectors."""
        if self.heads == 1:
            return energies(*parts)
        # Views, so that no step copies the keys.
        heads = zip(*(part.chunk(self.heads, dim=-1) for part in parts), strict=True)
        return torch.stack([energies(*own) for own in heads], dim=2).flatten(1, 2)

    def prepare(self, states_bse: Float[Tensor, "b s e"]) -> Float[Tensor, "b s a"]:
        """Compute keys from annotations, once per sentence."""
        return states_bse

    @abstractmethod
    def forward(
        self, query_bqd: Float[Tensor, "b q d"], keys_bsa: Float[Tensor, "b s a"]
    ) -> Float[Tensor, "b x s"]:
        """Compute energies, before masking and normalization."""

    def query_matrix(self) -> Float[Tensor, "a d"] | None:
        """Return W of a linear query projection, q' = W q; None if q' = q.

        Defined where `supports_fused` is True.
        """
        return None

    def require_equal_sizes(self) -> None:
        """Raise ValueError unless queries and annotations have equal width."""
        if self.query_size != self.key_size:
            raise ValueError(
                f"requires queries and annotations of equal width, got {self.query_size} (decoder) "
                f"and {self.key_size} (encoder); make them equal or use 'general'"
            )


class BilinearScore(Score):
    """Base of scores q'·k', with q' = project(query) and k' = prepare(annotation).

    Attributes:
        query_scale: c of a scaled projection, q' = c W q or q' = c q
    """

    form = "bilinear"
    fused_methods = ("project", "forward")
    query_scale: float = 1.0

    def project(self, query_bqd: Float[Tensor, "b q d"]) -> Float[Tensor, "b q a"]:
        """Compute q'."""
        return query_bqd

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], keys_bsa: Float[Tensor, "b s a"]
    ) -> Float[Tensor, "b x s"]:
        return self.by_heads(self.arithmetic.energies, self.project(query_bqd), keys_bsa)


TanhEnergies = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(query_bqa, keys_bsa, v_a) -> energies_bqs = v·tanh(q' + k')"""


class TanhScore(Score):
    """Base of scores v·tanh(q' + k'), with q' = project(query) and k' = prepare(annotation).

    Args:
        query_size: width d of a query
        key_size: width e of an annotation
        hidden_size: width a of q' and k'
        heads: number of heads

    Attributes:
        energies: computes v·tanh(q' + k')
    """

    form = "additive"
    fused_methods = ("project", "forward")

    def __init__(self, query_size: int, key_size: int, hidden_size: int, heads: int = 1) -> None:
        super().__init__(query_size, key_size, heads)
        self.keys_size = hidden_size
        check_heads(hidden_size, heads)
        self.v_a = nn.Parameter(xavier_gates(heads, 1, hidden_size // heads).flatten())
        self.energies: TanhEnergies = tanh_energies

    @abstractmethod
    def project(self, query_bqd: Float[Tensor, "b q d"]) -> Float[Tensor, "b q a"]:
        """Compute q'."""

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], keys_bsa: Float[Tensor, "b s a"]
    ) -> Float[Tensor, "b x s"]:
        return self.by_heads(self.energies, self.project(query_bqd), keys_bsa, self.v_a)


def tanh_energies(
    query_bqa: Float[Tensor, "b q a"], keys_bsa: Float[Tensor, "b s a"], v_a: Float[Tensor, " a"]
) -> Float[Tensor, "b q s"]:
    """Compute v·tanh(q + k) for all pairs of a query and a key."""
    # Every pair needs its own tanh: b * q * s * a values.
    return torch.tanh(query_bqa[:, :, None] + keys_bsa[:, None]) @ v_a
