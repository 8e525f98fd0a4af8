"""Batches of sentences to translate: similar lengths together, within limits of size."""

from collections.abc import Iterator, Sequence

import torch

from nmt.config.search_options import SearchOptions
from nmt.data.batch_plan import padding_length
from nmt.search.graphed_steps import round_rows_down

BATCH_TOKENS = {"cpu": 1500, "cuda": 4000}
"""Source tokens per batch by type of device: more of them leave a CPU's caches."""


def plan_batches(
    lengths: Sequence[int],
    options: SearchOptions,
    device: torch.device,
    *,
    few_shapes: bool = False,
) -> Iterator[list[int]]:
    """Group sentences of similar length within the limits of a batch; skip empty sentences.

    Args:
        lengths: source length of each sentence, `</s>` excluded
        options: `batch_tokens` and `batch_sentences`
        device: device of the model, which sets the default of `batch_tokens`
        few_shapes: whether lengths and numbers of rows are rounded

    Yields:
        indices of the sentences of one batch
    """
    # Similar lengths share a batch, which has little padding then. The sort is stable, so the plan
    # is a function of the lengths alone.
    order = sorted((row for row, length in enumerate(lengths) if length), key=lengths.__getitem__)
    batch_tokens = options.batch_tokens or BATCH_TOKENS.get(device.type, BATCH_TOKENS["cuda"])
    batch: list[int] = []
    for row in order:
        # Lengths ascend, so the new sentence determines the padded length, with its `</s>`.
        length = lengths[row] + 1
        if few_shapes:
            length += padding_length(length)
        max_rows = min(batch_tokens // length, options.batch_sentences or len(order))
        while batch and len(batch) >= max_rows:
            size = round_rows_down(len(batch)) if few_shapes else len(batch)
            yield batch[:size]
            batch = batch[size:]
        batch.append(row)
    if batch:
        yield batch
