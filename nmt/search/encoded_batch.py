"""A batch of sentences after the encoder, and its decoding by the options of search."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool
from numpy.random import SeedSequence
from torch import Tensor

from nmt.config.search_options import SearchOptions
from nmt.model.interfaces import Memory, State, select_rows
from nmt.registry import COVERAGE_PENALTIES, LENGTH_PENALTIES
from nmt.search.beam import beam_search
from nmt.search.constraints.rules import ConstraintState
from nmt.search.finished import Detokenize
from nmt.search.graphed_steps import GraphedSteps
from nmt.search.hypothesis import Alternative, Hypothesis
from nmt.search.intervention import IntervenedMemory
from nmt.search.scoring import Scoring
from nmt.search.step import Step
from nmt.search.stepwise import find_alternatives, force_decode, sample, step_entropies

MAX_SAMPLED_ROWS = 256
"""Samples to draw at a time, of one or several sentences, which bounds the memory."""


class EncodedBatch(NamedTuple):
    """A batch of sentences after the encoder, to be decoded in one of three ways.

    Attributes:
        step: step function of the model or the ensemble
        memory: constant per sentence
        state: first state, one row per sentence
        source_mask_bs: False for padding; on the CPU
        max_lengths_b: maximum number of target tokens per sentence, `eos` included
        bos, eos: special tokens of the target vocabulary
        constraints: state of the constraints, one hypothesis per sentence; None without any
        graphs: steps of beam search as CUDA graphs; None to run without
    """

    step: Step
    memory: Memory
    state: State
    source_mask_bs: Bool[Tensor, "b s"]
    max_lengths_b: list[int]
    bos: int
    eos: int
    constraints: ConstraintState | None = None
    graphs: GraphedSteps | None = None

    def search(
        self, numbers: Sequence[int], options: SearchOptions, detokenize: Detokenize
    ) -> list[list[Hypothesis]]:
        """Return samples, or the best hypotheses of distinct texts, per sentence.

        Args:
            numbers: line numbers of the sentences, which seed the samples
            options: complete search options
            detokenize: function from tokens without `eos` to their text
        """
        if options.sampling is not None:
            return self._sample(numbers, options)
        return self._beam_search(options, detokenize)

    def examine(
        self, hypotheses_b: Sequence[Sequence[Hypothesis]], options: SearchOptions
    ) -> tuple[Sequence[Sequence[Hypothesis]], list[list[list[Alternative]]], list[list[float]]]:
        """Return hypotheses, and the alternatives and entropies of the best one of each sentence.

        They are those of the model, without constraints and fixed first pieces, and empty unless
        the options request them. A sentence without a hypothesis has none.
        """
        alternatives_b: list[list[list[Alternative]]] = [[] for _ in hypotheses_b]
        entropies_b: list[list[float]] = [[] for _ in hypotheses_b]
        if options.alternatives:
            others_b = find_alternatives(
                *self._rescored(hypotheses_b), options.alternatives, bos=self.bos, eos=self.eos
            )
            alternatives_b = [
                others if own else [] for others, own in zip(others_b, hypotheses_b, strict=True)
            ]
        if options.quality:
            found_b = step_entropies(*self._rescored(hypotheses_b), bos=self.bos, eos=self.eos)
            entropies_b = [
                found if own else [] for found, own in zip(found_b, hypotheses_b, strict=True)
            ]
        return hypotheses_b, alternatives_b, entropies_b

    def _beam_search(
        self, options: SearchOptions, detokenize: Detokenize
    ) -> list[list[Hypothesis]]:
        scoring = build_scoring(options)
        return beam_search(
            self.step,
            self.memory,
            self.state,
            bos=self.bos,
            eos=self.eos,
            beam_size=options.beam_size,
            max_lengths_b=self.max_lengths_b,
            n_best=options.hypotheses,
            length_penalty=scoring.length,
            coverage_penalty=scoring.coverage,
            block_ngram=options.block_ngram_repeat,
            early_stopping=options.early_stopping,
            source_mask_bs=self.source_mask_bs,
            detokenize=detokenize,
            graphs=self.graphs,
            constraints=self.constraints,
            records_tree=options.beam_tree,
        )

    def _sample(self, numbers: Sequence[int], options: SearchOptions) -> list[list[Hypothesis]]:
        """Return samples of each sentence, drawn with seeds that follow from its line number."""
        assert options.sampling is not None
        count, samples_b = options.hypotheses, [list[Hypothesis]() for _ in numbers]
        per_pass = max(1, MAX_SAMPLED_ROWS // len(numbers))
        for first in range(0, count, per_pass):
            indices = range(first, min(first + per_pass, count))
            # Samples end at different steps, so each of them has a row of the memory of its own.
            rows_n = torch.arange(len(numbers)).repeat_interleave(len(indices))
            memory, state, constraints = select_rows(
                (self.memory, self.state, self.constraints), rows_n
            )
            rows = rows_n.tolist()
            found = sample(
                self.step,
                memory,
                state,
                bos=self.bos,
                eos=self.eos,
                max_lengths_b=[self.max_lengths_b[row] for row in rows],
                temperature=options.sampling.temperature,
                top_k=options.sampling.top_k,
                top_p=options.sampling.top_p,
                seeds_b=[
                    _sample_seed(options.sampling.seed, number, index)
                    for number in numbers
                    for index in indices
                ],
                source_mask_bs=self.source_mask_bs[rows_n],
                constraints=constraints,
            )
            for row, hypothesis in zip(rows, found, strict=True):
                samples_b[row].append(hypothesis)
        return samples_b

    def force_decode(
        self, targets: list[list[int]], options: SearchOptions
    ) -> list[list[Hypothesis]]:
        """Return one given target per sentence as a hypothesis."""
        hypotheses = force_decode(
            self.step,
            self.memory,
            self.state,
            targets,
            bos=self.bos,
            eos=self.eos,
            scoring=build_scoring(options),
            source_mask_bs=self.source_mask_bs,
        )
        return [[hypothesis] for hypothesis in hypotheses]

    def _rescored(
        self, hypotheses_b: Sequence[Sequence[Hypothesis]]
    ) -> tuple[Step, Memory, State, list[list[int]]]:
        """Return the inputs of one more pass over the best hypotheses."""
        sequences = [own[0].tokens if own else [self.eos] for own in hypotheses_b]
        memory = self.memory
        if isinstance(memory, IntervenedMemory):
            memory = memory.without_tokens()
        return self.step, memory, self.state, sequences


def _sample_seed(seed: int, number: int, index: int) -> int | SeedSequence:
    """Return the seed of one of several samples of a line."""
    # By line number and not by position in the batch, so that batches, windows, workers and ranks
    # change no sample. Pairs of seed and number have distinct sums.
    of_line = seed * (1 << 32) + number
    return of_line if index == 0 else SeedSequence(of_line, spawn_key=(index,))


def build_scoring(options: SearchOptions) -> Scoring:
    """Build the penalties of search options.

    Raises:
        UserError: if a penalty rejects its options
    """
    return Scoring(
        LENGTH_PENALTIES.build(options.length_penalty),
        COVERAGE_PENALTIES.build(options.coverage_penalty),
    )
