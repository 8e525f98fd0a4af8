"""Location score."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from nmt.component_spec import Count, Length
from nmt.model.attention.score import Score
from nmt.model.layers.linear import xavier_gates
from nmt.registry import SCORES


@SCORES.register("location")
class LocationScore(Score):
    """Location score, W q: energies from the query alone. Luong et al. 2015, eq. 8 ("location").

    W has one row per source position.

    Args:
        max_length: source positions that have a row of W, in tokens; later ones get no weight
        heads: number of heads, each with its own W
    """

    form = "location"

    def __init__(
        self, query_size: int, key_size: int, *, max_length: Length = 200, heads: Count = 1
    ) -> None:
        super().__init__(query_size, key_size, heads)
        self.keys_size = 0
        # The rows of a position are those of its heads.
        self.weight_pd = nn.Parameter(xavier_gates(heads, max_length, query_size))

    def prepare(self, states_bse: Float[Tensor, "b s e"]) -> Float[Tensor, "b s 0"]:
        return states_bse[:, :, :0]

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], keys_bsa: Float[Tensor, "b s 0"]
    ) -> Float[Tensor, "b x s"]:
        length, reach = keys_bsa.size(1), self.weight_pd.size(0) // self.heads
        # Only rows of positions that exist in this batch.
        rows = length * self.heads
        energies_bxp = self.arithmetic.linear(query_bqd, self.weight_pd, rows=rows)
        if self.heads > 1:
            parts = energies_bxp.unflatten(-1, (-1, self.heads))  # type: ignore[no-untyped-call]
            energies_bxp = parts.transpose(2, 3).flatten(1, 2)
        return pad(energies_bxp, (0, max(0, length - reach)), value=float("-inf"))
