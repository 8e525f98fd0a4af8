"""Batches: padding, special tokens and masks."""

import numpy as np
import torch

from nmt.data.batch import Batch, collate
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
    assert [tensor.dtype for tensor in batch] == [
        torch.int64,
        torch.bool,
        torch.int64,
        torch.int64,
        torch.bool,
        torch.int64,
    ]
    assert batch.target_indices_r.tolist() == [0, 1, 3, 4, 5]


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
    batch = collate([np.array([4])], [np.array([5])], specials, specials).to("meta")
    assert isinstance(batch, Batch)
    assert {tensor.device.type for tensor in batch} == {"meta"}
