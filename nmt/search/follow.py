"""One hypothesis a sentence, each token chosen from outside: what sampling and forcing share."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.model.interfaces import Memory, State
from nmt.search.hypothesis import Hypothesis
from nmt.search.penalties import Scoring
from nmt.search.step import Step, check_numbers, device_of, only_real, real_positions, select_rows

Choose = Callable[[Tensor, list[int], int], Tensor]
"""(log_probs_bv, the rows' sentences, position) -> tokens_b"""


@torch.inference_mode()
def follow(
    step: Step,
    memory: Memory,
    state: State,
    choose: Choose,
    *,
    bos: int,
    eos: int,
    max_lengths_b: Sequence[int],
    scoring: Scoring,
    source_mask_bs: Bool[Tensor, "b s"] | None,
) -> list[Hypothesis]:
    """What comes of choosing, until the end mark or the longest length of each sentence.

    Sentences that have ended leave the batch.
    """
    assert all(length >= 1 for length in max_lengths_b)
    mask_bs = real_positions(source_mask_bs, len(max_lengths_b))
    drafts = [_Draft(eos, length) for length in max_lengths_b]
    sentences = list(range(len(drafts)))
    tokens_b = torch.full((len(drafts),), bos, device=device_of(memory, state))
    position = 0
    while sentences:
        log_probs_bv, weights_bs, state = step(tokens_b, memory, state)
        scoring.check(weights_bs)
        check_numbers(log_probs_bv)
        tokens_b = choose(log_probs_bv, sentences, position).to(log_probs_bv.device)
        log_prob_b = log_probs_bv.gather(1, tokens_b[:, None])[:, 0]
        looked = [None] * len(sentences) if weights_bs is None else weights_bs.float().cpu()
        added = zip(sentences, tokens_b.tolist(), log_prob_b.tolist(), looked, strict=True)
        for sentence, token, log_prob, weights_s in added:
            drafts[sentence].add(token, log_prob, weights_s)
        kept = [row for row, sentence in enumerate(sentences) if drafts[sentence].open]
        sentences = [sentences[row] for row in kept]
        rows_b = torch.tensor(kept, dtype=torch.long)
        tokens_b, memory, state = select_rows((tokens_b, memory, state), rows_b)
        position += 1
    return [draft.close(scoring, mask_s) for draft, mask_s in zip(drafts, mask_bs, strict=True)]


class _Draft:
    """A hypothesis being written."""

    def __init__(self, eos: int, max_length: int) -> None:
        self._eos, self._max_length = eos, max_length
        self._tokens: list[int] = []
        self._log_probs: list[float] = []
        self._weights: list[Tensor] = []

    @property
    def open(self) -> bool:
        """Whether it goes on."""
        return self._tokens[-1] != self._eos and len(self._tokens) < self._max_length

    def add(self, token: int, log_prob: float, weights_s: Float[Tensor, "s"] | None) -> None:
        """Say one more token."""
        self._tokens.append(token)
        self._log_probs.append(log_prob)
        if weights_s is not None:
            self._weights.append(weights_s)

    def close(self, scoring: Scoring, mask_s: Bool[Tensor, "#s"]) -> Hypothesis:
        """What was said, scored."""
        weights_ts = torch.stack(self._weights) if self._weights else torch.zeros(1, 1)
        log_prob = torch.tensor(self._log_probs, dtype=torch.float64).sum()
        score = scoring.scores(log_prob, len(self._tokens), weights_ts.sum(0), mask_s)
        return Hypothesis(
            self._tokens,
            float(score),
            float(log_prob),
            self._log_probs,
            only_real(weights_ts, mask_s) if self._weights else None,
            self._tokens[-1] == self._eos,
        )
