"""Location score."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from nmt.component_spec import Length
from nmt.model.attention.score import Score
from nmt.model.layers.linear import xavier
from nmt.registry import SCORES


@SCORES.register("location")
class LocationScore(Score):
    """Location score, W q: energies from the query alone. Luong et al. 2015, eq. 8 ("location").

    W has one row per source position.

    Args:
        max_length: source positions that have a row of W, in tokens; later ones get no weight
    """

    form = "location"

    def __init__(self, query_size: int, key_size: int, *, max_length: Length = 200) -> None:
        super().__init__(query_size, key_size)
        self.keys_size = 0
        self.weight_pd = nn.Parameter(xavier(max_length, query_size))

    def prepare(self, states_bse: Float[Tensor, "b s e"]) -> Float[Tensor, "b s 0"]:
        return states_bse[:, :, :0]

    def forward(
        self, query_bqd: Float[Tensor, "b q d"], keys_bsa: Float[Tensor, "b s 0"]
    ) -> Float[Tensor, "b q s"]:
        length, reach = keys_bsa.size(1), self.weight_pd.size(0)
        # Only rows of positions that exist in this batch.
        energies_bqp = self.arithmetic.linear(query_bqd, self.weight_pd, rows=length)
        return pad(energies_bqp, (0, max(0, length - reach)), value=float("-inf"))
