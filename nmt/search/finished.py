"""The host's side of beam search: finished hypotheses, and the decision when to stop."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nmt.model.interfaces import align_read_tokens
from nmt.search.beam_tree import BeamLeaf, BeamNode, BeamTree
from nmt.search.candidates import NEG_INF, Candidates
from nmt.search.hypothesis import Hypothesis
from nmt.search.scoring import Scoring
from nmt.search.step import check_no_nan, stack_steps

EarlyStopping = Literal["exact", "heuristic"]
"""When a sentence is done; see `beam_search`."""

Detokenize = Callable[[list[int]], str]
"""Token ids of a hypothesis, the end of sentence excluded -> its text."""


class BeamStep(NamedTuple):
    """The result of one step of beam search, as the host receives it.

    Attributes:
        sentences: index of the sentence in each row
        candidates: the best continuations of each sentence, best first
        score_bc: final score of each candidate if it ends here
        survivor_bk: column of the candidate in each slot of the next beam
        log_prob_bk: log-probability of each slot of the next beam; -inf for an empty slot
        weights_bks: attention weights of the hypotheses that were extended
        alignment_bks: weights that align their last tokens
    """

    sentences: list[int]
    candidates: Candidates
    score_bc: Float[Tensor, "b c"]
    survivor_bk: Int[Tensor, "b k"]
    log_prob_bk: Float[Tensor, "b k"]
    weights_bks: Float[Tensor, "b k s"] | None
    alignment_bks: Float[Tensor, "b k s"] | None


class CompleteHypothesis(NamedTuple):
    """A hypothesis that is extended no further: candidate `column` of step `length`."""

    score: float
    log_prob: float
    length: int
    column: int


class FinishedHypotheses:
    """The best complete hypotheses of every sentence.

    Receives one `BeamStep` per step. On a GPU it arrives one step late, so a step may still contain
    sentences that are done; their rows are ignored, and results do not depend on the lag.

    Args:
        eos: end-of-sentence token
        beam_size: number k of active hypotheses per sentence
        n_best: number of hypotheses to return per sentence
        max_lengths_b: maximum length of each sentence's hypotheses, `eos` included
        scoring: length and coverage penalty
        early_stopping: see `beam_search`
        source_mask_bs: False for padding
        detokenize: see `beam_search`
        records_tree: whether hypotheses have the tree of the beam

    Attributes:
        results_b: hypotheses of each sentence, best first; empty until the sentence is done
    """

    def __init__(
        self,
        *,
        eos: int,
        beam_size: int,
        n_best: int,
        max_lengths_b: list[int],
        scoring: Scoring,
        early_stopping: EarlyStopping,
        source_mask_bs: Bool[Tensor, "b #s"],
        detokenize: Detokenize | None = None,
        records_tree: bool = False,
    ) -> None:
        self._eos, self._beam_size, self._n_best = eos, beam_size, n_best
        self._max_lengths_b, self._scoring = max_lengths_b, scoring
        self._early_stopping, self._source_mask_bs = early_stopping, source_mask_bs
        # The best hypothesis of a list has the best segmentation of its text already.
        self._detokenize = detokenize if n_best > 1 else None
        self._records_tree = records_tree
        self._history: list[_Backpointers] = []
        self._finished_b: list[list[CompleteHypothesis]] = [[] for _ in max_lengths_b]
        self._done: set[int] = set()
        self.results_b: list[list[Hypothesis]] = [[] for _ in max_lengths_b]

    def is_active(self, sentence: int, length: int) -> bool:
        """Return whether the sentence's hypotheses of this length need to be extended."""
        return sentence not in self._done and length < self._max_lengths_b[sentence]

    def update(self, step: BeamStep) -> None:
        """Record hypotheses that finish at this step and finalize sentences that are done.

        Raises:
            UserError: if the model's probabilities are NaN
        """
        check_no_nan(step.candidates.log_prob_bc[:, 0])  # NaN sorts before every number
        self._history.append(_Backpointers.from_step(step, keeps_scores=self._records_tree))
        self._record_finished(step)
        self._finalize_done(step)

    def _record_finished(self, step: BeamStep) -> None:
        """Add the candidates that end in `eos` to the finished hypotheses of their sentences."""
        log_prob_bc = step.candidates.log_prob_bc
        ends_bc = step.candidates.token_bc.eq(self._eos) & log_prob_bc.isfinite()
        # Only the first k count. An `eos` further down is worse than k other continuations and has
        # no place in a beam of size k.
        for row, column in ends_bc[:, : self._beam_size].nonzero().tolist():
            sentence = step.sentences[row]
            if sentence not in self._done:
                finished = [*self._finished_b[sentence], self._complete(step, row, column)]
                self._finished_b[sentence] = self._best(sentence, finished)

    def _finalize_done(self, step: BeamStep) -> None:
        """Store the results of sentences that need no further search."""
        bounds = self._bounds(step).tolist()
        best_log_probs = step.log_prob_bk.amax(1).tolist()
        for row, sentence in enumerate(step.sentences):
            if sentence in self._done:
                continue
            finished, unfinished = self._finished_b[sentence], []
            is_unbeatable = len(finished) == self._n_best and finished[-1].score >= bounds[row]
            # Greedy search ends with the argmax, even if going on would be worth it by the score.
            is_greedy = self._beam_size == 1 and len(finished) > 0
            # No hypothesis is active if every continuation is `eos` or has probability 0.
            is_empty = best_log_probs[row] == NEG_INF
            is_longest = len(self._history) == self._max_lengths_b[sentence]
            if is_longest and not is_greedy:
                both = self._best(sentence, finished, self._unfinished(step, row))
                unfinished = both[len(finished) :]
            if is_unbeatable or is_greedy or is_empty or is_longest:
                # Finished hypotheses come first even if their scores are lower, so that the best
                # one does not depend on `n_best`.
                results = [
                    *(self._hypothesis(sentence, one, finished=True) for one in finished),
                    *(self._hypothesis(sentence, one, finished=False) for one in unfinished),
                ]
                if self._records_tree:
                    results = self._with_leaves(sentence, [*finished, *unfinished], results)
                self.results_b[sentence] = results
                self._done.add(sentence)

    def _best(
        self,
        sentence: int,
        finished: list[CompleteHypothesis],
        unfinished: Sequence[CompleteHypothesis] = (),
    ) -> list[CompleteHypothesis]:
        """Return the `n_best` hypotheses with the highest scores, finished ones first.

        Of hypotheses with equal texts, the first one in this order is kept.
        """
        # `sorted` keeps the order of ties.
        hypotheses = [
            *sorted(finished, key=lambda one: -one.score),
            *sorted(unfinished, key=lambda one: -one.score),
        ]
        if self._detokenize is None:
            return hypotheses[: self._n_best]
        of_text: dict[str, CompleteHypothesis] = {}
        for hypothesis in hypotheses:
            of_text.setdefault(self._text(sentence, hypothesis), hypothesis)
        return list(of_text.values())[: self._n_best]

    def _text(self, sentence: int, complete: CompleteHypothesis) -> str:
        """Return the text of a hypothesis, in which white space is not significant."""
        assert self._detokenize is not None
        tokens = self._tokens(sentence, complete)
        text = self._detokenize(tokens[:-1] if tokens[-1] == self._eos else tokens)
        return " ".join(text.split())

    def _bounds(self, step: BeamStep) -> Float[Tensor, " b"]:
        """Return the score that no active hypothesis can exceed once it is finished.

        Every further token lowers the log-probability, and the coverage penalty is at most 0. The
        best active log-probability at the maximum length is therefore an upper bound. The heuristic
        assumes instead that the hypothesis ends at the next token.
        """
        # Each sentence has its own maximum length, so it stops at the same step in every batch.
        length_b = torch.tensor([self._max_lengths_b[sentence] for sentence in step.sentences])
        if self._early_stopping == "heuristic":
            length_b = length_b.clamp_max(len(self._history) + 1)
        return self._scoring.bound(step.log_prob_bk.amax(1), length_b)

    def _unfinished(self, step: BeamStep, row: int) -> list[CompleteHypothesis]:
        """Return a sentence's active hypotheses, truncated at the maximum length."""
        slots = zip(step.survivor_bk[row].tolist(), step.log_prob_bk[row].tolist(), strict=True)
        return [
            self._complete(step, row, column) for column, log_prob in slots if log_prob > NEG_INF
        ]

    def _complete(self, step: BeamStep, row: int, column: int) -> CompleteHypothesis:
        score, log_prob = step.score_bc[row, column], step.candidates.log_prob_bc[row, column]
        return CompleteHypothesis(float(score), float(log_prob), len(self._history), column)

    def _path(self, sentence: int, complete: CompleteHypothesis) -> Iterator["_Node"]:
        """Follow the backpointers from the last token of a hypothesis to its first."""
        column = complete.column
        # Candidate `column` of a step extends slot `parents[column]`, which was candidate
        # `survivors[slot]` of the step before.
        for length in range(complete.length, 0, -1):
            step = self._history[length - 1]
            row = step.row_of_sentence[sentence]
            slot = step.parents[row][column]
            yield _Node(step, row, column, slot)
            if length > 1:
                before = self._history[length - 2]
                column = before.survivors[before.row_of_sentence[sentence]][slot]

    def _tokens(self, sentence: int, complete: CompleteHypothesis) -> list[int]:
        path = self._path(sentence, complete)
        return [node.step.tokens[node.row][node.column] for node in path][::-1]

    def _hypothesis(
        self, sentence: int, complete: CompleteHypothesis, *, finished: bool
    ) -> Hypothesis:
        path = list(self._path(sentence, complete))[::-1]
        mask_s = self._source_mask_bs[sentence]
        alignment_ts = stack_steps((node.own(node.step.alignment_bks) for node in path), mask_s)
        return Hypothesis(
            [node.step.tokens[node.row][node.column] for node in path],
            complete.score,
            complete.log_prob,
            [node.step.token_log_probs[node.row][node.column] for node in path],
            stack_steps((node.own(node.step.weights_bks) for node in path), mask_s),
            finished,
            alignment_ts=None if alignment_ts is None else align_read_tokens(alignment_ts),
        )

    def _with_leaves(
        self, sentence: int, complete: Sequence[CompleteHypothesis], results: Sequence[Hypothesis]
    ) -> list[Hypothesis]:
        """Return hypotheses with their last nodes in the tree of the beam."""
        nodes = list[BeamNode]()
        # Number of the node of each candidate in the beam, by length and column.
        numbers: dict[tuple[int, int], int] = {}
        slots: list[int] = []  # column of the candidate in each slot of the step before
        for length, step in enumerate(self._history, start=1):
            row = step.row_of_sentence[sentence]
            for column in self._beam_columns(step, row):
                parent = numbers[length - 1, slots[step.parents[row][column]]] if slots else None
                numbers[length, column] = len(nodes)
                log_probs, scores = step.log_probs[row], step.scores[row]
                nodes.append(
                    BeamNode(
                        length,
                        parent,
                        step.tokens[row][column],
                        step.token_log_probs[row][column],
                        log_probs[column],
                        scores[column],
                    )
                )
            slots = step.survivors[row]
        tree = BeamTree.from_nodes(nodes, self._eos)
        return [
            one._replace(leaf=BeamLeaf(tree, numbers[end.length, end.column]))
            for one, end in zip(results, complete, strict=True)
        ]

    def _beam_columns(self, step: "_Backpointers", row: int) -> list[int]:
        """Return the candidates that stay active or finish at a step, best first."""
        tokens, log_probs = step.tokens[row], step.log_probs[row]
        possible = [column for column, one in enumerate(log_probs) if one > NEG_INF]
        ends = [c for c in possible if c < self._beam_size and tokens[c] == self._eos]
        if ends and self._beam_size == 1:
            return ends  # greedy search is done
        kept = set(step.survivors[row])
        return [c for c in possible if c in ends or (c in kept and tokens[c] != self._eos)]


class _Backpointers(NamedTuple):
    """The candidates of one step as lists, which Python indexes much faster than tensors.

    A candidate extends the hypothesis in slot `parents[row][column]`, which was candidate
    `survivors[row][slot]` of the step before, in that step's row of the sentence. Rows differ
    between steps, because sentences that are done leave the batch. `log_probs` and `scores` of the
    candidates are empty unless the tree of the beam is recorded.
    """

    row_of_sentence: dict[int, int]
    tokens: list[list[int]]
    token_log_probs: list[list[float]]
    parents: list[list[int]]
    survivors: list[list[int]]
    weights_bks: Float[Tensor, "b k s"] | None
    alignment_bks: Float[Tensor, "b k s"] | None
    log_probs: list[list[float]]
    scores: list[list[float]]

    @classmethod
    def from_step(cls, step: BeamStep, *, keeps_scores: bool) -> "_Backpointers":
        return cls(
            {sentence: row for row, sentence in enumerate(step.sentences)},
            step.candidates.token_bc.tolist(),
            step.candidates.token_log_prob_bc.tolist(),
            step.candidates.parent_bc.tolist(),
            step.survivor_bk.tolist(),
            step.weights_bks,
            step.alignment_bks,
            step.candidates.log_prob_bc.tolist() if keeps_scores else [],
            step.score_bc.tolist() if keeps_scores else [],
        )


class _Node(NamedTuple):
    """A token of a hypothesis: candidate `column` of a row, which extends the one in `slot`."""

    step: _Backpointers
    row: int
    column: int
    slot: int

    def own(self, weights_bks: Float[Tensor, "b k s"] | None) -> Float[Tensor, " s"] | None:
        """Return the weights of the hypothesis that the token extends."""
        return None if weights_bks is None else weights_bks[self.row, self.slot]
