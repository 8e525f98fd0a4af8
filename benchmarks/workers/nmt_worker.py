"""Worker for this toolkit, with its own trainer and search."""

import os
from collections.abc import Iterable
from contextlib import closing
from types import MethodType
from typing import Any, cast

import numpy as np
import torch

from nmt.cli.process import configure_process
from nmt.config.schema import ModelConfig
from nmt.data.batch import collate, pad
from nmt.data.loader import BatchLoader, IndexedBatch, Position, UpdateBatch
from nmt.data.special_tokens import SpecialTokens
from nmt.device import resolve_device
from nmt.inference.compile import InferenceModel, compile_model
from nmt.model.build import build_model
from nmt.model.interfaces import Decoder
from nmt.native import library
from nmt.prefetch import prefetch
from nmt.registry import (
    COVERAGE_PENALTIES,
    LENGTH_PENALTIES,
    OPTIMIZERS,
    SCHEDULES,
    ComponentConfig,
)
from nmt.search.beam import beam_search
from nmt.training.precision import Precision
from nmt.training.trainer import Trainer
from workers.ids import Array, Sizes
from workers.serve import Worker, main

SUPPRESSED = -1e4  # bias of a token that is never generated


def model_config(sizes: Sizes, model: str) -> ModelConfig:
    """Return BiLSTM and Bahdanau's decoder with the additive score, or another model.

    GNMT has equal depths; the feed-forward layers of the Transformer are as wide as the readout.
    """
    if model == "transformer":
        layers = {
            "layers": sizes.layers,
            "heads": max(4, sizes.embedding // 64),
            "feed_forward_size": sizes.readout,
        }
        component = ComponentConfig("transformer", layers)
        return ModelConfig(embedding_size=sizes.embedding, encoder=component, decoder=component)
    encoder: dict[str, Any] = {"hidden_size": sizes.encoder, "layers": sizes.layers}
    decoder: dict[str, Any] = {"hidden_size": sizes.decoder}
    if model == "gnmt":
        decoder["layers"] = sizes.layers
    else:
        decoder["readout_size"] = sizes.readout
    names = ("gnmt", "gnmt") if model == "gnmt" else ("bilstm", "bahdanau")
    return ModelConfig(
        embedding_size=sizes.embedding,
        embedding_dropout=sizes.dropout,
        encoder=ComponentConfig(names[0], encoder | {"dropout": sizes.dropout}),
        decoder=ComponentConfig(names[1], decoder | {"dropout": sizes.dropout}),
        score=ComponentConfig("additive"),
    )


class NmtWorker(Worker):
    """Worker for this toolkit.

    The task `prepare` has the options `model: gnmt|transformer`, and `loop: eager`, a loop over
    whole decoder steps without the kernels in C. An additional task is `profile`, the operations
    that take the most time in another task.
    """

    packages = ("sentencepiece",)
    tasks = (*Worker.tasks, "profile")

    def build(self, dtype: str, device: str, options: dict[str, Any]) -> tuple[int, str]:
        sizes, special_tokens = self.sizes, self.ids.special_tokens
        configure_process(device)
        torch_device = resolve_device(device)
        self.special_tokens = SpecialTokens(
            special_tokens.pad, special_tokens.bos, special_tokens.eos
        )
        size = self.ids.vocabulary
        config = model_config(sizes, options.get("model", "bahdanau"))
        self.model = build_model(config, size, size).to(torch_device)
        if options.get("loop") == "eager":
            decoder: Any = self.model.decoder
            decoder.forward = MethodType(Decoder.forward, decoder)
            os.environ[library.SWITCH] = "0"  # operations of torch alone
        self.dtype, self.torch_device = dtype, torch_device
        self.compiled: InferenceModel | None = None
        self.suppresses_eos = False
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        if dtype == "int8":
            return parameters, "int8 in translation only"
        optimizer = OPTIMIZERS.build(
            ComponentConfig("adam", {"learning_rate": sizes.learning_rate}), self.model.parameters()
        )
        self.trainer = Trainer(
            self.model,
            optimizer,
            SCHEDULES.build(ComponentConfig("constant")),
            cast(BatchLoader, None),  # batches come from the ids
            Precision(dtype, torch_device),
            clip_norm=sizes.clip_norm,
            label_smoothing=sizes.smoothing,
        )
        return parameters, ""

    def update(self, number: int) -> float:
        return self.updates([number])

    def updates(self, numbers: Iterable[int]) -> float:
        """Update as `Trainer` does: batches are prefetched, and losses are read at the end."""
        self.compiled = None
        with closing(prefetch(map(self._group, numbers))) as groups:
            losses = [self.trainer.update(group).loss for group in groups]
        self.trainer.flush()
        return float(torch.stack(losses).sum())

    def _group(self, number: int) -> UpdateBatch:
        batch = collate(*self.ids.batch(number), self.special_tokens, self.special_tokens)
        group = UpdateBatch(
            [IndexedBatch(batch, np.arange(1))], batch.target_tokens, Position(0, 1)
        )
        return group.for_gpu() if self.torch_device.type == "cuda" else group

    def search(self, sentences: list[Array], beam: int, length: int | None) -> list[list[int]]:
        self.model.eval()
        source, mask = (torch.from_numpy(part) for part in pad(sentences, self.special_tokens))
        source, mask = source.to(self.torch_device), mask.to(self.torch_device)
        with torch.inference_mode():
            if length is not None and not self.suppresses_eos:
                self._suppress_eos()
            if self.compiled is None:
                self.compiled = compile_model(
                    self.model, precision=self.dtype, device=self.torch_device
                )
            memory, state = self.compiled.start(source, mask)
            found = beam_search(
                self.compiled.step,
                memory,
                state,
                bos=self.special_tokens.bos,
                eos=self.special_tokens.eos,
                beam_size=beam,
                max_lengths_b=[length or 2 * len(sentence) + 20 for sentence in sentences],
                length_penalty=LENGTH_PENALTIES.build(ComponentConfig("average")),
                coverage_penalty=COVERAGE_PENALTIES.build(ComponentConfig("none")),
                source_mask_bs=mask,
            )
        eos = self.special_tokens.eos
        return [[t for t in list(best[0].tokens) if t != eos] for best in found]

    def load(self, path: str) -> dict[str, Any]:
        self.compiled, self.suppresses_eos = None, False
        return super().load(path)

    def _suppress_eos(self) -> None:
        self.model.output_layer.bias[self.special_tokens.eos] = SUPPRESSED
        self.compiled, self.suppresses_eos = None, True

    def profile(self, task: str, operations: int = 12, **arguments: Any) -> dict[str, Any]:
        """Return the longest operations, on a GPU kernels, of a task: names and shares of time."""
        on_gpu = self.torch_device.type == "cuda"
        activity = torch.profiler.ProfilerActivity
        with torch.profiler.profile(
            activities=[activity.CUDA if on_gpu else activity.CPU]
        ) as profile:
            getattr(self, task)(**arguments)
        times = _times(profile, on_gpu=on_gpu)
        names = sorted(times, key=lambda name: -times[name])[:operations]
        total = sum(times.values()) or 1.0
        return {"shares": [[name, times[name] / total] for name in names]}

    def parameters(self) -> torch.nn.Module:
        return self.model


def _times(profile: torch.profiler.profile, *, on_gpu: bool) -> dict[str, float]:
    """Return microseconds per kernel, or per CPU operation without the operations it calls."""
    # Annotated spans contain other events, which would be counted twice.
    events = [event for event in profile.key_averages() if not event.is_user_annotation]
    if not on_gpu:
        return {event.key: event.self_cpu_time_total for event in events}
    kernels = [event for event in events if event.device_type.name == "CUDA"]
    return {event.key: event.self_device_time_total for event in kernels}


if __name__ == "__main__":
    main(NmtWorker())
