"""The training loop: batches in, updates out. Everything periodic is a hook."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from nmt.data.stream import Numbered, Position, Stream
from nmt.errors import UserError
from nmt.model.seq2seq import Seq2Seq
from nmt.training.loss import batch_loss
from nmt.training.precision import Precision
from nmt.training.schedules import Schedule


class Update(NamedTuple):
    """What a hook may look at after an update.

    Attributes:
        step: number of the update, from 1
        position: of the next batch
        loss: sum of the smoothed loss, in nats
        likelihood: sum of -log p, in nats
        target_tokens: tokens that were predicted
        norm: of all gradients together, before clipping
        ends_epoch: whether the next batch is the first of an epoch
    """

    step: int
    position: Position
    loss: Tensor
    likelihood: Tensor
    target_tokens: int
    norm: Tensor
    ends_epoch: bool


Hook = Callable[[Update], None]


class Trainer:
    """Owns the update. Reports, validation, checkpoints and stopping are hooks.

    Args:
        model: on its device
        optimizer: over the model's parameters
        schedule: factor on the optimizer's learning rate
        stream: where batches come from
        precision: number formats
        accumulate: batches an update; fewer at the end of an epoch
        clip_norm: the largest norm of all gradients together
        label_smoothing: share of probability spread over the vocabulary
        output_chunk: target tokens whose logits stand in memory at once
    """

    def __init__(
        self,
        model: Seq2Seq,
        optimizer: Optimizer,
        schedule: Schedule,
        stream: Stream,
        precision: Precision,
        *,
        accumulate: int = 1,
        clip_norm: float | None = 1.0,
        label_smoothing: float = 0.0,
        output_chunk: int = 1024,
    ) -> None:
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.stream, self.precision = stream, precision
        self.accumulate, self.clip_norm = accumulate, clip_norm
        self.label_smoothing, self.output_chunk = label_smoothing, output_chunk
        self.learning_rate: float = optimizer.param_groups[0]["lr"]
        self.step, self.position = 0, Position(0, 0)
        self.hooks: list[Hook] = []
        self.stopping, self.interrupted = "", False

    def train(self) -> str:
        """Update until a hook calls `stop`; the reason it gave, or none when interrupted."""
        for update in self.updates():
            for hook in self.hooks:
                hook(update)
            if self.stopping or self.interrupted:
                break
        return self.stopping

    def stop(self, reason: str) -> None:
        """Make this update the last one; the hooks after this one are still called."""
        self.stopping = self.stopping or reason

    def updates(self) -> Iterator[Update]:
        """One optimizer update after another."""
        batches = self.stream.batches(self.position)
        while True:
            group = [next(batches)]
            while len(group) < self.accumulate and group[-1].after.batch:
                group.append(next(batches))
            yield self.update(group)

    def update(self, group: list[Numbered]) -> Update:
        """One update on the joined batches of a group.

        Raises:
            UserError: when a loss or the gradient is not finite; no parameter is changed then
        """
        self.model.train()
        tokens = sum(numbered.batch.target_tokens for numbered in group)
        sums = [self.backward(numbered, tokens) for numbered in group]
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = self.learning_rate * self.schedule.factor(self.step + 1)
        norm = self.precision.clip(self.optimizer, self.model.parameters(), self.clip_norm)
        self._check_finite(group, [loss for loss, _ in sums], norm)
        self.precision.step(self.optimizer)
        self.optimizer.zero_grad()
        self.step, self.position = self.step + 1, group[-1].after
        loss, likelihood = (torch.stack(part).sum() for part in zip(*sums, strict=True))
        ends_epoch = self.position.batch == 0
        return Update(self.step, self.position, loss, likelihood, tokens, norm, ends_epoch)

    def backward(self, numbered: Numbered, tokens: int) -> tuple[Tensor, Tensor]:
        """Add a batch's gradients, as a share of `tokens` target tokens; the sums of its loss."""
        batch = numbered.batch.to(self.precision.device)
        with self.precision.autocast():
            loss, likelihood = batch_loss(
                self.model, batch, smoothing=self.label_smoothing, chunk=self.output_chunk
            )
        self.precision.backward(loss / tokens)
        return loss.detach(), likelihood

    def _check_finite(self, group: list[Numbered], losses: list[Tensor], norm: Tensor) -> None:
        """Raise UserError unless all are numbers; waits for the device once an update."""
        finite = torch.stack([value.isfinite() for value in (*losses, norm)]).tolist()
        for numbered, loss, is_finite in zip(group, losses, finite[:-1], strict=True):
            if not is_finite:
                raise self._not_finite("loss", loss, numbered.lines.tolist())
        if not finite[-1] and not self.precision.scaler.is_enabled():
            lines = [line for numbered in group for line in numbered.lines.tolist()]
            raise self._not_finite("gradient's norm", norm, lines)

    def _not_finite(self, what: str, value: Tensor, lines: list[int]) -> UserError:
        named = ", ".join(map(str, lines[:5])) + (", …" if len(lines) > 5 else "")
        return UserError(
            f"update {self.step + 1}: the {what} is {value.item()} on the batch of training lines "
            f"{named}; the last checkpoint is kept; "
            "try a lower learning_rate, a smaller clip_norm or a warmup"
        )
