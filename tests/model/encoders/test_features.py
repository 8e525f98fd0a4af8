"""The encoder of precomputed feature maps."""

import pytest
import torch

from nmt.data.images import ImageSize
from nmt.model.encoders.features import FeaturesEncoder
from tests.model.numpy_formulas import array, draw

SIZES = ImageSize(features=3, positions=4)
MASK_BS = torch.ones(2, 1, dtype=torch.bool)


def test_annotations_are_the_features() -> None:
    features_bsf = torch.randn(2, 4, 3)
    encoder = FeaturesEncoder(SIZES)
    assert list(encoder.parameters()) == []
    assert (encoder.output_size, encoder.grid) == (3, (2, 2))
    assert torch.equal(encoder(features_bsf, MASK_BS).states_bse, features_bsf)


def test_projection_changes_the_width() -> None:
    encoder = draw(FeaturesEncoder(SIZES, hidden_size=5))
    features_bsf = torch.randn(2, 4, 3, dtype=torch.float64)
    expected = array(features_bsf) @ array(encoder.projection.weight).T
    expected += array(encoder.projection.bias)
    found = array(encoder(features_bsf, MASK_BS).states_bse)
    assert abs(found - expected).max() < 1e-12
    assert encoder.output_size == 5


def test_pixels_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"requires feature maps; set data\.pictures\.features"):
        FeaturesEncoder(ImageSize(size=64))
