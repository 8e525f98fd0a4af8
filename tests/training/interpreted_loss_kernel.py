"""Print the results of the loss kernel on a CPU and of torch in float64 as JSON.

A process of its own, because TRITON_INTERPRET=1 has to be set before Triton is imported.
"""

import json
import sys
from itertools import product

import torch

from nmt.training import loss_kernel
from nmt.training.loss import IGNORED, chunk_loss

loss_kernel.MAX_BLOCK = 8  # several blocks, the last of them partly filled
ROWS, VOCABULARY = 6, 21


def main() -> None:
    """Compare all dtypes, with padding rows, ignored rows, smoothing and large logits."""
    found = []
    for dtype, rows, smoothing, size in product(
        (torch.float32, torch.bfloat16, torch.float16), (0, 4, ROWS), (0.0, 0.1), (1, 30)
    ):
        generator = torch.Generator().manual_seed(1)
        logits_rv = (size * torch.randn(ROWS, VOCABULARY, generator=generator)).to(dtype)
        targets_r = torch.randint(0, VOCABULARY, (ROWS,), generator=generator)
        targets_r[2] = IGNORED
        given = (targets_r, rows, smoothing, 1024.0 if dtype is torch.float16 else 1.0)
        exact = chunk_loss(logits_rv.double(), *given, ignores=True)
        near = loss_kernel.chunk_loss(logits_rv, *given)
        case = f"{dtype} {rows} {smoothing} {size}"
        types = [str(tensor.dtype) for tensor in near]
        found.append((case, [t.tolist() for t in near], [t.tolist() for t in exact], types))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
