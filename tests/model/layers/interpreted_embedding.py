"""Print the gradients of an embedding table by the Triton kernel, and in float64, as JSON.

A process of its own, because TRITON_INTERPRET=1 has to be set before Triton is imported.
"""

import json
import sys

import torch
from torch.autograd import backward

from nmt.data.batch import group_tokens
from nmt.model.layers import embedding_kernel
from nmt.model.layers.embedding import embed
from nmt.model.seq2seq import Embedding

VOCABULARY, WIDTH = 11, 5
# Several blocks and reads, of which the last ones are partly filled.
embedding_kernel.MAX_BLOCK = 4
embedding_kernel.MAX_ROWS = 2


def main() -> None:
    """Compare both dtypes on tokens that occur never, once, and more often than one read."""
    generator = torch.Generator().manual_seed(1)
    tokens_bs = torch.tensor([[3, 7, 3, 0], [10, 3, 7, 3], [3, 1, 7, 2]])
    d_embedded_bsm = torch.randn(*tokens_bs.shape, WIDTH, generator=generator)
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        table_vm = torch.randn(VOCABULARY, WIDTH, generator=generator).to(dtype).requires_grad_()
        embedded_bsm = embed(tokens_bs, table_vm, group_tokens(tokens_bs))
        # The layout of gradients is that of the encoder, with the time axis first.
        d_narrow_bsm = d_embedded_bsm.to(dtype).transpose(0, 1).contiguous().transpose(0, 1)
        backward(embedded_bsm, d_narrow_bsm)
        exact_vm = torch.zeros(VOCABULARY, WIDTH, dtype=torch.float64)
        exact_vm.index_add_(0, tokens_bs.flatten(), d_narrow_bsm.flatten(0, 1).double())
        assert table_vm.grad is not None and table_vm.grad.dtype == dtype
        assert type(embedded_bsm.grad_fn).__name__ == "_EmbeddingBackward"
        found[str(dtype)] = (table_vm.grad.tolist(), exact_vm.tolist())
    module = Embedding(VOCABULARY, WIDTH)
    assert torch.equal(module(tokens_bs, group_tokens(tokens_bs)), module(tokens_bs))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
