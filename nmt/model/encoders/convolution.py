"""Convolutional encoder of images."""

from itertools import pairwise
from math import gcd

import torch
from jaxtyping import Bool, Num
from torch import Tensor, nn

from nmt.component_spec import Positive, Probability
from nmt.data.images import ImageSize
from nmt.model.encoders.pictured import PictureEncoder
from nmt.model.interfaces import Encoded
from nmt.registry import ENCODERS

GROUPS = 8  # channels normalised together, at most so many sets of them


@ENCODERS.register("convolution")
class ConvolutionEncoder(PictureEncoder):
    """Convolutional network over pixels: a grid of annotations. Xu et al. 2015, section 3.1.1.

    A block is a number of 3 x 3 convolutions, each followed by GroupNorm (Wu and He 2018), whose
    statistics are those of one image, so that no result depends on the batch, and ReLU. The first
    convolution of a block halves height and width; a block has twice as many channels as the
    previous one. A learned vector of its row and one of its column are added to each annotation, so
    that attention can distinguish positions.

    Args:
        channels: channels of the first block
        blocks: number of blocks, each of which halves height and width
        convolutions: convolutions per block
        dropout: dropout rate of the annotations
    """

    def __init__(
        self,
        image_size: ImageSize,
        *,
        channels: Positive = 32,
        blocks: Positive = 3,
        convolutions: Positive = 2,
        dropout: Probability = 0.0,
    ) -> None:
        if image_size.size is None:
            raise ValueError("reads pixels; set data.pictures.size, or use encoder 'features'")
        side, odd = divmod(image_size.size, 2**blocks)
        if odd or not side:
            raise ValueError(
                f"halves the sides {blocks} times, and {image_size.size} pixels are no multiple of "
                f"{2**blocks}; change data.pictures.size or blocks"
            )
        super().__init__(channels * 2 ** (blocks - 1), (side, side), dropout)
        widths = [channels * 2**number for number in range(blocks)]
        self.network = nn.Sequential()
        for before, width in pairwise([3, *widths]):
            for number in range(convolutions):
                entering, stride = (before, 2) if number == 0 else (width, 1)
                convolution = nn.Conv2d(entering, width, 3, stride, padding=1, bias=False)
                norm = nn.GroupNorm(gcd(GROUPS, width), width)
                self.network.extend([convolution, norm, nn.ReLU()])
        self.row_ye = nn.Parameter(0.3 * torch.randn(side, self.output_size))
        self.column_ze = nn.Parameter(0.3 * torch.randn(side, self.output_size))

    def forward(self, images_b3yz: Num[Tensor, "b 3 y z"], mask_bs: Bool[Tensor, "b _"]) -> Encoded:
        pixels = images_b3yz.to(self.row_ye.dtype) / 127.5 - 1
        map_byze = self.network(pixels).permute(0, 2, 3, 1)
        states_byze = map_byze + self.row_ye[:, None] + self.column_ze
        return self.encoded(states_byze.flatten(1, 2))
