"""What a score function is, and the forms that nearly all of them take."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nmt.model.interfaces import FusedSupport
from nmt.model.layers.initial import xavier

FACTORS = 20.0  # |x| up to which e^2x e^2y is neither 0 nor infinite in float32

Form = Literal["bilinear", "additive", "location", "own"]


class Score(FusedSupport, nn.Module, ABC):
    """How well each source position answers a query: energies_bqs = score(query_bqd, keys_bsa).

    Args:
        query_size: width d of a query
        key_size: width e of an annotation

    Attributes:
        form: which product the energies are
        keys_size: width a of what `prepare` makes of an annotation
    """

    form: ClassVar[Form] = "own"

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__()
        self.query_size, self.key_size = query_size, key_size
        self.keys_size = key_size

    def prepare(self, states_bse: Float[Tensor, "b s e"]) -> Float[Tensor, "b s a"]:
        """The part of the score that depends on the source alone; done once a sentence."""
        return states_bse

    @abstractmethod
    def forward(
        self, query_bqd: Float[Tensor, "b q d"], keys_bsa: Float[Tensor, "b s a"]
    ) -> Float[Tensor, "b q s"]:
        """Energies before masking and softmax."""

    def query_matrix(self) -> Float[Tensor, "a d"] | None:
        """Return W of a linear query projection, q' = W q; None if q' = q.

        Defined where `supports_fused` is True.
        """
        return None

    def require_equal_sizes(self) -> None:
        """Raise ValueError unless queries and annotations have one width."""
        if self.query_size != self.key_size:
            raise ValueError(
                f"needs queries and annotations of one width, got {self.query_size} (decoder) and "
                f"{self.key_size} (encoder); make them equal or use 'general'"
            )


class BilinearScore(Score):
    """q'·k', with q' = project(query) and k' = prepare(annotation).

    Attributes:
        query_scale: c of a scaled projection, q' = c W q or q' = c q
    """

    form = "bilinear"
    fused_methods = ("project", "forward")
    query_scale: float = 1.0

    def project(self, query_bqd: Float[Tensor, "b q d"]) -> Float[Tensor, "b q a"]:
        """q' of the query."""
        return query_bqd

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], keys_bsa: Float[Tensor, "b s a"]
    ) -> Float[Tensor, "b q s"]:
        return self.project(query_bqd) @ keys_bsa.mT


class TanhScore(Score):
    """v·tanh(q' + k'), with q' = project(query) and k' = prepare(annotation).

    Args:
        hidden_size: width a of the alignment layer
    """

    form = "additive"
    fused_methods = ("project", "forward")

    def __init__(self, query_size: int, key_size: int, hidden_size: int) -> None:
        super().__init__(query_size, key_size)
        self.keys_size = hidden_size
        self.energy_a = nn.Parameter(xavier(1, hidden_size)[0])

    @abstractmethod
    def project(self, query_bqd: Float[Tensor, "b q d"]) -> Float[Tensor, "b q a"]:
        """q' of the query."""

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], keys_bsa: Float[Tensor, "b s a"]
    ) -> Float[Tensor, "b q s"]:
        query_bqa = self.project(query_bqd)
        if _factors(query_bqa, keys_bsa):
            return _energies_of_factors(query_bqa, keys_bsa, self.energy_a)
        hidden_bqsa = torch.tanh(query_bqa[:, :, None] + keys_bsa[:, None])
        if torch.is_grad_enabled():
            return hidden_bqsa @ self.energy_a
        # In search summed row by row: a product with a vector rounds by the number of its rows.
        return hidden_bqsa.mul_(self.energy_a).sum(dim=-1)


def _factors(query_bqa: Float[Tensor, "b q a"], keys_bsa: Float[Tensor, "b s a"]) -> bool:
    """Whether tanh(q + k) is best had from e^2q e^2k.

    That saves a CPU the tanh of every pair where a sentence has several queries, as in search. Far
    from zero the factors would leave the range of float32.
    """
    if torch.is_grad_enabled() or keys_bsa.device.type != "cpu" or query_bqa.size(1) == 1:
        return False
    wide = all(part.dtype in (torch.float32, torch.float64) for part in (query_bqa, keys_bsa))
    return wide and all(float(part.abs().amax()) < FACTORS for part in (query_bqa, keys_bsa))


def _energies_of_factors(
    query_bqa: Float[Tensor, "b q a"], keys_bsa: Float[Tensor, "b s a"], energy_a: Tensor
) -> Float[Tensor, "b q s"]:
    """v·tanh(q + k), by tanh x = 1 - 2 / (1 + e^2x)."""
    of_query_bqa, of_key_bsa = (2 * query_bqa).exp_(), (2 * keys_bsa).exp_()
    one = of_key_bsa.new_ones(())
    pairs_bqsa = torch.addcmul(one, of_query_bqa[:, :, None], of_key_bsa[:, None])
    shares_bqsa = torch.div(energy_a, pairs_bqsa, out=pairs_bqsa)
    return energy_a.sum() - 2 * shares_bqsa.sum(dim=-1)
