"""Whole updates as CUDA graphs: forward and backward pass, clipping and optimizer in one launch.

`training.recurrence: graph` plans batches of few shapes for them.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from nmt.cuda_graphs import MAX_GRAPHS, GraphCache, Purpose, copy_tensors, shapes_of
from nmt.data.batch import Batch
from nmt.errors import OptionError

Compute = Callable[[Batch, Tensor], Tensor]
"""(batch and number of target tokens on the device) -> results of the update.

It reads and writes tensors on the device alone, and leaves no gradients behind, even if it fails.
"""

PURPOSE = Purpose("an update", "training", "set training.recurrence: auto")


class GraphedUpdate(GraphCache[tuple[Batch, Tensor], Tensor]):
    """Updates of one process on one GPU, by graphs where a shape occurs again.

    Args:
        compute: computes an update
        device: the GPU
        max_graphs: see `GraphCache`
    """

    def __init__(
        self, compute: Compute, device: torch.device, *, max_graphs: int = MAX_GRAPHS
    ) -> None:
        super().__init__(lambda inputs: compute(*inputs), device, PURPOSE, max_graphs=max_graphs)

    def __call__(self, batch: Batch, target_tokens: int) -> Float[Tensor, "..."]:
        """Run an update; return its results, which later updates do not overwrite.

        Args:
            batch: a batch in pinned memory
            target_tokens: number of target tokens to average the loss over
        """
        key = shapes_of(batch)
        captured = self.find(key)
        if captured is not None:
            static_batch, static_tokens = captured.inputs
            copy_tensors(batch, static_batch)
            static_tokens.fill_(target_tokens)
        else:
            # float32, because the loss is divided by it.
            tokens = torch.full((), float(target_tokens), device=self._device)
            inputs = (batch.to(self._device), tokens)
            if self.is_warm(key) and not self.has_failed:
                captured = self.capture(key, inputs)
            if captured is None:
                return self.run(key, inputs)
        return self.launch(captured).clone()


def make_capturable(optimizer: Optimizer, device: torch.device) -> Tensor:
    """Let an optimizer be captured; return the tensor to use as its learning rate."""
    for group in optimizer.param_groups:
        if "capturable" in group:  # adam and adamw, which then count their steps on the device
            group["capturable"] = True
    # torch warns of capturable optimizers outside of a capture, such as in the first updates.
    optimizer._warned_capturable_if_run_uncaptured = True
    return torch.zeros((), device=device)


def check_graph_support(
    device: torch.device, optimizer: Optimizer, *, accumulate: int, ranks: int, deterministic: bool
) -> None:
    """Raise OptionError if `training.recurrence: graph` is not possible.

    Args:
        device: device of the model
        optimizer: its optimizer
        accumulate: batches per update
        ranks: number of processes
        deterministic: `training.deterministic`
    """
    reasons = {
        "graph requires a GPU": device.type != "cuda",
        "graph does not support several processes": ranks > 1,
        "graph does not support accumulate, as an update is one batch": accumulate > 1,
        "graph does not support deterministic": deterministic,
        # Other optimizers cannot skip an update that is not finite without the host.
        "graph requires the optimizer adam, adamw or sgd": not getattr(
            optimizer, "_step_supports_amp_scaling", False
        ),
    }
    for reason, applies in reasons.items():
        if applies:
            raise OptionError(f"{reason}; use auto", "training.recurrence")
