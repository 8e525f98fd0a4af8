"""Embeddings: initialization, scale of a tied table, dropout."""

import pytest
import torch

from nmt.model.seq2seq import Embedding


@pytest.mark.parametrize("tied", [False, True])
def test_initial_variance_of_embeddings_and_tied_tables(
    tied: bool,
) -> None:
    torch.manual_seed(1)
    embedding = Embedding(200, 64, tied=tied)
    read_vm = embedding(torch.arange(200))
    assert float(read_vm.detach().std()) == pytest.approx(1.0, abs=0.03)
    expected = 1 / 8 if tied else 1.0
    assert float(embedding.weight.detach().std()) == pytest.approx(expected, rel=0.03)
    torch.testing.assert_close(read_vm, embedding.weight / expected)


def test_embedding_dropout_only_in_training() -> None:
    torch.manual_seed(1)
    embedding = Embedding(5, 1000, 0.25)
    tokens_bt = torch.tensor([[1, 2], [1, 4]])
    dropped_btm = embedding(tokens_bt)
    assert float((dropped_btm == 0).float().mean()) == pytest.approx(0.25, abs=0.03)
    kept = dropped_btm != 0
    whole_btm = embedding.eval()(tokens_bt)
    torch.testing.assert_close(dropped_btm[kept], whole_btm[kept] / 0.75)
    assert torch.equal(whole_btm, embedding.weight[tokens_bt])
