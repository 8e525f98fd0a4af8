"""The convolutional encoder against its formulas in NumPy, one image at a time."""

from math import sqrt
from typing import cast

import numpy as np
import pytest
import torch
from torch import nn

from nmt.data.images import ImageSize
from nmt.model.encoders.convolution import ConvolutionEncoder
from tests.model.numpy_formulas import Array, array, draw


def convolve(entering: Array, weights: Array, stride: int) -> Array:
    """Compute a 3 x 3 convolution with zero padding of (channels, rows, columns)."""
    padded = np.pad(entering, ((0, 0), (1, 1), (1, 1)))
    rows, columns = (size // stride for size in entering.shape[1:])
    leaving = np.empty((len(weights), rows, columns))
    for row in range(rows):
        for column in range(columns):
            top, left = row * stride, column * stride
            seen = padded[:, top : top + 3, left : left + 3]
            leaving[:, row, column] = (weights * seen).sum(axis=(1, 2, 3))
    return leaving


def normalise(values: Array, groups: int, scale: Array, shift: Array) -> Array:
    """Normalize each group of channels to mean 0 and variance 1 over the whole image."""
    found = []
    for group in np.split(values, groups):
        found.append((group - group.mean()) / np.sqrt(group.var() + 1e-5))
    return np.concatenate(found) * scale[:, None, None] + shift[:, None, None]


@pytest.mark.parametrize(("channels", "groups"), [(4, (4, 8)), (12, (4, 8)), (16, (8, 8))])
@pytest.mark.parametrize("convolutions", [1, 2])
def test_annotations_equal_torch_operations(
    channels: int, groups: tuple[int, int], convolutions: int
) -> None:
    encoder = draw(
        ConvolutionEncoder(
            ImageSize(size=8), channels=channels, blocks=2, convolutions=convolutions
        )
    )
    assert (encoder.grid, encoder.output_size) == ((2, 2), 2 * channels)
    picture = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    values = picture[0].numpy() / 255 * 2 - 1
    layers = [layer for layer in encoder.network if not isinstance(layer, nn.ReLU)]
    for number in range(2 * convolutions):
        convolution = cast(nn.Conv2d, layers[2 * number])
        norm = cast(nn.GroupNorm, layers[2 * number + 1])
        stride = 2 if number % convolutions == 0 else 1
        values = convolve(values, array(convolution.weight), stride)
        sets = groups[number // convolutions]
        values = normalise(values, sets, array(norm.weight), array(norm.bias)).clip(min=0)
    expected = values + array(encoder.row_ye).T[:, :, None] + array(encoder.column_ze).T[:, None, :]
    found = encoder(picture, torch.ones(1, 1).bool()).states_bse
    assert np.allclose(array(found)[0], expected.reshape(2 * channels, 4).T, rtol=1e-9, atol=1e-9)


def test_images_do_not_affect_each_other() -> None:
    encoder = draw(ConvolutionEncoder(ImageSize(size=16), channels=4, blocks=2))
    source = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    changed = source.clone()
    changed[1] = 255
    mask_bs = torch.ones(2, 1).bool()
    assert torch.equal(
        encoder(source, mask_bs).states_bse[0], encoder(changed, mask_bs).states_bse[0]
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_annotations_depend_neither_on_the_batch_nor_on_the_memory_layout(threads: int) -> None:
    """Not a bit of them; batches of one image are computed as two in search."""
    torch.manual_seed(2)
    encoder = ConvolutionEncoder(ImageSize(size=64), channels=16).requires_grad_(False)
    images = torch.randint(0, 256, (7, 3, 64, 64), dtype=torch.uint8)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        expected = encoder(images, torch.ones(7, 1).bool())
        for layout in (torch.contiguous_format, torch.channels_last):
            for rows in (slice(0, 2), slice(1, 6), slice(4, 7)):
                own = images[rows].contiguous(memory_format=layout)
                found = encoder(own, torch.ones(len(own), 1).bool())
                assert torch.equal(found.states_bse, expected.states_bse[rows])
                assert torch.equal(found.final_state_bx, expected.final_state_bx[rows])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        (ImageSize(features=8), "requires pixels"),
        (ImageSize(size=60), "60 pixels are not a multiple of 8"),
        (ImageSize(size=4), "4 pixels are not a multiple of 8"),
    ],
)
def test_unsuitable_images_are_rejected(sizes: ImageSize, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ConvolutionEncoder(sizes)


def test_initial_annotations_neither_vanish_nor_explode() -> None:
    torch.manual_seed(1)
    encoder = ConvolutionEncoder(ImageSize(size=64))
    states_bse = encoder(
        torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8), torch.ones(4, 1).bool()
    ).states_bse
    assert 1 / sqrt(10) < float(states_bse.detach().std()) < sqrt(10)
