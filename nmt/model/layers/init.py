"""Initialization of parameters."""

from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor


def xavier(rows: int, columns: int) -> Float[Tensor, "rows columns"]:
    """Draw from U(-a, a) with a = sqrt(6 / (rows + columns)). Glorot and Bengio 2010, eq. 16."""
    bound = sqrt(6 / (rows + columns))
    return torch.empty(rows, columns).uniform_(-bound, bound)


def xavier_gates(gates: int, rows: int, columns: int) -> Float[Tensor, "all_rows columns"]:
    """Stack one Glorot matrix per gate: each gate is a layer of its own."""
    return torch.cat([xavier(rows, columns) for _ in range(gates)])


def orthogonal_gates(gates: int, size: int) -> Float[Tensor, "rows size"]:
    """Stack one orthogonal matrix per gate. Saxe et al. 2014."""
    return torch.cat([torch.nn.init.orthogonal_(torch.empty(size, size)) for _ in range(gates)])
