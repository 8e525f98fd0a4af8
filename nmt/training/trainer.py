"""The training loop: one update after another, and hooks for everything periodic."""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from nmt.data.batch import Batch
from nmt.data.loader import BatchLoader, IndexedBatch, Position, UpdateBatch
from nmt.distributed.process_group import SINGLE_PROCESS_GROUP, ProcessGroup
from nmt.errors import is_out_of_memory, needed_memory
from nmt.model.seq2seq import Seq2Seq
from nmt.prefetch import prefetch
from nmt.storage.atomic import JsonObject
from nmt.training.batch_loss import BatchLoss
from nmt.training.batch_splitting import BatchSplitter, DoesNotFit
from nmt.training.graphed_update import GraphedUpdate, make_capturable
from nmt.training.guided_alignment import GuidedAlignment
from nmt.training.hook import Hook, StopRequest, Update
from nmt.training.limits import Timer
from nmt.training.minimum_risk import MinimumRisk
from nmt.training.nonfinite import NonFiniteCheck, UpdateStats
from nmt.training.precision import Precision
from nmt.training.scheduled_sampling import ScheduledSampling
from nmt.training.schedules import Schedule

START = Position(0, 0)


@dataclass(frozen=True)
class TrainerState:
    """Progress of a trainer; part of its `state_dict`.

    Attributes:
        step: number of completed updates
        position: position of the next batch in the training data
    """

    step: int = 0
    position: Position = START

    def to_json(self) -> JsonObject:
        """Return the state as JSON values."""
        return {"step": self.step, "position": self.position._asdict()}

    @classmethod
    def from_json(cls, state: JsonObject) -> "TrainerState":
        """Return the state from JSON values."""
        return cls(state["step"], Position(**state["position"]))


class Trainer:
    """Updates a model until a hook or a signal requests a stop.

    Args:
        model: the model, on its device
        optimizer: optimizer of the model's parameters
        schedule: factor of the learning rate per update
        loader: source of training batches
        precision: number formats
        accumulate: batches per update and rank; the last update of an epoch may have fewer
        clip_norm: maximum norm of the gradient; None for no clipping
        label_smoothing: probability mass that is spread over the vocabulary
        output_chunk: number of target tokens whose logits are in memory at once
        guided_alignment: weight of the alignment loss; None for none
        r_drop: weight of R-Drop; 0 for none
        minimum_risk: sampler of candidates whose risk replaces the cross entropy; None for none
        scheduled_sampling: replaces inputs of the decoder by predictions; None for none
        uses_graphs: whether updates run as CUDA graphs, for batches of few shapes;
            `check_graph_support` names the conditions
        process_group: processes that train the model together
        compresses_gradients: whether they exchange gradients in bf16

    Attributes:
        graphs: updates as CUDA graphs; None without them
        learning_rate: learning rate of the last update
        state: step and position
        stop: request to stop after the current update
        timer: minutes of training so far
        skips_on_device: whether the optimizer itself skips an update that is not finite, so that
            the host reads the verdict one update later
        splitter: divides batches that do not fit into memory, except in updates that run as graphs
    """

    def __init__(
        self,
        model: Seq2Seq,
        optimizer: Optimizer,
        schedule: Schedule,
        loader: BatchLoader,
        precision: Precision,
        *,
        accumulate: int = 1,
        clip_norm: float | None = 1.0,
        label_smoothing: float = 0.0,
        output_chunk: int = 1024,
        guided_alignment: GuidedAlignment | None = None,
        r_drop: float = 0.0,
        minimum_risk: MinimumRisk | None = None,
        scheduled_sampling: ScheduledSampling | None = None,
        uses_graphs: bool = False,
        process_group: ProcessGroup = SINGLE_PROCESS_GROUP,
        compresses_gradients: bool = False,
    ) -> None:
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.loader, self.precision, self.process_group = loader, precision, process_group
        self.accumulate, self.clip_norm = accumulate, clip_norm
        self.label_smoothing, self.output_chunk = label_smoothing, output_chunk
        self.guided_alignment, self.r_drop = guided_alignment, r_drop
        self.minimum_risk, self.scheduled_sampling = minimum_risk, scheduled_sampling
        self.state, self.stop, self.timer = TrainerState(), StopRequest(), Timer()
        # DDP hooks into the forward pass of the module it wraps, which therefore returns the loss.
        self._local_loss = BatchLoss(model, all_positions=uses_graphs)
        self.loss = process_group.wrap(self._local_loss, compresses_gradients=compresses_gradients)
        self._base_learning_rate: float = optimizer.param_groups[0]["lr"]
        self.learning_rate = self._base_learning_rate
        self.graphs: GraphedUpdate | None = None
        if uses_graphs:
            self._learning_rate_on_device = make_capturable(optimizer, precision.device)
            self.graphs = GraphedUpdate(self.compute_update, precision.device)
        # If the optimizer skips a non-finite update on the GPU, the host can launch the next update
        # before it reads the verdict.
        self.skips_on_device = precision.device.type == "cuda" and (
            uses_graphs or precision.may_skip(optimizer)
        )
        self.splitter = BatchSplitter(
            model, is_enabled=precision.device.type == "cuda" and process_group.world_size == 1
        )
        self._nonfinite_check = NonFiniteCheck(
            process_group,
            precision.device,
            lag=1 if self.skips_on_device else 0,
            has_loss_scale=precision.scaler.is_enabled(),
        )
        self._hooks: list[Hook] = []

    def add_hooks(self, hooks: Iterable[Hook]) -> None:
        """Add hooks; they run in their declared order."""
        self._hooks = sorted([*self._hooks, *hooks], key=lambda hook: hook.order)

    def train(self) -> StopRequest:
        """Train until a stop is requested; return the request."""
        for update in self.updates():
            self.run_hooks(update)
        return self.stop

    def run_hooks(self, update: Update) -> None:
        """Run the hooks that are due after an update: reports, validations, checkpoints, limits."""
        for hook in self._hooks:
            if hook.is_due(update, self.stop):
                hook.run(update)

    def flush(self) -> None:
        """Check all updates that are not checked yet, before their result is used.

        Raises:
            UserError: if one of them was not finite; it has changed no parameter
        """
        self._handle_interrupts(self._nonfinite_check.flush())

    def sync_interrupt(self) -> None:
        """Stop all ranks if one of them has received a signal; called by all ranks together."""
        if self.process_group.any(self.stop.signal_received):
            self.stop.is_interrupted = True

    def updates(self) -> Iterator[Update]:
        """Yield one update after another, across epochs, until a stop is requested.

        After each update the caller calls `run_hooks`, as `train` does, or acts otherwise.
        """
        if self.stop.is_requested:
            return
        # The length of an epoch, if needed, is read before the thread that plans epochs starts.
        self.schedule.factor(self.state.step + 1)
        batches_per_update = self.accumulate * self.process_group.world_size
        batches = self.loader.updates(
            self.state.position, batches_per_update, self.process_group.info
        )
        if self.precision.device.type == "cuda":
            # Only from pinned memory does a copy to the GPU overlap with computation.
            batches = (batch.for_gpu() for batch in batches)
        # Closing ends the thread that reads ahead, when training stops in mid-epoch.
        with closing(prefetch(batches)) as prefetched:
            started = time.perf_counter()
            for batch in prefetched:
                yield self.update(batch)._replace(started=started)
                if self.stop.is_requested:
                    break
                started = time.perf_counter()  # the hooks have run during the yield
        self.flush()

    @property
    def rate_factor(self) -> float:
        """Return the share of the full learning rate that the last update had."""
        return self.learning_rate / self._base_learning_rate

    def updates_per_epoch(self) -> int:
        """Return the number of updates of the first epoch; the others differ little, if at all."""
        batches = self.loader.batches_per_epoch()
        return -(-batches // (self.accumulate * self.process_group.world_size))

    def update(self, batch: UpdateBatch) -> Update:
        """Update the parameters once.

        Raises:
            UserError: if the loss or the gradient is not finite; no parameter is changed then. With
                `skips_on_device` the error is about the update before this one
        """
        self.model.train()
        # Always from the base rate, so that a continued run has the same bits.
        self.learning_rate = self._base_learning_rate * self.schedule.factor(self.state.step + 1)
        if self.graphs is not None:
            return self._update_by_graph(batch, self.graphs)
        batch, (losses, nlls) = self.splitter.run(
            batch, self._accumulate_gradients, self.optimizer.zero_grad
        )
        step = self.state.step + 1
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = self.learning_rate
        grad_norm = self.precision.clip(self.optimizer, self.model.parameters(), self.clip_norm)

        # One all-reduce carries the sums for the log, the check for NaN and the signals to stop.
        # None of these values is read here: the host launches the optimizer without waiting.
        loss, nll = torch.stack(losses).sum(), torch.stack(nlls).sum()
        interrupts = torch.full_like(loss, self.stop.signal_received)
        loss, nll, interrupts = self.process_group.sum(torch.stack([loss, nll, interrupts]))
        stats = UpdateStats(
            step,
            [indexed.lines for indexed in batch.batches],
            torch.stack(losses),
            loss,
            grad_norm,
            interrupts,
        )
        # On a CPU and with fp16 this raises before the step, so parameters stay as they are. With
        # `skips_on_device` the verdict is late, and the optimizer skips the step by itself.
        self._handle_interrupts(self._nonfinite_check.enqueue(stats))
        self.precision.step(self.optimizer, stats.is_nonfinite if self.skips_on_device else None)
        self.optimizer.zero_grad()
        self.state = TrainerState(step, batch.next_position)
        return Update(step, batch.next_position, loss, nll, batch.target_tokens, grad_norm)

    def _update_by_graph(self, batch: UpdateBatch, graphs: GraphedUpdate) -> Update:
        """Update the parameters by `compute_update`, and check the results as in `update`."""
        step = self.state.step + 1
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = self._learning_rate_on_device.fill_(self.learning_rate)
        (indexed,) = batch.batches
        loss, nll, grad_norm = graphs(indexed.batch, batch.target_tokens)
        interrupts = torch.tensor(float(self.stop.signal_received))
        stats = UpdateStats(step, [indexed.lines], loss[None], loss, grad_norm, interrupts)
        self._handle_interrupts(self._nonfinite_check.enqueue(stats))
        self.state = TrainerState(step, batch.next_position)
        return Update(step, batch.next_position, loss, nll, batch.target_tokens, grad_norm)

    def compute_update(self, batch: Batch, target_tokens: Tensor) -> Float[Tensor, "3"]:
        """Update the parameters by one batch; return its loss, its nll and the gradient norm.

        All tensors are on the device, and the host reads none of them. An update whose loss or
        gradient is not finite is skipped on the device.

        Args:
            batch: the batch
            target_tokens: number of its target tokens
        """
        try:
            with self.precision.autocast():
                loss, nll = self._local_loss(
                    batch,
                    smoothing=self.label_smoothing,
                    chunk=self.output_chunk,
                    consistency=self.r_drop,
                )
            self.precision.backward(loss / target_tokens)
            loss = loss.detach()
            grad_norm = self.precision.clip(self.optimizer, self.model.parameters(), self.clip_norm)
            is_finite = loss.isfinite() & grad_norm.isfinite()
            self.precision.step(self.optimizer, ~is_finite)
        except RuntimeError:
            self.precision.abandon_step()
            raise
        finally:
            self.optimizer.zero_grad()
        return torch.stack([loss, nll, grad_norm])

    def _accumulate_gradients(
        self, batch: UpdateBatch
    ) -> tuple[list[Tensor], list[Tensor]] | DoesNotFit:
        """Add up the gradients of all batches; return the losses and the nlls of the batches."""
        losses, nlls = [], []
        last = len(batch.batches) - 1
        for index, indexed in enumerate(batch.batches):
            # Gradients are all-reduced once per update, in the last backward pass.
            with nullcontext() if index == last else self.process_group.no_sync(self.loss):
                try:
                    loss, nll = self.backward(indexed, batch.target_tokens)
                except (MemoryError, RuntimeError) as error:
                    # On several ranks, the others wait for this one: nothing can be repeated.
                    if not is_out_of_memory(error) or self.process_group.world_size > 1:
                        raise
                    return DoesNotFit(index, needed_memory(error))
            losses.append(loss)
            nlls.append(nll)
        return losses, nlls

    def backward(
        self, indexed: IndexedBatch, target_tokens: int, *, all_ranks: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Add the gradients of a batch; return the sums of its loss and nll.

        Args:
            indexed: the batch
            target_tokens: number of target tokens of the whole update, to average the loss over
            all_ranks: whether the ranks average their gradients, unless `no_sync` prevents it; all
                of them must call this method then
        """
        guided = self.guided_alignment
        # From pinned memory, this does not wait for the GPU either.
        device_batch = indexed.batch.to(self.precision.device)
        step, candidates = self.state.step + 1, None
        # In a context of its own, because autocast caches casts of weights, here without gradients,
        # until it ends.
        with self.precision.autocast():
            if self.minimum_risk is not None:
                candidates = self.minimum_risk.candidates(
                    self.model, device_batch, indexed.lines, step
                )
            if self.scheduled_sampling is not None:
                device_batch = self.scheduled_sampling.mix(
                    self.model, device_batch, indexed.batch, step
                )
        with self.precision.autocast():
            loss, nll = (self.loss if all_ranks else self._local_loss)(
                device_batch,
                smoothing=self.label_smoothing,
                chunk=self.output_chunk,
                guidance=0.0 if guided is None else guided.weight_at(step),
                consistency=self.r_drop,
                candidates=candidates,
            )
        if indexed.is_dummy:
            # A batch without targets may still have an auxiliary loss, or candidates.
            loss, nll = loss * 0.0, nll * 0.0
        # `process_group.wrap` averages the gradients of the ranks; this makes it their sum.
        self.precision.backward(loss * self.process_group.world_size / target_tokens)
        return loss.detach(), nll

    def _handle_interrupts(self, checked: Iterable[UpdateStats]) -> None:
        """Request a stop if a rank had received a signal at one of these updates."""
        for stats in checked:
            if stats.interrupts > 0:
                self.stop.is_interrupted = True

    def state_dict(self) -> JsonObject:
        """Return the state of everything but the tensors, as JSON values."""
        return self.state.to_json() | {
            "schedule": self.schedule.state_dict(),
            "scaler": self.precision.state_dict(),
        }

    def load_state_dict(self, state: JsonObject) -> None:
        """Restore the state from `state_dict`."""
        self.state = TrainerState.from_json(state)
        self.schedule.load_state_dict(state["schedule"])
        self.precision.load_state_dict(state["scaler"])
