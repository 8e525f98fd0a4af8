"""Steps of beam search as CUDA graphs: model, candidates and order of rows in one launch."""

from typing import NamedTuple, get_args

import torch

from nmt.config.choices import SearchRecurrence
from nmt.cuda_graphs import Captured, GraphCache, Purpose, copy_tensors, shapes_of
from nmt.errors import UserError
from nmt.model.interfaces import Memory, State, select_rows
from nmt.search.beam import BeamState, Extension, extend_beam, state_rows
from nmt.search.step import Step

PURPOSE = Purpose("a search step", "translation", "use recurrence auto")


def check_recurrence(recurrence: str, device: torch.device) -> None:
    """Raise UserError for an unknown recurrence, or one that the device does not support."""
    known = get_args(SearchRecurrence)
    if recurrence not in known:
        raise UserError(f"recurrence '{recurrence}' must be one of {', '.join(known)}")
    if recurrence == "graph" and device.type != "cuda":
        raise UserError("recurrence graph requires a GPU; use auto")


class _Inputs(NamedTuple):
    """Tensors that a step reads; those of beam and state become the ones that it computes."""

    beam: BeamState
    state: State
    memory: Memory
    keeps_coverage: bool


class GraphedSteps:
    """Steps of the searches with one step function on one GPU, one search after another.

    The tensors of a graph stay in place from step to step. Only a batch that starts or loses rows
    is copied into those of another graph.

    Args:
        step: the step function
        eos: end-of-sentence token
        device: the GPU

    Attributes:
        graphs: the graphs, by rows and source length
    """

    def __init__(self, step: Step, eos: int, device: torch.device) -> None:
        self._step, self._eos = step, eos
        self.graphs = GraphCache(self._compute, device, PURPOSE)
        self._growing: set[object] = set()
        self._current: Captured[_Inputs, Extension] | None = None

    @property
    def has_failed(self) -> bool:
        """Return whether steps run without graphs from now on."""
        return self.graphs.has_failed

    def extend(
        self,
        beam: BeamState,
        state: State,
        memory: Memory,
        *,
        length: int,
        keeps_coverage: bool,
    ) -> Extension:
        """Run the step function and `extend_beam`; the next call overwrites the result.

        Args:
            beam: the active hypotheses
            state: their state
            memory: constant per sentence; the same one with a beam that the last call returned
            length: number of tokens of the extended hypotheses
            keeps_coverage: see `extend_beam`
        """
        current = self._current
        if current is None or beam is not current.inputs.beam:
            inputs = _Inputs(beam, state, memory, keeps_coverage)
            key = shapes_of(inputs)
            current = self._current = self._load(key, inputs)
            if current is None:
                extension = self.graphs.run(key, inputs)
                if extension.parent_bk is not None:
                    self._growing.add(key)
                    # The sum of weights has one column before the first step, and the state may
                    # have another type.
                    if length > 1:
                        self.graphs.give_up("the state of the decoder grows with every step")
                return extension
        return self.graphs.launch(current)

    def rows_to_keep(self, active: list[int], rows: int) -> list[int]:
        """Return rows to keep of a batch: the active ones, and others for one of few sizes."""
        if self.has_failed or not active:
            return active
        others = sorted(set(range(rows)).difference(active))
        return sorted(active + others[: round_rows_up(len(active)) - len(active)])

    def _load(self, key: object, inputs: _Inputs) -> Captured[_Inputs, Extension] | None:
        """Return the graph of a key with these inputs; None if the step has to run without."""
        captured = self.graphs.find(key)
        if captured is not None:
            copy_tensors(inputs, captured.inputs)
        elif self.graphs.is_warm(key) and key not in self._growing:
            captured = self.graphs.capture(key, inputs)
        return captured

    def _compute(self, inputs: _Inputs) -> Extension:
        beam, state, memory, keeps_coverage = inputs
        prediction = self._step(beam.tokens_bk.flatten(), memory, state)
        extension = extend_beam(
            beam, prediction, eos=self._eos, keeps_coverage=keeps_coverage, block_ngram=0
        )
        assert extension.parent_bk is not None
        new = (extension.beam, select_rows(extension.state, state_rows(extension.parent_bk)))
        if shapes_of(new) != shapes_of((beam, state)):
            return extension
        copy_tensors(new, (beam, state))
        return extension._replace(beam=beam, state=state, parent_bk=None)


def round_rows_up(rows: int) -> int:
    """Return the smallest number of rows, at least this one, that a batch of few shapes may have.

    The numbers are 1, 2, 3, 4, 6, 8, 12 and so on. A batch thus loses rows when a quarter or a
    third of its sentences are done.
    """
    power = 1 << (rows - 1).bit_length()
    return power * 3 // 4 if power >= 4 and rows <= power * 3 // 4 else power


def round_rows_down(rows: int) -> int:
    """Return the largest number of rows, at most this one, that a batch of few shapes may have."""
    power = 1 << (rows.bit_length() - 1)
    return power * 3 // 2 if power >= 2 and rows >= power * 3 // 2 else power
