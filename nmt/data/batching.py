"""Batches: which sentences go together, and their ids as padded tensors."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from nmt.data.vocabulary import Specials

Array = NDArray[Any]

# By what share a length may count for more in sorting, so that an epoch's batches are not the last
# one's. With 29,000 drawn lengths and 4000 tokens a batch, two pairs of a batch meet again in 46 %
# of cases, not 65 %, for 1.4 % more padding.
JITTER = 0.05


Source = Int[Tensor, "b s"] | UInt8[Tensor, "b 3 y x"] | Float[Tensor, "b p f"]
"""What an encoder-decoder reads: pieces of text, pixels of pictures, or ready feature maps."""


class Batch(NamedTuple):
    """Pairs of like length, padded; masks are True where a real token stands.

    Rows of source text end with the end mark; a picture is one token. `target_in` is the begin mark
    and the target, `target_out` the target and the end mark: the token at t of `target_out` follows
    that at t of `target_in`. `target_places_r` are the places of the real ones of `target_out`,
    counted row by row: known beforehand, so that no device is asked which they are.
    """

    source: Source
    source_mask_bs: Bool[Tensor, "b s"]
    target_in_bt: Int[Tensor, "b t"]
    target_out_bt: Int[Tensor, "b t"]
    target_mask_bt: Bool[Tensor, "b t"]
    target_places_r: Int[Tensor, " r"]

    @classmethod
    def of(
        cls,
        source: Source,
        source_mask_bs: Bool[Tensor, "b s"],
        target_in_bt: Int[Tensor, "b t"],
        target_out_bt: Int[Tensor, "b t"],
        target_mask_bt: Bool[Tensor, "b t"],
    ) -> "Batch":
        """The batch of these, on the CPU."""
        places_r = target_mask_bt.flatten().nonzero()[:, 0]
        return cls(source, source_mask_bs, target_in_bt, target_out_bt, target_mask_bt, places_r)

    def without_targets(self) -> "Batch":
        """The same batch with nothing to predict."""
        return self._replace(
            target_mask_bt=torch.zeros_like(self.target_mask_bt),
            target_places_r=self.target_places_r[:0],
        )

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on a device; a pinned one is copied while this process goes on."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))

    def pinned(self) -> "Batch":
        """The batch in memory that a GPU reads by itself."""
        return Batch(*(tensor.pin_memory() for tensor in self))

    @property
    def target_tokens(self) -> int:
        """Target tokens to predict, end marks included."""
        return len(self.target_places_r)


def collate(
    sources: Sequence[Array],
    targets: Sequence[Array],
    source_specials: Specials,
    target_specials: Specials,
) -> Batch:
    """Pad sentences of ids, given without begin and end, to a batch."""
    return _beside(*pad(sources, source_specials), targets, target_specials)


def collate_pictures(pictures: Array, targets: Sequence[Array], target_specials: Specials) -> Batch:
    """Pictures, a row each, and their sentences of ids, padded to a batch."""
    mask_bs = np.ones((len(pictures), 1), bool)
    return _beside(pictures, mask_bs, targets, target_specials)


def _beside(
    source: Array, source_mask_bs: Array, targets: Sequence[Array], target_specials: Specials
) -> Batch:
    target_out_bt, target_mask_bt = pad(targets, target_specials)
    target_in_bt = np.full_like(target_out_bt, target_specials.pad)
    target_in_bt[:, 0] = target_specials.bos
    # Where a next token is real, this one is neither the end mark nor padding.
    inner = target_mask_bt[:, 1:]
    target_in_bt[:, 1:][inner] = target_out_bt[:, :-1][inner]
    arrays = (source, source_mask_bs, target_in_bt, target_out_bt, target_mask_bt)
    return Batch.of(*map(torch.from_numpy, arrays))


def pad(sentences: Sequence[Array], specials: Specials) -> tuple[Array, Array]:
    """Ids with the end mark, padded, and the mask of what is real."""
    lengths = np.fromiter(map(len, sentences), np.int64, len(sentences))
    positions = np.arange(lengths.max() + 1)
    ids = np.full((len(sentences), len(positions)), specials.pad, np.int64)
    ids[positions < lengths[:, None]] = np.concatenate(sentences)
    ids[np.arange(len(sentences)), lengths] = specials.eos
    return ids, positions <= lengths[:, None]


def plan_epoch(
    source_lengths: Array,
    target_lengths: Array,
    *,
    batch_tokens: int,
    batch_sentences: int | None = None,
    seed: int,
    epoch: int,
) -> list[Array]:
    """The batches of an epoch, as arrays of pair numbers; each pair stands in one batch.

    Pairs of like length go together, their lengths counted with a little noise. On each side,
    rows x (longest sentence + end mark) is at most `batch_tokens`, and rows at most
    `batch_sentences`; a pair beyond the budget is alone in its batch. A pure function of its
    arguments: to continue an epoch, slice its plan.

    Args:
        source_lengths, target_lengths: pieces of each pair, without begin and end
    """
    generator = np.random.default_rng([seed, epoch])
    count = len(source_lengths)
    keys = [_jittered(lengths, generator) for lengths in (source_lengths, target_lengths)]
    order = _sorted(generator.permutation(_numbers(count)), *keys)
    batches = _cut(order, source_lengths, target_lengths, batch_tokens, batch_sentences)
    return [batches[i] for i in generator.permutation(len(batches))]


def batches_in_order(
    source_lengths: Array,
    target_lengths: Array,
    *,
    batch_tokens: int,
    batch_sentences: int | None = None,
) -> list[Array]:
    """Batches like those of `plan_epoch`, from short to long, without any chance."""
    order = _sorted(_numbers(len(source_lengths)), source_lengths, target_lengths)
    return _cut(order, source_lengths, target_lengths, batch_tokens, batch_sentences)


def longest_batch(plan: list[Array], source_lengths: Array, target_lengths: Array) -> Array:
    """The batch of a plan with the most tokens, both sides and padding counted."""

    def tokens(batch: Array) -> int:
        rows = source_lengths[batch].max() + 1 + target_lengths[batch].max() + 1
        return int(len(batch) * rows)

    return max(plan, key=tokens)


def _numbers(count: int) -> Array:
    """0 to count - 1, in as few bytes as there may be pairs for: plans stay in memory."""
    return np.arange(count, dtype=np.int32 if count <= 1 << 31 else np.int64)


def _jittered(lengths: Array, generator: np.random.Generator) -> Array:
    """round(lengths x (1 + JITTER x noise)), made in place: corpora may have millions of pairs."""
    keys = generator.random(len(lengths))
    keys *= JITTER
    keys += 1
    keys *= lengths
    return np.rint(keys, out=keys).astype(np.int32)


def _cut(
    order: Array,
    source_lengths: Array,
    target_lengths: Array,
    batch_tokens: int,
    batch_sentences: int | None,
) -> list[Array]:
    """Cut an order into batches that fill the budget."""
    sources, targets = source_lengths[order] + 1, target_lengths[order] + 1
    batches = []
    start = 0
    while start < len(order):
        most = min(batch_tokens // int(targets[start]), batch_sentences or len(order))
        end = start + max(1, most)
        rows = np.arange(1, len(targets[start:end]) + 1)
        widest = np.maximum.accumulate(np.maximum(sources[start:end], targets[start:end]))
        fitting = int(np.count_nonzero(rows * widest <= batch_tokens))
        end = start + max(1, fitting)
        batches.append(order[start:end])
        start = end
    return batches


def _sorted(order: Array, source_keys: Array, target_keys: Array) -> Array:
    """Sort by target, then source; what is equal keeps its order.

    Source keys rise and fall in turn, so that a batch across two target keys pads little.
    """
    falling = source_keys.max(initial=0) - source_keys
    order = _stably_sorted(order, np.where(target_keys % 2 == 1, falling, source_keys))
    return _stably_sorted(order, target_keys)


def _stably_sorted(order: Array, keys: Array) -> Array:
    # NumPy's stable sort is a radix sort, linear in time, for integers of up to 16 bits.
    keys = keys[order].astype(np.min_scalar_type(keys.max(initial=0)))
    return order[np.argsort(keys, kind="stable")]
