"""Small models of all encoders of images, so that a new one is tested by existing."""

from typing import Any

import pytest
import torch

from nmt.data.images import ImageSize
from nmt.errors import UserError
from nmt.model.build import check_model
from nmt.registry import ENCODERS, ComponentConfig
from tests.model.small import WIDTH, Text, choices, config, name_of, text

PIXELS = ImageSize(size=16)
MAPS = ImageSize(features=5, positions=4)
DECODER = ComponentConfig("bahdanau", {"hidden_size": WIDTH})


def image_encoders() -> list[Any]:
    """Return every encoder of images with up to two options changed, and its image sizes."""
    found = []
    for encoder in choices(ENCODERS, 2):
        model = config(encoder=encoder, decoder=DECODER)
        for sizes in (PIXELS, MAPS):
            try:
                check_model(model, joint=True, image_size=sizes)
            except UserError:
                continue
            found.append(pytest.param(model, sizes, id=name_of(encoder)))
    return found


def random_images(sizes: ImageSize) -> Text:
    """Return three random images and the targets of `text`."""
    generator = torch.Generator().manual_seed(4)
    if sizes.size is None:
        assert sizes.features is not None
        maps = (3, sizes.positions, sizes.features)
        source = torch.randn(maps, generator=generator, dtype=torch.float64)
    else:
        pixels = (3, 3, sizes.size, sizes.size)
        source = torch.randint(0, 256, pixels, generator=generator, dtype=torch.uint8)
    mask_bs = torch.ones(3, 1, dtype=torch.bool)
    return text()._replace(source_bs=source, source_mask_bs=mask_bs)
