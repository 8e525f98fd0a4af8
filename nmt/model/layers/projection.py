"""A linear layer with Glorot's first values."""

from torch import nn

from nmt.model.layers.initial import xavier_gates


def projection(input_size: int, output_size: int, parts: int = 1) -> nn.Linear:
    """W x + b, b zero at first; several parts of one width lie on top of each other in W."""
    layer = nn.Linear(input_size, parts * output_size)
    layer.weight = nn.Parameter(xavier_gates(parts, output_size, input_size))
    nn.init.zeros_(layer.bias)
    return layer
