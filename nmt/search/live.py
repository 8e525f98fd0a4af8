"""The hypotheses of a beam that may go on."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nmt.search.candidates import Candidates

NEVER = float("-inf")


class Live(NamedTuple):
    """k hypotheses a sentence; a log-probability of -inf is an empty place.

    On the model's device, where a step follows a step without asking what was found.

    Attributes:
        tokens_bk: what each said last
        log_prob_bk: log p of all it said, best first
        columns_bk: which candidate of the last step it was
        parents_bk: which hypothesis it continues
        coverage_bks: the weights it has given to each source position; of width 1 before the first
            step, and where nobody asks
        prefixes_bkt: all it said; None where nobody asks
    """

    tokens_bk: Int[Tensor, "b k"]
    log_prob_bk: Float[Tensor, "b k"]
    columns_bk: Int[Tensor, "b k"]
    parents_bk: Int[Tensor, "b k"]
    coverage_bks: Float[Tensor, "b k #s"]
    prefixes_bkt: Int[Tensor, "b k t"] | None

    @classmethod
    def begin(
        cls, bos: int, sentences: int, beam_size: int, *, prefixes: bool, device: torch.device
    ) -> "Live":
        """All hypotheses begin alike, so only the first of a sentence may branch."""
        zeros_bk = torch.zeros(sentences, beam_size, dtype=torch.long, device=device)
        log_prob_bk = torch.full((sentences, beam_size), NEVER, device=device)
        log_prob_bk[:, 0] = 0.0
        return cls(
            tokens_bk=zeros_bk + bos,
            log_prob_bk=log_prob_bk,
            columns_bk=zeros_bk,
            parents_bk=zeros_bk,
            coverage_bks=log_prob_bk.new_zeros(sentences, beam_size, 1),
            prefixes_bkt=zeros_bk[:, :, None][:, :, :0] if prefixes else None,
        )

    def look(self, weights_bks: Float[Tensor, "b k s"]) -> "Live":
        """The same hypotheses after they looked at the source once more."""
        return self._replace(coverage_bks=self.coverage_bks + weights_bks)

    def go_on(self, candidates: Candidates, eos: int) -> "Live":
        """The best k candidates of each sentence that do not end."""
        goes_on_bc = candidates.token_bc.ne(eos) & candidates.log_prob_bc.isfinite()
        order_bc = goes_on_bc.byte().argsort(dim=1, descending=True, stable=True)
        columns_bk = order_bc[:, : self.tokens_bk.size(1)]
        log_prob_bc = candidates.log_prob_bc.masked_fill(~goes_on_bc, NEVER)
        tokens_bk = candidates.token_bc.gather(1, columns_bk)
        parents_bk = candidates.parent_bc.gather(1, columns_bk)
        prefixes_bkt = self.prefixes_bkt
        if prefixes_bkt is not None:
            said_bkt = of_parents(prefixes_bkt, parents_bk)
            prefixes_bkt = torch.cat([said_bkt, tokens_bk[:, :, None]], dim=2)
        return Live(
            tokens_bk=tokens_bk,
            log_prob_bk=log_prob_bc.gather(1, columns_bk),
            columns_bk=columns_bk,
            parents_bk=parents_bk,
            coverage_bks=of_parents(self.coverage_bks, parents_bk),
            prefixes_bkt=prefixes_bkt,
        )


def of_parents(
    values_bkx: Float[Tensor, "b k x"] | Int[Tensor, "b k x"], parents_bc: Int[Tensor, "b c"]
) -> Tensor:
    """For each candidate the row of the hypothesis it continues."""
    rows_b1 = torch.arange(len(parents_bc), device=parents_bc.device)[:, None]
    return values_bkx[rows_b1, parents_bc]
