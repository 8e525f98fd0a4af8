"""An encoder of precomputed image features."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from nmt.component_spec import Positive, Probability
from nmt.data.images import ImageSize, grid_shape
from nmt.model.encoders.image_encoder import ImageEncoder
from nmt.model.interfaces import Encoded
from nmt.registry import ENCODERS


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
        hidden_size: Positive | None = None,
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
