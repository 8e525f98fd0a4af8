"""This toolkit as a worker of `benchmarks/benchmark.py`: its own trainer and its own search."""

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
from nmt.data.vocabulary import SpecialTokens
from nmt.device import resolve_device
from nmt.inference.compile import InferenceModel, compile_model
from nmt.model.build import build_model
from nmt.model.interfaces import Decoder
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

HELD_BACK = -1e4  # added to a piece's logit: it never comes


def model_config(sizes: Sizes, model: str) -> ModelConfig:
    """BiLSTM, Bahdanau's decoder with the additive score; or GNMT, as deep on both sides."""
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
    """Options of `prepare`: `model: gnmt`; `loop: eager`, a loop over whole decoder steps.

    `{"do": "busy", "first": 0, "updates": 5}` gives the share of the time that a GPU computes, and
    `profile`, with a task and what that is asked, where its time goes.
    """

    packages = ("sentencepiece",)
    tasks = (*Worker.tasks, "busy", "profile")

    def build(self, dtype: str, device: str, options: dict[str, Any]) -> tuple[int, str]:
        sizes, marks = self.sizes, self.ids.marks
        configure_process(device, tf32=True)
        place = resolve_device(device)
        self.special_tokens = SpecialTokens(marks.pad, marks.bos, marks.eos)
        pieces = self.ids.vocabulary
        config = model_config(sizes, options.get("model", "bahdanau"))
        self.model = build_model(config, pieces, pieces).to(place)
        if options.get("loop") == "eager":
            decoder: Any = self.model.decoder
            decoder.forward = MethodType(Decoder.forward, decoder)
        self.dtype, self.place = dtype, place
        self.compiled: InferenceModel | None = None
        self.holds_end_back = False
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        if dtype == "int8":
            return parameters, "int8 products in translating alone"
        optimizer = OPTIMIZERS.build(
            ComponentConfig("adam", {"learning_rate": sizes.learning_rate}), self.model.parameters()
        )
        self.trainer = Trainer(
            self.model,
            optimizer,
            SCHEDULES.build(ComponentConfig("constant")),
            cast(BatchLoader, None),  # batches come from the ids
            Precision(dtype, place),
            clip_norm=sizes.clip_norm,
            label_smoothing=sizes.smoothing,
        )
        return parameters, ""

    def update(self, number: int) -> float:
        return self.updates([number])

    def updates(self, numbers: Iterable[int]) -> float:
        """As `Trainer.updates` goes: batches are made ahead, and no loss is waited for."""
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
        return group.pin_memory() if self.place.type == "cuda" else group

    def search(self, sentences: list[Array], beam: int, length: int | None) -> list[list[int]]:
        self.model.eval()
        source, mask = (torch.from_numpy(part) for part in pad(sentences, self.special_tokens))
        source, mask = source.to(self.place), mask.to(self.place)
        with torch.inference_mode():
            if length is not None and not self.holds_end_back:
                self._hold_end_back()
            if self.compiled is None:
                self.compiled = compile_model(self.model, precision=self.dtype, device=self.place)
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
        self.compiled, self.holds_end_back = None, False
        return super().load(path)

    def _hold_end_back(self) -> None:
        self.model.output_layer.bias[self.special_tokens.eos] = HELD_BACK
        self.compiled, self.holds_end_back = None, True

    def busy(self, first: int, updates: int) -> dict[str, Any]:
        """How long kernels ran, of how long the updates took, in seconds."""
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            told = self.train(first, updates)
        microseconds = sum(_times(profile, on_gpu=True).values())
        return {"kernels": microseconds / 1e6, "seconds": told["seconds"]}

    def profile(self, task: str, longest: int = 12, **asked: Any) -> dict[str, Any]:
        """The kernels, on a CPU the operations, that took longest: names and shares of all time.

        Of `train` or `translate`, asked as they are.
        """
        on_gpu = self.place.type == "cuda"
        activity = torch.profiler.ProfilerActivity
        with torch.profiler.profile(activities=[activity.CUDA if on_gpu else activity.CPU]) as told:
            getattr(self, task)(**asked)
        times = _times(told, on_gpu=on_gpu)
        names = sorted(times, key=lambda name: -times[name])[:longest]
        total = sum(times.values()) or 1.0
        return {"shares": [[name, times[name] / total] for name in names]}

    def parameters(self) -> torch.nn.Module:
        return self.model


def _times(profile: torch.profiler.profile, *, on_gpu: bool) -> dict[str, float]:
    """Microseconds of every kernel, or of every operation on a CPU without those it calls."""
    # Launches are told beside what they launch, and spans that we name beside what they hold.
    events = [event for event in profile.key_averages() if not event.is_user_annotation]
    if not on_gpu:
        return {event.key: event.self_cpu_time_total for event in events}
    kernels = [event for event in events if event.device_type.name == "CUDA"]
    return {event.key: event.self_device_time_total for event in kernels}


if __name__ == "__main__":
    main(NmtWorker())
