"""First values of parameters."""

from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor


def xavier(rows: int, columns: int) -> Float[Tensor, "rows columns"]:
    """U(-a, a) with a = sqrt(6 / (rows + columns)). Glorot and Bengio 2010, eq. 16."""
    bound = sqrt(6 / (rows + columns))
    return torch.empty(rows, columns).uniform_(-bound, bound)


def orthogonal_gates(gates: int, size: int) -> Float[Tensor, "rows size"]:
    """One orthogonal matrix a gate, on top of each other. Saxe et al. 2014."""
    return torch.cat([torch.nn.init.orthogonal_(torch.empty(size, size)) for _ in range(gates)])


def xavier_gates(gates: int, rows: int, columns: int) -> Float[Tensor, "all_rows columns"]:
    """One Glorot matrix a gate, on top of each other: a gate is a layer of its own."""
    return torch.cat([xavier(rows, columns) for _ in range(gates)])
