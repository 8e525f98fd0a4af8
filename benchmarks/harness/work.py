"""The machine's rate of matrix products, and the number of operations that a model needs.

A rate divided by the highest one possible can be compared between machines: training cannot exceed
peak / (FLOPs per target token), whatever is written.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from nmt.device import has_fast_bf16
from workers.ids import Ids, Sizes

SIZE, REPETITIONS = 1024, 12
PER_UPDATE = 3  # one forward pass; a backward pass has two products for each of its products


def matmul_peaks(device: str, clock: str = "wall") -> dict[str, float]:
    """Return the FLOPs per second of square matrix products, by number format.

    The best of some repetitions, each of 2 * 1024^3 FLOPs on a CPU; larger ones on a GPU.

    Args:
        device: cpu or cuda
        clock: wall, or cpu for FLOPs per CPU second
    """
    read = time.process_time if clock == "cpu" else time.perf_counter
    formats = {"fp32": torch.float32}
    if device == "cuda" or has_fast_bf16():
        formats["bf16"] = torch.bfloat16
    size = SIZE if device == "cpu" else 8 * SIZE
    peaks = {}
    for name, dtype in formats.items():
        left, right = torch.randn(2, size, size, device=device).to(dtype)
        peaks[name] = _rate(torch.mm, left, right, read)
    left, right = torch.randint(-99, 99, (2, size, size), dtype=torch.int8, device=device)
    # The second factor of an int8 product is stored by columns.
    peaks["int8"] = _rate(torch._int_mm, left, right.T, read)
    return peaks


def _rate(
    product: Callable[[Tensor, Tensor], Tensor],
    left: Tensor,
    right: Tensor,
    clock: Callable[[], float],
) -> float:
    seconds = []
    for _ in range(REPETITIONS):
        _synchronize(left)
        start = clock()
        product(left, right)
        _synchronize(left)
        seconds.append(clock() - start)
    flops: float = 2 * left.size(0) ** 3 / min(seconds)
    return flops


def _synchronize(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize()


def training_flops(sizes: Sizes, ids: Ids) -> float:
    """Return the FLOPs of training per target token, for BiLSTM and Bahdanau's decoder.

    Products only, 2 per weight and token, without padding; elementwise functions are not counted.
    """
    tokens = {side: len(ids.arrays[side]) for side in ("source", "target")}
    # One </s> per sentence on both sides.
    sentences = len(ids.arrays["source_offsets"]) - 1
    ratio = (tokens["source"] + sentences) / (tokens["target"] + sentences)
    decoder, context = sizes.decoder, 2 * sizes.encoder
    weights = (
        4 * decoder * (sizes.embedding + decoder + context)
        + decoder * decoder  # query of the attention
        + (decoder + context + sizes.embedding) * 2 * sizes.readout  # pairs of a maxout
        + sizes.readout * ids.vocabulary
    )
    return PER_UPDATE * 2 * (weights + ratio * _source_weights(sizes))


def search_flops(sizes: Sizes, ids: Ids, *, count: int, beam: int, length: int) -> float:
    """Return the FLOPs of translating a sentence by the products that no precomputation saves.

    Contexts are averages of products that are computed once per source position, and products of
    embeddings are read from a table.

    Args:
        sizes: sizes of the model
        ids: the text
        count: number of sentences
        beam: beam size
        length: tokens of a translation
    """
    sentences = ids.test[:count]
    source = sum(len(sentence) + 1 for sentence in sentences) / len(sentences)
    decoder, context = sizes.decoder, 2 * sizes.encoder
    from_context = context * (4 * decoder + 2 * sizes.readout)
    step = (
        4 * decoder * decoder
        + decoder * decoder
        + decoder * 2 * sizes.readout
        + sizes.readout * ids.vocabulary
    )
    return 2 * (source * (_source_weights(sizes) + from_context) + beam * length * step)


def _source_weights(sizes: Sizes) -> int:
    """Return the weights of the encoder and of the attention's keys."""
    units, context = sizes.encoder, 2 * sizes.encoder
    inputs = sizes.embedding + (sizes.layers - 1) * context
    return 2 * 4 * units * (inputs + sizes.layers * units) + context * sizes.decoder
