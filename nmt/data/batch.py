"""Batches: padded tensors of sentence pairs, and their masks."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from nmt.data.special_tokens import SpecialTokens
from nmt.data.token_corpus import Array

Source = Int[Tensor, "b s"] | UInt8[Tensor, "b 3 y z"] | Float[Tensor, "b p x"]
"""Input of an encoder: token ids of text, pixels of images, or precomputed feature maps."""


class Batch(NamedTuple):
    """A padded batch of sentence pairs; masks are True for real tokens.

    Attributes:
        source: token ids, each row ended by `</s>`; or images
        source_mask_bs: mask of the source tokens; an image is one token
        target_in_bt: decoder input, `<s>` and the target
        target_out_bt: decoder output, the target and `</s>`; entry t is the token that follows
            entry t of `target_in_bt`
        target_mask_bt: mask of `target_out_bt`
        target_indices_r: indices of the real tokens in the flattened `target_out_bt`. They are
            computed on the CPU, because `nonzero` on a GPU would synchronize.
    """

    source: Source
    source_mask_bs: Bool[Tensor, "b s"]
    target_in_bt: Int[Tensor, "b t"]
    target_out_bt: Int[Tensor, "b t"]
    target_mask_bt: Bool[Tensor, "b t"]
    target_indices_r: Int[Tensor, " r"]

    @classmethod
    def create(
        cls,
        source: Source,
        source_mask_bs: Bool[Tensor, "b s"],
        target_in_bt: Int[Tensor, "b t"],
        target_out_bt: Int[Tensor, "b t"],
        target_mask_bt: Bool[Tensor, "b t"],
    ) -> "Batch":
        """Create a batch of CPU tensors, and compute `target_indices_r`."""
        # Indices of the flattened tensor select the rows of the logits that the loss needs.
        indices_r = target_mask_bt.flatten().nonzero()[:, 0]
        return cls(source, source_mask_bs, target_in_bt, target_out_bt, target_mask_bt, indices_r)

    def without_targets(self) -> "Batch":
        """Return the same batch without target tokens to predict."""
        # The tokens stay, because the forward pass and its collectives still run.
        return self._replace(
            target_mask_bt=torch.zeros_like(self.target_mask_bt),
            target_indices_r=self.target_indices_r[:0],
        )

    def to(self, device: torch.device | str) -> "Batch":
        """Copy the batch to a device; asynchronously if it is in pinned memory."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))

    def pin_memory(self) -> "Batch":
        """Copy the batch to page-locked memory."""
        return Batch(*(tensor.pin_memory() for tensor in self))

    @property
    def target_tokens(self) -> int:
        """Return the number of target tokens to predict, including `</s>`."""
        return len(self.target_indices_r)


def collate(
    sources: Sequence[Array],
    targets: Sequence[Array],
    source_special: SpecialTokens,
    target_special: SpecialTokens,
) -> Batch:
    """Collate sentences of token ids, given without begin and end, into a padded batch."""
    return _collate(*pad(sources, source_special), targets, target_special)


def collate_images(images: Array, targets: Sequence[Array], target_special: SpecialTokens) -> Batch:
    """Collate images, one per row, and their captions into a padded batch."""
    mask_bs = np.ones((len(images), 1), bool)
    return _collate(images, mask_bs, targets, target_special)


def _collate(
    source: Array, source_mask_bs: Array, targets: Sequence[Array], target_special: SpecialTokens
) -> Batch:
    target_out_bt, target_mask_bt = pad(targets, target_special)
    target_in_bt = np.full_like(target_out_bt, target_special.pad)
    target_in_bt[:, 0] = target_special.bos
    # The input is the output shifted by one. </s> is not an input: it has no next token.
    has_next_bt = target_mask_bt[:, 1:]
    target_in_bt[:, 1:][has_next_bt] = target_out_bt[:, :-1][has_next_bt]
    arrays = (source, source_mask_bs, target_in_bt, target_out_bt, target_mask_bt)
    return Batch.create(*map(torch.from_numpy, arrays))


def pad(sentences: Sequence[Array], special: SpecialTokens) -> tuple[Array, Array]:
    """Pad sentences of token ids to the length of the longest, after appending `</s>`.

    Returns:
        token ids and their mask, both (sentences, tokens)
    """
    lengths_b = np.fromiter(map(len, sentences), np.int64, len(sentences))
    positions_s = np.arange(lengths_b.max() + 1)
    ids_bs = np.full((len(sentences), len(positions_s)), special.pad, np.int64)
    # A boolean mask enumerates its entries row by row, which is the order of the concatenation.
    ids_bs[positions_s < lengths_b[:, None]] = np.concatenate(sentences)
    # The column after the last token of each sentence.
    ids_bs[np.arange(len(sentences)), lengths_b] = special.eos
    # The mask comes from the lengths, since a foreign vocabulary may use the id of padding for
    # another token as well.
    return ids_bs, positions_s <= lengths_b[:, None]
