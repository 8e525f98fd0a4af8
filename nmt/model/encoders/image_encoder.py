"""Base class of encoders of images."""

from jaxtyping import Float
from torch import Tensor

from nmt.model.interfaces import Encoded, Encoder, LayerStates
from nmt.model.layers.dropout import dropout as apply_dropout


class ImageEncoder(Encoder):
    """Base of encoders of images; the final state is the mean annotation. Xu et al. 2015, 3.1.2.

    Args:
        output_size: width e of an annotation
        grid: rows and columns of the annotations
        dropout: dropout rate of the annotations
    """

    layers = 0
    has_cells = False

    def __init__(self, output_size: int, grid: tuple[int, int], dropout: float) -> None:
        super().__init__()
        self.output_size = self.final_state_size = output_size
        self.grid, self.dropout = grid, dropout

    def encoded(self, states_bse: Float[Tensor, "b s e"]) -> Encoded:
        """Return the encoder's output for annotations, after dropout."""
        states_bse = apply_dropout(states_bse, self.dropout, self.training)
        mask_bs = states_bse.new_ones(states_bse.shape[:2]).bool()
        # No recurrent layers, so no states that a decoder could copy.
        empty_ble = states_bse.new_zeros(len(states_bse), 0, self.output_size)
        return Encoded(states_bse, mask_bs, states_bse.mean(dim=1), LayerStates(empty_ble, None))
