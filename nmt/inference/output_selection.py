"""Products of the output layer for some target tokens alone; Jean et al. 2015, section 3.3.

Each sentence of a batch has its own candidates. The product is computed once for the union of all
candidates, and each hypothesis reads those of its sentence. The bits of an output of a linear layer
do not depend on the number of outputs, and the softmax adds the probabilities of a sentence's own
candidates in their order, so a prediction does not depend on the other sentences of the batch.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear

from nmt.inference.linear import Int8Linear, LinearKind, quantize_rows
from nmt.model.interfaces import Memory, OutputTokens

WIDTH_MULTIPLE = 64  # of the candidates of a batch, so that search divides them into blocks

Tree = TypeVar("Tree")


class CandidateBatch(NamedTuple):
    """Candidates of a batch of sentences.

    Attributes:
        union_x: all candidates, in ascending order
        columns_bv: positions of each sentence's candidates among them; after its last one, the
            number of candidates
        outputs: the candidates of each sentence
    """

    union_x: Int[Tensor, " x"]
    columns_bv: Int[Tensor, "b v"]
    outputs: OutputTokens


def collate_candidates(
    candidates: Sequence[Int[np.ndarray, " x"]], vocabulary: int, device: torch.device
) -> CandidateBatch:
    """Return the candidates of a batch on a device.

    Args:
        candidates: target tokens of each sentence, in ascending order
        vocabulary: number of all target tokens
        device: device of the model
    """
    is_candidate_v = np.zeros(vocabulary, np.bool_)
    for own in candidates:
        is_candidate_v[own] = True
    union_x = np.flatnonzero(is_candidate_v)
    column_of_v = np.cumsum(is_candidate_v) - 1
    rounded = -(-max(map(len, candidates)) // WIDTH_MULTIPLE) * WIDTH_MULTIPLE
    # At most the vocabulary, since the softmax of less than a vector of numbers has another order.
    width = min(rounded, vocabulary)
    columns_bv = np.full((len(candidates), width), len(union_x))
    tokens_bv = np.zeros((len(candidates), width), np.int64)
    for row, own in enumerate(candidates):
        columns_bv[row, : len(own)], tokens_bv[row, : len(own)] = column_of_v[own], own
        # A token with a probability may be repeated, as the larger one counts.
        tokens_bv[row, len(own) :] = own[-1]
    tensors = (torch.from_numpy(one).to(device) for one in (union_x, columns_bv, tokens_bv))
    union, columns, tokens = tensors
    return CandidateBatch(union, columns, OutputTokens(tokens, vocabulary))


class SelectedMemory(NamedTuple):
    """Memory of a model, and the candidates that its predictions are limited to.

    Attributes:
        memory: memory of the model
        columns_bv: see `CandidateBatch`
        outputs: candidates of each sentence
        layer: output layer of the union of the candidates; its last output is -inf
    """

    memory: Memory
    columns_bv: Int[Tensor, "b v"]
    outputs: OutputTokens
    layer: Callable[[Tensor], Tensor]

    def logits(self, output_nd: Float[Tensor, "n d"]) -> Float[Tensor, "n v"]:
        """Compute the logits of the candidates of each hypothesis; -inf after the last one."""
        logits_nx = self.layer(output_nd).float()
        hypotheses = len(logits_nx) // len(self.columns_bv)
        columns_nv = self.columns_bv.repeat_interleave(hypotheses, 0)
        return logits_nx.gather(1, columns_nv)


class SelectableOutput:
    """Weights of an output layer, of which layers for some outputs are made.

    Args:
        layer: the layer
        kind: kind of the layers; None for products in the precision of autocast
    """

    def __init__(self, layer: nn.Linear, kind: LinearKind | None) -> None:
        self._kind = kind
        self._weight_vd, self._bias_v = layer.weight.detach(), layer.bias.detach()
        self._scale_v: Tensor | None = None
        if kind is Int8Linear:
            self._weight_vd, self._scale_v = quantize_rows(self._weight_vd.float())

    @property
    def weight_bytes(self) -> int:
        """Return the memory of weights that are copies, in bytes."""
        return 0 if self._scale_v is None else self._weight_vd.nbytes + self._scale_v.nbytes

    def select(self, tokens_x: Int[Tensor, " x"]) -> Callable[[Tensor], Tensor]:
        """Return a layer with the outputs of these tokens, and one more that is -inf."""
        weight_xd = _with_zero(self._weight_vd[tokens_x])
        bias_x = torch.cat([self._bias_v[tokens_x], self._bias_v.new_full((1,), -torch.inf)])
        if self._scale_v is not None:
            return Int8Linear.from_integers(weight_xd, _with_zero(self._scale_v[tokens_x]), bias_x)
        if self._kind is not None:
            return self._kind(weight_xd, bias_x)
        return lambda output_nd: linear(output_nd, weight_xd, bias_x)


def _with_zero(tensor: Tensor) -> Tensor:
    return torch.cat([tensor, torch.zeros_like(tensor[:1])])
