"""Encoding of a batch of source lines by all models, with constraints and interventions."""

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Bool
from torch import Tensor

from nmt.config.search_options import SearchOptions
from nmt.data.shortlist import ReadShortlist
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.inference.compile import InferenceModel
from nmt.inference.output_selection import CandidateBatch, collate_candidates
from nmt.inference.override import override_attention
from nmt.model.interfaces import Memory, State
from nmt.search.constraints.compiler import (
    CompiledConstraints,
    ConstraintCompiler,
    ResolvedConstraints,
    collate_constraints,
)
from nmt.search.encoded_batch import EncodedBatch
from nmt.search.ensemble import ensemble
from nmt.search.graphed_steps import GraphedSteps
from nmt.search.intervention import IntervenedMemory, collate_interventions, intervening
from nmt.search.source_line import SourceLine
from nmt.search.source_reader import SourceReader
from nmt.search.step import Step


class BatchEncoder:
    """The encoders of a model or an ensemble, whose batches are decoded by one step function.

    Args:
        models: the models, on one device
        readers: different readers of source lines, that of the first model first
        reader_of_model: number of each model's reader
        target_vocabulary: target vocabulary of all models
        uses_graphs: whether beam search runs as CUDA graphs
        shortlist: reads the shortlist of the first reader's vocabulary; None without one

    Attributes:
        graphs: steps of beam search as CUDA graphs; None to run without
    """

    def __init__(
        self,
        models: Sequence[InferenceModel],
        readers: Sequence[SourceReader],
        reader_of_model: Sequence[int],
        target_vocabulary: Vocabulary,
        *,
        uses_graphs: bool,
        shortlist: ReadShortlist | None = None,
    ) -> None:
        self._shortlist = shortlist
        self._models, self._readers, self._reader_of_model = models, readers, reader_of_model
        self._vocabulary, self._device = target_vocabulary, models[0].device
        steps: list[Step] = [model.step for model in models]
        # Attention to another segmentation cannot be averaged with that to the first.
        attending = [reader == 0 for reader in reader_of_model]
        self._step = steps[0] if len(steps) == 1 else ensemble(steps, attending)
        self.graphs = (
            GraphedSteps(self._step, target_vocabulary.eos, self._device) if uses_graphs else None
        )

    @cached_property
    def token_ids(self) -> dict[str, int]:
        """Return the id of each token of the target vocabulary."""
        ids = range(len(self._vocabulary))
        return {token: i for i, token in enumerate(self._vocabulary.tokens(ids))}

    @cached_property
    def constraint_compiler(self) -> ConstraintCompiler:
        """Return the compiler of constraints in the target vocabulary."""
        return ConstraintCompiler(self._vocabulary)

    def encode(
        self,
        lines: Sequence[SourceLine],
        ids: Sequence[Sequence[list[int]]],
        options: SearchOptions,
        file: str,
        constraints: Sequence[ResolvedConstraints] | None,
    ) -> EncodedBatch:
        """Encode lines by every model.

        Args:
            lines: lines of the batch, none of them empty
            ids: their source positions, by reader
            options: complete search options
            file: name of the lines' file for error messages; empty for no file
            constraints: constraints of each line; None without any

        Raises:
            UserError: if an image cannot be read, or an intervention does not fit the model
        """
        locations = [line.location(file) for line in lines]
        texts = [line.text for line in lines]
        inputs = [
            reader.batch(texts, own, locations)
            for reader, own in zip(self._readers, ids, strict=True)
        ]
        on_device = [(source.to(self._device), mask.to(self._device)) for source, mask in inputs]
        starts = [
            model.start(*on_device[reader])
            for model, reader in zip(self._models, self._reader_of_model, strict=True)
        ]
        memory, state = starts[0] if len(starts) == 1 else zip(*starts, strict=True)
        # The mask stays on the CPU as well: search reads it there and copies it when it needs to.
        _, mask_bs = inputs[0]
        length_of = self._readers[0].default_max_length
        max_lengths_b = [options.max_length or length_of(one) for one in ids[0]]
        tables, compiled = None, []
        if constraints is not None:
            if not options.max_length:
                more = (one.min_length for one in constraints)
                max_lengths_b = list(map(int.__add__, max_lengths_b, more))
            compiler = self.constraint_compiler
            compiled = [compiler.compile(one) for one in constraints]
            tables = collate_constraints(compiled, max_lengths_b, compiler, self._device)
        # Targets to score may contain any token.
        if options.shortlist and not any(line.target is not None for line in lines):
            candidates = self._candidates(lines, ids[0], compiled)
            memory = self._select_outputs(memory, candidates)
        step = self._step
        if any(line.intervention for line in lines):
            step = intervening(step, override_attention)
            memory, state = self._intervene(memory, state, mask_bs, max_lengths_b, lines, file)
        return EncodedBatch(
            step,
            memory,
            state,
            mask_bs,
            max_lengths_b,
            self._vocabulary.bos,
            self._vocabulary.eos,
            tables,
            self.graphs,
        )

    def _candidates(
        self,
        lines: Sequence[SourceLine],
        ids: Sequence[list[int]],
        constraints: Sequence[CompiledConstraints],
    ) -> CandidateBatch:
        """Return the shortlists of lines, with the tokens that their constraints may need."""
        assert self._shortlist is not None
        shortlist, found = self._shortlist(), []
        for row, (line, own) in enumerate(zip(lines, ids, strict=True)):
            others = constraints[row].tokens if constraints else []
            if line.intervention is not None:
                known = filter(self.token_ids.__contains__, line.intervention.pieces)
                others = [*others, *map(self.token_ids.__getitem__, known)]
            found.append(shortlist.candidates(own, others))
        return collate_candidates(found, len(self._vocabulary), self._device)

    def _select_outputs(self, memory: Memory, candidates: CandidateBatch) -> Memory:
        """Return the memory of the model or the ensemble with these candidates."""
        if len(self._models) == 1:
            return self._models[0].select_outputs(memory, candidates)
        assert isinstance(memory, tuple)
        pairs = zip(self._models, memory, strict=True)
        return tuple(model.select_outputs(own, candidates) for model, own in pairs)

    def _intervene(
        self,
        memory: Memory,
        state: State,
        mask_bs: Bool[Tensor, "b s"],
        max_lengths_b: list[int],
        lines: Sequence[SourceLine],
        file: str,
    ) -> tuple[IntervenedMemory, State]:
        """Return memory and state with the interventions of the lines.

        The maximum lengths grow in place by the pieces that are set.
        """
        can_override = len(self._models) == 1 and self._models[0].can_override_attention(memory)
        for row, line in enumerate(lines):
            if line.intervention is None:
                continue
            if line.intervention.attention and not can_override:
                message = "this model's attention cannot be set; it requires a single model with"
                raise UserError(f"{message} normalized attention to the source")
            max_lengths_b[row] += len(line.intervention.pieces)
        tables = collate_interventions(
            [line.intervention for line in lines],
            self.token_ids,
            mask_bs,
            max_lengths_b,
            [line.location(file) for line in lines],
        )
        position_b = torch.zeros(len(lines), dtype=torch.long, device=self._device)
        return IntervenedMemory(memory, tables.to(self._device)), (position_b, state)
