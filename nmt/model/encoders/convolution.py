"""A small convolutional network that encodes the pixels of an image."""

from itertools import pairwise
from math import gcd

import torch
from jaxtyping import Bool, Num
from torch import Tensor, nn

from nmt.component_spec import Count, Probability, Size
from nmt.data.images import ImageSize
from nmt.model.encoders.features import ImageEncoder
from nmt.model.interfaces import Encoded
from nmt.registry import ENCODERS

MAX_GROUPS = 8  # of channels that are normalized together
POSITION_STD = 0.3  # initial standard deviation of the row and column vectors


@ENCODERS.register("convolution")
class ConvolutionEncoder(ImageEncoder):
    """Convolutional network over pixels: a grid of annotations. Xu et al. 2015, section 3.1.1.

    Blocks of 3 x 3 convolutions, each followed by GroupNorm (Wu and He 2018) and ReLU. The first
    convolution of a block halves the sides, and a block has twice the channels of the one before. A
    learned vector of its row and one of its column are added to each annotation, so that attention
    can depend on the position.

    Args:
        channels: channels of the first block
        blocks: number of blocks, each of which halves the sides
        convolutions: convolutions per block
        dropout: dropout rate of the annotations
    """

    def __init__(
        self,
        image_size: ImageSize,
        *,
        channels: Size = 32,
        blocks: Count = 3,
        convolutions: Count = 2,
        dropout: Probability = 0.0,
    ) -> None:
        if image_size.size is None:
            raise ValueError("requires pixels; set data.pictures.size, or use encoder 'features'")
        side, remainder = divmod(image_size.size, 2**blocks)
        if remainder or not side:
            raise ValueError(
                f"halves the sides {blocks} times, but {image_size.size} pixels are not a multiple "
                f"of {2**blocks}; change data.pictures.size or blocks"
            )
        # Each block doubles the channels, and an annotation is as wide as the last block.
        super().__init__(channels * 2 ** (blocks - 1), (side, side), dropout)
        widths = [channels * 2**number for number in range(blocks)]
        self.network = nn.Sequential()
        # Three color channels enter the first block.
        for before, width in pairwise([3, *widths]):
            for number in range(convolutions):
                inputs, stride = (before, 2) if number == 0 else (width, 1)
                # No bias: the norm that follows has one of its own.
                convolution = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
                # Unlike BatchNorm, its result does not depend on the other images of the batch.
                norm = nn.GroupNorm(gcd(MAX_GROUPS, width), width)
                self.network.extend([convolution, norm, nn.ReLU()])
        self.row_ye = nn.Parameter(POSITION_STD * torch.randn(side, self.output_size))
        self.column_ze = nn.Parameter(POSITION_STD * torch.randn(side, self.output_size))

    def forward(self, images_b3yz: Num[Tensor, "b 3 y z"], mask_bs: Bool[Tensor, "b _"]) -> Encoded:
        # One memory layout: convolutions and norms of another one round differently, and norms with
        # channels last depend on the other images of the batch.
        images_b3yz = images_b3yz.contiguous()
        # From bytes to [-1, 1].
        pixels = images_b3yz.to(self.row_ye.dtype) / 127.5 - 1
        # Channels last: an annotation is the vector of a grid cell.
        map_byze = self.network(pixels).permute(0, 2, 3, 1)
        # Broadcast over the other axis of the grid.
        states_byze = map_byze + self.row_ye[:, None] + self.column_ze
        return self.encoded(states_byze.flatten(1, 2))
