"""Batches of a window of sentences: which stand together, and what is found for one."""

from collections.abc import Iterator
from typing import NamedTuple

from jaxtyping import Bool
from torch import Tensor

from nmt.model.interfaces import Memory, State
from nmt.search.beam import beam_search
from nmt.search.forced import force
from nmt.search.hypothesis import Hypothesis
from nmt.search.options import SearchOptions
from nmt.search.sampling import sample
from nmt.search.step import Step


def cut_batches(lengths: list[int], options: SearchOptions) -> Iterator[list[int]]:
    """Rows of sentences of like length, each batch within the budget; empty sentences in none."""
    order = sorted((row for row, length in enumerate(lengths) if length), key=lengths.__getitem__)
    batch: list[int] = []
    for row in order:
        rows = len(batch) + 1
        over = rows * (lengths[row] + 1) > options.batch_tokens
        if batch and (over or rows > (options.batch_sentences or rows)):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


class Started(NamedTuple):
    """A batch whose source has been read.

    Attributes:
        rows: numbers of its sentences in the window
        model: step function, memory and first state
        mask_bs: where the source has real pieces
        longest_b: target pieces that a sentence may have
        bos, eos: marks of the target
    """

    rows: list[int]
    model: tuple[Step, Memory, State]
    mask_bs: Bool[Tensor, "b s"]
    longest_b: list[int]
    bos: int
    eos: int

    def search(self, options: SearchOptions, numbers: list[int]) -> list[list[Hypothesis]]:
        """Hypotheses by beam search or by sampling; a drawn one's seed follows from its number."""
        sampling = options.sampling
        if sampling is None:
            return beam_search(
                *self.model,
                bos=self.bos,
                eos=self.eos,
                beam_size=options.beam_size,
                max_lengths_b=self.longest_b,
                n_best=options.n_best,
                length_penalty=options.scoring.length,
                coverage_penalty=options.scoring.coverage,
                block_ngram=options.block_ngram_repeat,
                stop=options.stop,
                source_mask_bs=self.mask_bs,
            )
        drawn = sample(
            *self.model,
            bos=self.bos,
            eos=self.eos,
            max_lengths_b=self.longest_b,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            seeds_b=[sampling.seed * (1 << 32) + number for number in numbers],
            source_mask_bs=self.mask_bs,
        )
        return [[hypothesis] for hypothesis in drawn]

    def force(self, targets: list[list[int]], options: SearchOptions) -> list[list[Hypothesis]]:
        """A given target each, as a hypothesis."""
        found = force(
            *self.model,
            targets,
            bos=self.bos,
            eos=self.eos,
            scoring=options.scoring,
            source_mask_bs=self.mask_bs,
        )
        return [[hypothesis] for hypothesis in found]
