"""Scheduled sampling in two passes: the decoder reads some of its own predictions in training.

Bengio et al. 2015 replace reference tokens among the decoder's inputs by samples of the model, more
of them as training proceeds. Here all samples of a batch are drawn at once, from a first pass with
the reference tokens as inputs (Mihaylova and Martins 2019, section 3; Duckworth et al. 2019 with
one sampling pass), so that it suits every decoder, and costs one more forward pass.
"""

from collections.abc import Callable
from math import exp

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import linear

from nmt.data.batch import Batch
from nmt.model.seq2seq import Seq2Seq
from nmt.search.stepwise import invert_cdf

MAX_EXPONENT = 700.0  # whose exponential is finite in float64
CHUNK = 1024  # tokens whose probabilities are in memory at once

Decay = Callable[[float, int], float]
"""(constant k, updates so far i) -> probability ε_i of a reference token"""

# Bengio et al. 2015, section 2.4; linear with slope 1 / k.
DECAYS: dict[str, Decay] = {
    "inverse_sigmoid": lambda k, i: k / (k + exp(min(i / k, MAX_EXPONENT))),
    "exponential": lambda k, i: k**i,
    "linear": lambda k, i: 1 - i / k,
}


class ScheduledSampling:
    """Replacement of the decoder's inputs by the model's own predictions.

    With the reference y and the probability ε_i of update i, counted from 0, the input after
    position t is

        y_t with probability ε_i, and otherwise ŷ_t ~ p(· | x, y_1, ..., y_{t-1})

    for each token independently. ŷ_t is of the model without dropout, and has no gradient. Where
    it is `</s>`, which is no input in search, the input remains y_t.

    Args:
        decay: name of the decay of ε_i
        k: its constant
        minimum: lowest ε_i
        eos: end-of-sentence token
    """

    def __init__(self, decay: str, k: float, *, minimum: float = 0.0, eos: int) -> None:
        self._decay, self._k, self._minimum, self._eos = DECAYS[decay], k, minimum, eos

    def probability(self, step: int) -> float:
        """Return ε, the probability of a reference token, in an update that is numbered from 1."""
        return max(self._minimum, self._decay(self._k, step - 1))

    def mix(self, model: Seq2Seq, batch: Batch, on_cpu: Batch, step: int) -> Batch:
        """Return the batch with some of the decoder's inputs replaced.

        Args:
            model: the model, in training mode
            batch: the batch, on the model's device
            on_cpu: the same batch on the CPU, where positions are chosen without synchronization
            step: number of the update
        """
        # Inputs after a real token; the first one is `<s>`.
        inner_bt = on_cpu.target_mask_bt.clone()
        inner_bt[:, 0] = False
        indices_x = inner_bt.flatten().nonzero()[:, 0]
        indices_x = indices_x[torch.rand(len(indices_x)) >= self.probability(step)]
        if not len(indices_x):
            return batch
        uniform_x = torch.rand(len(indices_x), dtype=torch.float64)
        device, inputs_n = batch.target_in_bt.device, batch.target_in_bt.flatten()
        indices_x, uniform_x = indices_x.to(device), uniform_x.to(device)
        # The token of an input is predicted at the position before.
        tokens_x = _sample(model, batch, indices_x - 1, uniform_x)
        tokens_x = tokens_x.where(tokens_x != self._eos, inputs_n[indices_x])
        mixed_n = inputs_n.index_copy(0, indices_x, tokens_x)
        # Groups are of other tokens now.
        return batch._replace(target_in_bt=mixed_n.view_as(batch.target_in_bt), target_groups=None)


@torch.no_grad()
def _sample(
    model: Seq2Seq,
    batch: Batch,
    positions_x: Int[Tensor, " x"],
    uniform_x: Float[Tensor, " x"],
) -> Int[Tensor, " x"]:
    """Sample tokens at positions of the flattened targets, by one uniform number each."""
    model.eval()
    output = model(batch.source, batch.source_mask_bs, batch.target_in_bt)
    model.train()
    outputs_xd = output.output_btd.flatten(0, 1).index_select(0, positions_x)
    parts = zip(torch.split(outputs_xd, CHUNK), torch.split(uniform_x, CHUNK), strict=True)
    return torch.cat(
        [
            # float64, so that no uniform number is beyond the end of a cumulative sum.
            invert_cdf(linear(part_xd, *model.output_weights).double().softmax(-1), uniform)
            for part_xd, uniform in parts
        ]
    )
