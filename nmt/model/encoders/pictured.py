"""What encoders of pictures share."""

from jaxtyping import Float
from torch import Tensor

from nmt.model.interfaces import Encoded, Encoder, LayerStates
from nmt.model.layers.dropout import dropout as drop


class PictureEncoder(Encoder):
    """Hands out annotations of a picture; its summary is their mean. Xu et al. 2015, section 3.1.2.

    Args:
        output_size: width e of an annotation
        grid: rows and columns of the annotations
        dropout: share of units of the annotations dropped
    """

    layers = 0
    has_cells = False

    def __init__(self, output_size: int, grid: tuple[int, int], dropout: float) -> None:
        super().__init__()
        self.output_size = self.final_state_size = output_size
        self.grid, self.dropout = grid, dropout

    def encoded(self, states_bse: Float[Tensor, "b s e"]) -> Encoded:
        """What the decoder is told of the annotations."""
        states_bse = drop(states_bse, self.dropout, self.training)
        mask_bs = states_bse.new_ones(states_bse.shape[:2]).bool()
        none_ble = states_bse.new_zeros(len(states_bse), 0, self.output_size)
        return Encoded(states_bse, mask_bs, states_bse.mean(dim=1), LayerStates(none_ble, None))
