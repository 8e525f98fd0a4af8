"""Batches: padded tensors of sentence pairs, and their masks."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import pad as pad_tensor
from torch.utils._pytree import tree_map_only

from nmt.data.batch_plan import padding_length
from nmt.data.special_tokens import SpecialTokens
from nmt.data.token_corpus import Array, TokenLinks

Source = Int[Tensor, "b s"] | UInt8[Tensor, "b 3 y z"] | Float[Tensor, "b p x"]
"""Input of an encoder: token ids of text, pixels of images, or precomputed feature maps."""


class TokenGroups(NamedTuple):
    """The positions of a batch, grouped by their token, for the gradient of an embedding table.

    Attributes:
        order_n: positions in the flattened batch, sorted by token; of one token, in their order
        starts_x: start of each group in `order_n`; all entries after the last group are the number
            of positions, so that the shape does not depend on the number of groups
    """

    order_n: Int[Tensor, " n"]
    starts_x: Int[Tensor, " x"]


class PieceAlignment(NamedTuple):
    """Links between the tokens of a batch, as entries of a matrix of target and source positions.

    Attributes:
        indices_x: index of each link in the flattened matrix (b, t, s)
        shares_x: 1 / number of links of the same target token, so that they sum to one
    """

    indices_x: Int[Tensor, " x"]
    shares_x: Float[Tensor, " x"]


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
            computed on the CPU, because `nonzero` on a GPU would synchronize. After `round_lengths`
            they are the indices of all positions.
        source_groups: groups of the source tokens, for training on a GPU
        target_groups: groups of the tokens of `target_in_bt`, for the same purpose
        alignment: links between the tokens, if they are given
    """

    source: Source
    source_mask_bs: Bool[Tensor, "b s"]
    target_in_bt: Int[Tensor, "b t"]
    target_out_bt: Int[Tensor, "b t"]
    target_mask_bt: Bool[Tensor, "b t"]
    target_indices_r: Int[Tensor, " r"]
    source_groups: TokenGroups | None = None
    target_groups: TokenGroups | None = None
    alignment: PieceAlignment | None = None

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
        # Indices of the flattened tensor select the rows of the logits that the loss needs. torch's
        # nonzero takes four times as long.
        indices_r = torch.from_numpy(np.flatnonzero(target_mask_bt.numpy()))
        return cls(source, source_mask_bs, target_in_bt, target_out_bt, target_mask_bt, indices_r)

    def without_targets(self) -> "Batch":
        """Return the same batch without target tokens to predict."""
        # The tokens stay, because the forward pass and its collectives still run.
        return self._replace(
            target_mask_bt=torch.zeros_like(self.target_mask_bt),
            target_indices_r=self.target_indices_r[:0],
            alignment=None,
        )

    def with_groups(self) -> "Batch":
        """Return the same batch with the groups of its tokens, computed on the CPU."""
        is_text = self.source.dtype == torch.int64  # pixels and features have other types
        return self._replace(
            source_groups=group_tokens(self.source) if is_text else None,
            target_groups=group_tokens(self.target_in_bt),
        )

    def to(self, device: torch.device | str) -> "Batch":
        """Copy the batch to a device; asynchronously if it is in pinned memory."""
        return tree_map_only(Tensor, lambda tensor: tensor.to(device, non_blocking=True), self)

    def pin_memory(self) -> "Batch":
        """Copy the batch to page-locked memory."""
        return tree_map_only(Tensor, Tensor.pin_memory, self)

    @property
    def target_tokens(self) -> int:
        """Return the number of target tokens to predict, including `</s>`; not on a GPU."""
        return int(self.target_mask_bt.sum())

    def round_lengths(self, source_pad: int | None, target_pad: int) -> "Batch":
        """Return the batch padded to lengths of few shapes.

        The shape of `target_indices_r` depends on the lengths alone as well. The loss has to ignore
        the padding among these positions. The alignment is removed, because its shape depends on
        the number of links.

        Args:
            source_pad: padding token of the source; None for images, whose sizes are equal
            target_pad: padding token of the target
        """
        source, source_mask_bs = self.source, self.source_mask_bs
        if source_pad is not None:
            columns = (0, padding_length(source.size(1)))
            source = pad_tensor(source, columns, value=source_pad)
            source_mask_bs = pad_tensor(source_mask_bs, columns, value=False)
        columns = (0, padding_length(self.target_in_bt.size(1)))
        target_mask_bt = pad_tensor(self.target_mask_bt, columns, value=False)
        return Batch(
            source,
            source_mask_bs,
            pad_tensor(self.target_in_bt, columns, value=target_pad),
            pad_tensor(self.target_out_bt, columns, value=target_pad),
            target_mask_bt,
            torch.arange(target_mask_bt.numel()),
        )


def group_tokens(tokens_bs: Int[Tensor, "b s"]) -> TokenGroups:
    """Group the positions of a batch by their token."""
    ids_n = tokens_bs.flatten().numpy()
    order_n = ids_n.argsort(kind="stable")
    # A group starts where the sorted token differs from the one before; -1 is no token.
    first_x = np.flatnonzero(np.diff(ids_n[order_n], prepend=-1))
    starts_x = np.full(len(ids_n) + 1, len(ids_n), np.int32)
    starts_x[: len(first_x)] = first_x
    return TokenGroups(torch.from_numpy(order_n.astype(np.int32)), torch.from_numpy(starts_x))


def collate(
    sources: Sequence[Array],
    targets: Sequence[Array],
    source_special: SpecialTokens,
    target_special: SpecialTokens,
) -> Batch:
    """Collate sentences of token ids, given without begin and end, into a padded batch."""
    return combine(*pad(sources, source_special), *pad(targets, target_special), target_special)


def align_batch(
    batch: Batch, links: TokenLinks, rows: Array, *, reverses_targets: bool = False
) -> Batch:
    """Add the links of the given pairs of a corpus to their batch, possibly of reversed targets."""
    starts_b = links.offsets[rows]
    counts_b = links.offsets[rows + 1] - starts_b
    # Gather the entries start, start + 1, ... of every pair.
    shift_b = starts_b - (np.cumsum(counts_b) - counts_b)
    chosen_x = np.repeat(shift_b, counts_b) + np.arange(counts_b.sum())
    sentences, targets = batch.target_in_bt.shape
    rows_x = np.repeat(np.arange(sentences), counts_b)
    position_x = links.target[chosen_x]
    if reverses_targets:
        # The last position of the mask is that of </s>.
        position_x = batch.target_mask_bt.sum(1).numpy()[rows_x] - 2 - position_x
    target_x = rows_x * targets + position_x
    indices_x = target_x * batch.source_mask_bs.size(1) + links.source[chosen_x]
    shares_x = (1 / np.bincount(target_x, minlength=1)[target_x]).astype(np.float32)
    alignment = PieceAlignment(*map(torch.from_numpy, (indices_x, shares_x)))
    return batch._replace(alignment=alignment)


def combine(
    source: Array,
    source_mask_bs: Array,
    target_out_bt: Array,
    target_mask_bt: Array,
    target_special: SpecialTokens,
) -> Batch:
    """Combine padded sources, or images, with padded targets that end with `</s>`."""
    target_in_bt = decoder_input(target_out_bt, target_mask_bt, target_special)
    arrays = (source, source_mask_bs, target_in_bt, target_out_bt, target_mask_bt)
    return Batch.create(*map(torch.from_numpy, arrays))


def decoder_input(target_out_bt: Array, target_mask_bt: Array, special: SpecialTokens) -> Array:
    """Return the input of the decoder for padded targets that end with `</s>`."""
    target_in_bt = np.full_like(target_out_bt, special.bos)
    # The input is the output shifted by one. </s> is not an input: it has no next token.
    has_next_bt = target_mask_bt[:, 1:]
    target_in_bt[:, 1:] = np.where(has_next_bt, target_out_bt[:, :-1], special.pad)
    return target_in_bt


def pad(sentences: Sequence[Array], special: SpecialTokens) -> tuple[Array, Array]:
    """Pad sentences of token ids to the length of the longest, after appending `</s>`.

    Returns:
        token ids and their mask, both (sentences, tokens)
    """
    offsets = np.cumsum([0, *map(len, sentences)])
    # One more entry: all sentences may be empty, and `pad_rows` takes from at least one token.
    tokens = np.concatenate([*sentences, [special.eos]])
    return pad_rows(tokens, offsets, np.arange(len(sentences)), special)


def pad_rows(
    tokens: Array, offsets: Array, rows: Array, special: SpecialTokens, *, reverses: bool = False
) -> tuple[Array, Array]:
    """Pad some of many concatenated sentences as `pad` does.

    Args:
        tokens: token ids of all sentences, at least one
        offsets: start of each sentence in `tokens`, and its end after the last one
        rows: indices of the sentences
        special: special tokens
        reverses: whether to reverse the tokens of each sentence, before `</s>`
    """
    starts_b = offsets[rows]
    lengths_b = offsets[rows + 1] - starts_b
    positions_s = np.arange(lengths_b.max() + 1)
    # The tokens after a short sentence are gathered too, and replaced by padding.
    positions_bs = lengths_b[:, None] - 1 - positions_s if reverses else positions_s[None]
    gathered_bs = tokens.take(starts_b[:, None] + positions_bs, mode="clip")
    # The mask comes from the lengths, since a foreign vocabulary may use the id of padding for
    # another token as well.
    mask_bs = positions_s <= lengths_b[:, None]
    ids_bs = np.where(mask_bs, gathered_bs.astype(np.int64), special.pad)
    # The column after the last token of each sentence.
    ids_bs[np.arange(len(rows)), lengths_b] = special.eos
    return ids_bs, mask_bs
