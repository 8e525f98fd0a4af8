"""The training loop: batches in, updates out. Everything periodic is a hook."""

from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from nmt.data.ahead import ahead
from nmt.data.stream import Group, Numbered, Position, Stream
from nmt.errors import UserError
from nmt.model.seq2seq import Seq2Seq
from nmt.training.loss import BatchLoss
from nmt.training.precision import Precision
from nmt.training.ranks import ALONE, Ranks
from nmt.training.schedules import Schedule


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
        return self.stopping

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
            UserError: when a loss or the gradient is not finite; no parameter is changed then
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
        self._check_finite(group, [loss for loss, _ in sums], loss, norm, asked)
        self.precision.step(self.optimizer)
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

    def _check_finite(
        self, group: Group, losses: list[Tensor], total: Tensor, norm: Tensor, asked: Tensor
    ) -> None:
        """Raise UserError unless all are numbers; waits for the device once an update.

        All ranks find the same: what is no number on one of them leaves no sum over them either.
        """
        finite = [value.isfinite() for value in (*losses, total, norm)]
        *own, is_total, is_norm, is_asked = torch.stack([*finite, asked > 0]).tolist()
        self.interrupted = is_asked
        pairs = zip(losses, group.batches, own, strict=True)
        wrong = [
            (loss.item(), one.lines.tolist()) for loss, one, is_finite in pairs if not is_finite
        ]
        if not is_total:
            raise self._not_finite("loss", wrong[:1], whole=False)
        if not is_norm and not self.precision.scaler.is_enabled():
            lines = [line for numbered in group.batches for line in numbered.lines.tolist()]
            raise self._not_finite("gradient's norm", [(norm.item(), lines)], whole=True)

    def _not_finite(
        self, what: str, found: list[tuple[float, list[int]]], *, whole: bool
    ) -> UserError:
        """The error of all ranks, from the values and lines that each has found.

        Args:
            whole: whether to name all ranks' lines, or those of the first one with such a value
        """
        everywhere = [one for part in self.ranks.gather(found) for one in part]
        value, lines = everywhere[0] if everywhere else (float("nan"), [])
        if whole:
            lines = [line for _, some in everywhere for line in some]
        named = ", ".join(map(str, lines[:5])) + (", …" if len(lines) > 5 else "")
        return UserError(
            self.ranks.same(
                f"update {self.step + 1}: the {what} is {value} on the batch of training lines "
                f"{named}; the last checkpoint is kept; "
                "try a lower learning_rate, a smaller clip_norm or a warmup"
            )
        )
