"""Scores of given translations."""

from jaxtyping import Bool
from torch import Tensor, tensor

from nmt.model.interfaces import Memory, State
from nmt.search.follow import follow
from nmt.search.hypothesis import Hypothesis
from nmt.search.penalties import UNPENALISED, Scoring
from nmt.search.step import Step


def force(
    step: Step,
    memory: Memory,
    state: State,
    targets: list[list[int]],
    *,
    bos: int,
    eos: int,
    scoring: Scoring = UNPENALISED,
    source_mask_bs: Bool[Tensor, "b s"] | None = None,
) -> list[Hypothesis]:
    """What the model thinks of one target a sentence, and where it looks while reading it.

    Goes through the same step as search, so a hypothesis that search found gets its score again.

    Args:
        step: what the model says after one more token
        memory: b rows, from the model's `start`
        state: b rows, from the model's `start`
        targets: pieces without marks; the end mark is added
        bos: the token to begin with
        eos: the end mark
        scoring: the penalties; none by default, so that score is log_prob
        source_mask_bs: real source positions; all of them when None
    """
    ended = [[*target, eos] for target in targets]

    def choose(log_probs_bv: Tensor, sentences: list[int], position: int) -> Tensor:
        return tensor([ended[sentence][position] for sentence in sentences])

    return follow(
        step,
        memory,
        state,
        choose,
        bos=bos,
        eos=eos,
        max_lengths_b=[len(target) for target in ended],
        scoring=scoring,
        source_mask_bs=source_mask_bs,
    )
