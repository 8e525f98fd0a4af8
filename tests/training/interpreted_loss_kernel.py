"""Runs the loss's kernel on a CPU, beside torch's operations in float64; both as JSON.

It wants TRITON_INTERPRET=1 from its start, and leaves other tests a process without it.
"""

import json
import sys
from itertools import product

import torch

from nmt.training import loss_kernel
from nmt.training.loss import chunk_loss

loss_kernel.MAX_BLOCK = 8  # several blocks, of which the last one is not full
ROWS, PIECES = 6, 21


def main() -> None:
    """Of float32 and bfloat16, with and without rows that only fill up, and with large logits."""
    found = []
    for dtype, real, smoothing, size in product(
        (torch.float32, torch.bfloat16), (0, 4, ROWS), (0.0, 0.1), (1, 30)
    ):
        generator = torch.Generator().manual_seed(1)
        logits_rv = (size * torch.randn(ROWS, PIECES, generator=generator)).to(dtype)
        targets_r = torch.randint(0, PIECES, (ROWS,), generator=generator)
        given = (targets_r, real, smoothing)
        exact = chunk_loss(logits_rv.double(), *given)
        near = loss_kernel.chunk_loss(logits_rv, *given)
        case = f"{dtype} {real} {smoothing} {size}"
        types = [str(tensor.dtype) for tensor in near]
        found.append((case, [t.tolist() for t in near], [t.tolist() for t in exact], types))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
