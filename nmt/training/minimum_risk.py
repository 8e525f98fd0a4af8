"""Minimum risk training: the expected sentence metric of sampled translations. Shen et al. 2016."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils._pytree import tree_map_only

from nmt.data.batch import Batch, decoder_input, pad
from nmt.data.special_tokens import SpecialTokens
from nmt.data.token_corpus import Array
from nmt.model.interfaces import select_rows
from nmt.model.layers.padding import remove_padding
from nmt.model.layers.recurrent_stack import dropped_weights
from nmt.model.seq2seq import Seq2Seq
from nmt.search.stepwise import sample
from nmt.training.loss import smoothed_cross_entropy

MetricMatrix = Callable[[list[str], list[str]], Array]
"""(hypotheses, references) -> values from 0 to 100 of all pairs; see `SentenceMetric.matrix`."""

MORE_TOKENS = 10
"""A sample has at most twice the tokens of its reference, and these."""


class Candidates(NamedTuple):
    """Candidate translations of a batch: the reference of each sentence, then its samples.

    Attributes:
        target_in_nt, target_out_nt, target_mask_nt, target_indices_r: as in `Batch`, one row per
            candidate
        sentence_n: sentence of each candidate
        reference_n: whether it is a reference
        cost_n: Δ(y, reference) = 1 - metric / 100
        sharpness: exponent α
    """

    target_in_nt: Int[Tensor, "n t"]
    target_out_nt: Int[Tensor, "n t"]
    target_mask_nt: Bool[Tensor, "n t"]
    target_indices_r: Int[Tensor, " r"]
    sentence_n: Int[Tensor, " n"]
    reference_n: Bool[Tensor, " n"]
    cost_n: Float[Tensor, " n"]
    sharpness: float


class MinimumRisk:
    """Sampler of the candidates of minimum risk training.

    Args:
        metric: metric of a sentence
        samples: number of samples per sentence; equal ones count once
        sharpness: exponent α of the model's probabilities in the distribution of the candidates
        seed: seed of the samples, which also depend on the update and on the line of the pair
        special: special tokens of the target vocabulary
        decode: function from target tokens to their text
    """

    def __init__(
        self,
        metric: MetricMatrix,
        *,
        samples: int,
        sharpness: float,
        seed: int,
        special: SpecialTokens,
        decode: Callable[[list[int]], str],
    ) -> None:
        self._metric, self._samples, self._sharpness = metric, samples, sharpness
        self._seed, self._special, self._decode = seed, special, decode

    def candidates(self, model: Seq2Seq, batch: Batch, lines: Array, step: int) -> Candidates:
        """Sample candidates of a batch by the model without dropout, and compute their costs.

        Args:
            model: the model
            batch: the batch, on the model's device
            lines: line of each pair in the corpus
            step: number of the update
        """
        targets = batch.target_out_bt.cpu().numpy(), batch.target_mask_bt.cpu().numpy()
        # Without `</s>`, which every candidate has.
        references = [
            tokens_t[mask_t][:-1].tolist() for tokens_t, mask_t in zip(*targets, strict=True)
        ]
        candidates, sentences, costs = [], [], []
        sampled = self._sample(model, batch, references, lines, step)
        for sentence, (reference, samples) in enumerate(zip(references, sampled, strict=True)):
            distinct = list(dict.fromkeys(map(tuple, [reference, *samples])))
            texts = [self._decode(list(tokens)) for tokens in distinct]
            candidates += distinct
            sentences += [sentence] * len(distinct)
            costs += (1 - self._metric(texts, texts[:1])[:, 0] / 100).tolist()
        padded = pad([np.array(one, np.int64) for one in candidates], self._special)
        arrays = (decoder_input(*padded, self._special), *padded)
        target_in_nt, target_out_nt, target_mask_nt = map(torch.from_numpy, arrays)
        sentence_n = torch.tensor(sentences)
        found = Candidates(
            target_in_nt,
            target_out_nt,
            target_mask_nt,
            target_mask_nt.flatten().nonzero()[:, 0],
            sentence_n,
            sentence_n.diff(prepend=torch.tensor([-1])) > 0,
            torch.tensor(costs),
            self._sharpness,
        )
        device = batch.target_out_bt.device
        on_device: Candidates = tree_map_only(Tensor, lambda tensor: tensor.to(device), found)
        return on_device

    def _sample(
        self, model: Seq2Seq, batch: Batch, references: list[list[int]], lines: Array, step: int
    ) -> list[list[list[int]]]:
        """Return the tokens of the samples of each sentence, without `</s>`."""
        count, eos = self._samples, self._special.eos
        rows_n = torch.arange(len(references)).repeat_interleave(count)
        model.eval()
        with torch.inference_mode():
            memory, state = model.start(batch.source, batch.source_mask_bs)
            memory, state = select_rows((memory, state), rows_n)
            found = sample(
                model.step,
                memory,
                state,
                bos=self._special.bos,
                eos=eos,
                max_lengths_b=[2 * len(references[row]) + MORE_TOKENS for row in rows_n.tolist()],
                # By line, so that samples depend neither on the batch nor on the ranks.
                seeds_b=[
                    np.random.SeedSequence([self._seed, step, line, index])
                    for line in lines.tolist()
                    for index in range(count)
                ],
            )
        model.train()
        tokens = [one.content for one in found]
        return [tokens[row : row + count] for row in range(0, len(tokens), count)]


def risk_loss(
    model: Seq2Seq, batch: Batch, candidates: Candidates, *, chunk: int
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Compute the risk, summed over sentences, and the nll of the references.

        R = Σ_y Q(y) Δ(y),    Q(y) = p(y)^α / Σ_y' p(y')^α      Shen et al. 2016, equations 11 to 13

    Both sums are over the candidates of a sentence. With ∂R/∂log p(y) = α Q(y) (Δ(y) - R), the
    gradient is that of a sum of log-probabilities with constant weights, which needs the logits of
    one chunk at a time.

    Args:
        model: the model
        batch: the batch, whose sources are encoded once for all candidates
        candidates: the candidates
        chunk: see `smoothed_cross_entropy`
    """
    with dropped_weights(model):
        encoded = model.encode(batch.source, batch.source_mask_bs, batch.source_groups)
        output = model.decoder(
            model.target_embedding(candidates.target_in_nt),
            select_rows(encoded, candidates.sentence_n),
        )
    mask_nt, indices_r = candidates.target_mask_nt, candidates.target_indices_r
    outputs_rd = remove_padding(output.output_btd, mask_nt, indices_r)
    targets_r = candidates.target_out_nt.flatten().index_select(0, indices_r)
    candidate_r = indices_r // mask_nt.size(1)
    weights = model.output_weights
    with torch.no_grad():
        _, nll_r = smoothed_cross_entropy(
            outputs_rd, *weights, targets_r, smoothing=0.0, chunk=chunk
        )
        # float64, because p^α may differ by many orders of magnitude.
        nll_n = nll_r.new_zeros(len(mask_nt), dtype=torch.float64)
        nll_n = nll_n.index_add(0, candidate_r, nll_r.double())
        risk_b, slope_n = _risk(nll_n, candidates, len(batch.source_mask_bs))
    surrogate, _ = smoothed_cross_entropy(
        outputs_rd,
        *weights,
        targets_r,
        smoothing=0.0,
        chunk=chunk,
        weights_r=-slope_n.to(nll_r.dtype)[candidate_r],
    )
    # The value is the risk, the gradient that of the weighted sum.
    loss = surrogate - surrogate.detach() + risk_b.sum().to(surrogate.dtype)
    return loss, nll_n[candidates.reference_n].sum().to(nll_r.dtype)


def _risk(
    nll_n: Float[Tensor, " n"], candidates: Candidates, sentences: int
) -> tuple[Float[Tensor, " b"], Float[Tensor, " n"]]:
    """Return the risk of each sentence, and its derivative by each log-probability."""
    sentence_n, cost_n = candidates.sentence_n, candidates.cost_n.double()
    scores_n = -candidates.sharpness * nll_n
    zeros_b = scores_n.new_zeros(sentences)
    highest_b = zeros_b.scatter_reduce(0, sentence_n, scores_n, "amax", include_self=False)
    shares_n = (scores_n - highest_b[sentence_n]).exp()
    shares_n = shares_n / zeros_b.index_add(0, sentence_n, shares_n)[sentence_n]
    risk_b = zeros_b.index_add(0, sentence_n, shares_n * cost_n)
    return risk_b, candidates.sharpness * shares_n * (cost_n - risk_b[sentence_n])
