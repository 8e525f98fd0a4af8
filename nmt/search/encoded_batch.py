"""A batch of sentences after the encoder, and its decoding by the options of search."""

from typing import NamedTuple

from jaxtyping import Bool
from torch import Tensor

from nmt.config.search_options import SearchOptions
from nmt.model.interfaces import Memory, State
from nmt.registry import COVERAGE_PENALTIES, LENGTH_PENALTIES
from nmt.search.beam import beam_search
from nmt.search.constraints.rules import ConstraintState
from nmt.search.finished import Detokenize
from nmt.search.graphed_steps import GraphedSteps
from nmt.search.hypothesis import Alternative, Hypothesis
from nmt.search.intervention import IntervenedMemory
from nmt.search.scoring import Scoring
from nmt.search.step import Step
from nmt.search.stepwise import find_alternatives, force_decode, sample


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

    def beam_search(self, options: SearchOptions, detokenize: Detokenize) -> list[list[Hypothesis]]:
        """Return the `n_best` best hypotheses of distinct texts per sentence."""
        scoring = build_scoring(options)
        return beam_search(
            self.step,
            self.memory,
            self.state,
            bos=self.bos,
            eos=self.eos,
            beam_size=options.beam_size,
            max_lengths_b=self.max_lengths_b,
            n_best=options.n_best,
            length_penalty=scoring.length,
            coverage_penalty=scoring.coverage,
            block_ngram=options.block_ngram_repeat,
            early_stopping=options.early_stopping,
            source_mask_bs=self.source_mask_bs,
            detokenize=detokenize,
            graphs=self.graphs,
            constraints=self.constraints,
        )

    def sample(self, numbers: list[int], options: SearchOptions) -> list[list[Hypothesis]]:
        """Return one sample per sentence, drawn with a seed that follows from its line number."""
        assert options.sampling is not None
        hypotheses = sample(
            self.step,
            self.memory,
            self.state,
            bos=self.bos,
            eos=self.eos,
            max_lengths_b=self.max_lengths_b,
            temperature=options.sampling.temperature,
            top_k=options.sampling.top_k,
            top_p=options.sampling.top_p,
            # By line number and not by position in the batch, so that batches, windows, workers
            # and ranks change no sample. Pairs of seed and number have distinct sums.
            seeds_b=[options.sampling.seed * (1 << 32) + number for number in numbers],
            source_mask_bs=self.source_mask_bs,
            constraints=self.constraints,
        )
        return [[hypothesis] for hypothesis in hypotheses]

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

    def alternatives(
        self, hypotheses_b: list[list[Hypothesis]], count: int
    ) -> list[list[list[Alternative]]]:
        """Return the most likely other tokens along the best hypothesis of each sentence.

        They are those of the model, whatever the constraints and the first pieces that are set. A
        sentence without a hypothesis has no alternatives.
        """
        sequences = [own[0].tokens if own else [self.eos] for own in hypotheses_b]
        memory = self.memory
        if isinstance(memory, IntervenedMemory):
            memory = memory.without_tokens()
        found = find_alternatives(
            self.step, memory, self.state, sequences, count, bos=self.bos, eos=self.eos
        )
        return [one if own else [] for one, own in zip(found, hypotheses_b, strict=True)]


def build_scoring(options: SearchOptions) -> Scoring:
    """Build the penalties of search options.

    Raises:
        UserError: if a penalty rejects its options
    """
    return Scoring(
        LENGTH_PENALTIES.build(options.length_penalty),
        COVERAGE_PENALTIES.build(options.coverage_penalty),
    )
