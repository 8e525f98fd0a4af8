"""The state of optimizers and random number generators as tensors that a checkpoint stores."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state as tensors named `optimizer.PARAMETER.NAME`."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{number}.{name}": torch.as_tensor(value)
        for number, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the state that `optimizer_tensors` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        kind, _, rest = key.partition(".")
        if kind == "optimizer":
            number, _, name = rest.partition(".")
            state.setdefault(int(number), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def random_states(rank: int = 0) -> dict[str, Tensor]:
    """Return the states of torch's generators in this process, by names that contain the rank."""
    states = {_of_rank(rank, "cpu"): torch.get_rng_state()}
    if torch.cuda.is_available():
        states[_of_rank(rank, "cuda")] = torch.cuda.get_rng_state()
    return states


def restore_random_states(tensors: Mapping[str, Tensor], rank: int = 0) -> None:
    """Restore the states that `random_states` returned."""
    torch.set_rng_state(tensors[_of_rank(rank, "cpu")])
    if torch.cuda.is_available() and _of_rank(rank, "cuda") in tensors:
        torch.cuda.set_rng_state(tensors[_of_rank(rank, "cuda")])


def _of_rank(rank: int, device: str) -> str:
    return f"random.{device}.{rank}" if rank else f"random.{device}"
