"""A model that is never asked for one row alone.

Libraries of matrix products take another route for a single row than for several, and round
differently on it. From two rows on, a row's bits do not depend on how many there are, so a lone row
is computed twice: then a sentence's score is the same alone and among others.
"""

import torch
from jaxtyping import Bool
from torch import Tensor

from nmt.data.batch import Source
from nmt.model.interfaces import Memory, Prediction, State
from nmt.model.seq2seq import Seq2Seq
from nmt.search.step import Step, select_rows


def start_paired(
    model: Seq2Seq, source: Source, mask_bs: Bool[Tensor, "b _"]
) -> tuple[Memory, State]:
    """`model.start`, of a lone sentence by way of two."""
    if len(source) > 1:
        return model.start(source, mask_bs)
    twice = torch.tensor([0, 0], device=source.device)
    return select_rows(model.start(source[twice], mask_bs[twice]), twice[:1])


def step_paired(model: Seq2Seq) -> Step:
    """`model.step`, of a lone hypothesis by way of two."""

    def step(tokens_n: Tensor, memory: Memory, state: State) -> Prediction:
        if len(tokens_n) > 1:
            return model.step(tokens_n, memory, state)
        twice = torch.tensor([0, 0], device=tokens_n.device)
        memory, state = select_rows((memory, state), twice)
        return select_rows(model.step(tokens_n[twice], memory, state), twice[:1])

    return step
