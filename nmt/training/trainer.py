"""The training loop: batches in, updates out. Everything periodic is a hook."""

from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from nmt.data.ahead import ahead
from nmt.data.stream import Group, Numbered, Position, Stream
from nmt.model.seq2seq import Seq2Seq
from nmt.training.loss import BatchLoss
from nmt.training.precision import Precision
from nmt.training.ranks import ALONE, Ranks
from nmt.training.schedules import Schedule
from nmt.training.soundness import Evidence, Soundness


class Update(NamedTuple):
    """What a hook may look at after an update; sums are over the batches of all ranks.

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
        accumulate: batches an update of each rank; fewer at the end of an epoch
        clip_norm: the largest norm of all gradients together
        label_smoothing: share of probability spread over the vocabulary
        output_chunk: target tokens whose logits stand in memory at once
        ranks: that train the same model together

    Attributes:
        asked: whether somebody asked this process to stop, by a signal
        interrupted: whether somebody asked any of them, as all of them know
        reads_late: whether an update's soundness is known only when the next one was launched
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
        ranks: Ranks = ALONE,
    ) -> None:
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.stream, self.precision = stream, precision
        self.accumulate, self.clip_norm = accumulate, clip_norm
        self.label_smoothing, self.output_chunk = label_smoothing, output_chunk
        self.ranks, self.loss = ranks, ranks.parallel(BatchLoss(model))
        device, scaled = precision.device, precision.scaler.is_enabled()
        self.reads_late = device.type == "cuda" and precision.may_skip(optimizer)
        self.soundness = Soundness(ranks, device, late=self.reads_late, scaled=scaled)
        self.learning_rate: float = optimizer.param_groups[0]["lr"]
        self.step, self.position = 0, Position(0, 0)
        self.hooks: list[Hook] = []
        self.stopping, self.asked, self.interrupted = "", False, False

    def train(self) -> str:
        """Update until a hook calls `stop`; the reason it gave, or none when interrupted."""
        for update in self.updates():
            for hook in self.hooks:
                hook(update)
            if self.stopping or self.interrupted:
                break
        self.settle()
        return self.stopping

    def settle(self) -> None:
        """Wait until all updates are known to be sound: before their result is used.

        Raises:
            UserError: when one was not; no parameter was changed by it
        """
        self.soundness.settle()
        self.interrupted = self.interrupted or self.soundness.asked

    def stop(self, reason: str) -> None:
        """Make this update the last one; the hooks after this one are still called."""
        self.stopping = self.stopping or reason

    def heed(self) -> None:
        """Let a signal that reached any rank interrupt all of them."""
        self.interrupted = self.ranks.any(self.asked)

    def updates(self) -> Iterator[Update]:
        """One optimizer update after another."""
        size = self.accumulate * self.ranks.count
        groups = self.stream.groups(self.position, size, self.ranks.share)
        if self.precision.device.type == "cuda":
            groups = (group.pinned() for group in groups)
        with closing(ahead(groups)) as ready:
            for group in ready:
                yield self.update(group)

    def update(self, group: Group) -> Update:
        """One update on the joined batches of a group.

        Raises:
            UserError: when a loss or the gradient was not finite; no parameter is changed then.
                Where `reads_late`, it was the update before
        """
        self.model.train()
        sums = []
        for number, numbered in enumerate(group.batches, start=1):
            is_last = number == len(group.batches)
            with nullcontext() if is_last else self.ranks.local(self.loss):
                sums.append(self.backward(numbered, group.target_tokens))
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = self.learning_rate * self.schedule.factor(self.step + 1)
        norm = self.precision.clip(self.optimizer, self.model.parameters(), self.clip_norm)
        loss, likelihood = (torch.stack(part).sum() for part in zip(*sums, strict=True))
        asked = torch.full_like(loss, self.asked)
        loss, likelihood, asked = self.ranks.sum(torch.stack([loss, likelihood, asked]))
        lines = [numbered.lines for numbered in group.batches]
        losses_x = torch.stack([loss for loss, _ in sums])
        evidence = Evidence(self.step + 1, lines, losses_x, loss, norm, asked)
        self.soundness.take(evidence)
        self.interrupted = self.soundness.asked
        self.precision.step(self.optimizer, evidence.is_wrong if self.reads_late else None)
        self.optimizer.zero_grad()
        self.step, self.position = self.step + 1, group.after
        ends_epoch = self.position.batch == 0
        return Update(
            self.step, self.position, loss, likelihood, group.target_tokens, norm, ends_epoch
        )

    def backward(self, numbered: Numbered, tokens: int) -> tuple[Tensor, Tensor]:
        """Add a batch's gradients, as a share of `tokens` target tokens; the sums of its loss."""
        batch = numbered.batch.to(self.precision.device)
        with self.precision.autocast():
            loss, likelihood = self.loss(
                batch, smoothing=self.label_smoothing, chunk=self.output_chunk
            )
        if numbered.idle:
            loss = loss * 0.0  # a penalty may have a value even there
        # The ranks' gradients are averaged, and their sum is wanted.
        self.precision.backward(loss * self.ranks.count / tokens)
        return loss.detach(), likelihood
