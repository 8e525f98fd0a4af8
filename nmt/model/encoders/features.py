"""The base class of encoders of images, and an encoder of precomputed image features."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from nmt.component_spec import Probability, Size
from nmt.data.images import ImageSize, grid_shape
from nmt.model.interfaces import Encoded, Encoder, LayerStates
from nmt.model.layers.dropout import dropout as apply_dropout
from nmt.registry import ENCODERS


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
        # An image has no padding, and the mask of the batch counts it as one token.
        mask_bs = states_bse.new_ones(states_bse.shape[:2]).bool()
        # No recurrent layers, so no states that a decoder could copy.
        empty_ble = states_bse.new_zeros(len(states_bse), 0, self.output_size)
        return Encoded(states_bse, mask_bs, states_bse.mean(dim=1), LayerStates(empty_ble, None))


@ENCODERS.register("features")
class FeaturesEncoder(ImageEncoder):
    """Precomputed feature maps, such as VGG's of 14 x 14 x 512. Xu et al. 2015, section 4.3.

    Args:
        hidden_size: width of a linear projection of the features (default: no projection)
        dropout: dropout rate of the annotations
    """

    def __init__(
        self,
        image_size: ImageSize,
        *,
        hidden_size: Size | None = None,
        dropout: Probability = 0.0,
    ) -> None:
        if image_size.features is None:
            raise ValueError(
                "requires feature maps; set data.pictures.features, or use encoder 'convolution'"
            )
        super().__init__(
            hidden_size or image_size.features, grid_shape(image_size.positions), dropout
        )
        self.projection = nn.Linear(image_size.features, hidden_size) if hidden_size else None

    def forward(
        self, features_bsx: Float[Tensor, "b s x"], mask_bs: Bool[Tensor, "b _"]
    ) -> Encoded:
        states_bse = features_bsx if self.projection is None else self.projection(features_bsx)
        return self.encoded(states_bse)
