"""Batches: padding, special tokens and masks."""

from itertools import pairwise

import numpy as np
import torch
from torch.utils._pytree import tree_leaves

from nmt.data.batch import Batch, PieceAlignment, TokenGroups, collate
from nmt.data.special_tokens import SpecialTokens


def test_collate_pads_and_adds_special_tokens() -> None:
    batch = collate(
        [np.array([7, 8, 9], np.uint16), np.array([5], np.uint16)],
        [np.array([6], np.uint32), np.array([4, 5], np.uint32)],
        SpecialTokens(pad=0, bos=1, eos=2),
        SpecialTokens(pad=90, bos=91, eos=92),
    )
    assert batch.source.tolist() == [[7, 8, 9, 2], [5, 2, 0, 0]]
    assert batch.source_mask_bs.tolist() == [[True] * 4, [True, True, False, False]]
    assert batch.target_in_bt.tolist() == [[91, 6, 90], [91, 4, 5]]
    assert batch.target_out_bt.tolist() == [[6, 92, 90], [4, 5, 92]]
    assert batch.target_mask_bt.tolist() == [[True, True, False], [True, True, True]]
    assert batch.target_tokens == 5
    assert isinstance(batch.target_tokens, int)
    assert [tensor.dtype for tensor in batch if isinstance(tensor, torch.Tensor)] == [
        torch.int64,
        torch.bool,
        torch.int64,
        torch.int64,
        torch.bool,
        torch.int64,
    ]
    assert batch.target_indices_r.tolist() == [0, 1, 3, 4, 5]


def test_rounded_lengths_add_only_padding() -> None:
    specials = SpecialTokens(pad=0, bos=1, eos=2), SpecialTokens(pad=90, bos=91, eos=92)
    batch = collate([np.arange(3, 10)], [np.array([6, 7])], *specials)
    rounded = batch.round_lengths(0, 90)
    assert torch.equal(rounded.source, batch.source), "8 tokens with </s>"
    assert rounded.target_in_bt.tolist() == [[91, 6, 7] + [90] * 5]
    assert rounded.target_out_bt.tolist() == [[6, 7, 92] + [90] * 5]
    assert rounded.target_mask_bt.tolist() == [[True] * 3 + [False] * 5]
    assert rounded.target_indices_r.tolist() == list(range(8))
    assert rounded.target_tokens == batch.target_tokens == 3
    longer = collate([np.arange(3, 11)], [np.array([6])], *specials).round_lengths(0, 90)
    assert longer.source.tolist() == [[*range(3, 11), 2] + [0] * 7]
    assert longer.source_mask_bs.tolist() == [[True] * 9 + [False] * 7]
    image = batch._replace(source=torch.zeros(1, 3, 5, 5, dtype=torch.uint8))
    assert image.round_lengths(None, 90).source.shape == (1, 3, 5, 5)


def test_empty_sides_have_only_special_tokens() -> None:
    empty = np.array([], np.uint16)
    specials = SpecialTokens(pad=0, bos=1, eos=2)
    batch = collate([empty], [empty], specials, specials)
    assert batch.source.tolist() == [[2]]
    assert batch.target_in_bt.tolist() == [[1]]
    assert batch.target_out_bt.tolist() == [[2]]
    assert batch.target_tokens == 1


def test_masks_do_not_depend_on_the_padding_id() -> None:
    specials = SpecialTokens(pad=7, bos=1, eos=7)
    batch = collate([np.array([7, 7])], [np.array([7])], specials, specials)
    assert batch.source_mask_bs.all()
    assert batch.target_mask_bt.all()


def test_to_copies_all_tensors() -> None:
    specials = SpecialTokens(pad=0, bos=1, eos=2)
    batch = collate([np.array([4])], [np.array([5])], specials, specials).with_groups()
    batch = batch._replace(alignment=PieceAlignment(torch.zeros(1).long(), torch.ones(1)))
    batch = batch.to("meta")
    assert isinstance(batch, Batch)
    assert isinstance(batch.source_groups, TokenGroups)
    tensors = tree_leaves(batch)
    assert len(tensors) == 12
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_groups_list_the_positions_of_each_token_in_order() -> None:
    specials = SpecialTokens(pad=0, bos=1, eos=2)
    sources = [np.array([5, 4, 5], np.uint16), np.array([4], np.uint16)]
    targets = [np.array([6], np.uint16), np.array([7, 7], np.uint16)]
    batch = collate(sources, targets, specials, specials).with_groups()
    for tokens_bs, groups in (
        (batch.source, batch.source_groups),
        (batch.target_in_bt, batch.target_groups),
    ):
        assert groups is not None
        ids_n = tokens_bs.flatten()
        starts = groups.starts_x.tolist()
        assert len(starts) == len(ids_n) + 1
        groups_of_order = [
            groups.order_n[start:end].tolist() for start, end in pairwise(starts) if start < end
        ]
        expected = [
            (ids_n == token).nonzero()[:, 0].tolist() for token in sorted(set(ids_n.tolist()))
        ]
        assert groups_of_order == expected
