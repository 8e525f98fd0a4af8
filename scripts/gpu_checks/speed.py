"""Speed and memory of training and translation at the sizes of docs/performance.md."""

import gc
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice
from statistics import median

import numpy as np
import torch

from gpu_checks.context import Context, SystemConfig, system_config
from gpu_checks.profiles import profile
from gpu_checks.results import Case, Result, compare, describe, measured, require
from gpu_checks.systems import SPECIAL_TOKENS
from gpu_checks.updates import make_group, make_trainer
from nmt.config.choices import Recurrence, RecurrenceBackend, backend_of
from nmt.data.batch import collate
from nmt.data.loader import UpdateBatch
from nmt.errors import is_out_of_memory
from nmt.inference.compile import compile_model
from nmt.model.build import build_model
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import COVERAGE_PENALTIES, LENGTH_PENALTIES, ComponentConfig
from nmt.search.beam import beam_search
from nmt.search.graphed_steps import GraphedSteps
from nmt.training.trainer import Trainer

LENGTH = 30  # tokens per sentence, </s> included
BATCHES, WARMUP, UPDATES, REPETITIONS = 20, 5, 20, 5
# Width, vocabulary and sentences per batch, the most promising numbers of sentences first.
BAHDANAU = {"cuda": (512, 16_000, 128), "cpu": (8, 50, 4)}
GNMT = {"cuda": (1024, 32_000, (1024, 2048, 4096, 512, 128)), "cpu": (8, 50, (4, 8))}
SEARCH = {"cuda": (1024, 32_000, 128), "cpu": (8, 50, 4)}
SPARE_SECONDS = 10.0
"""Time that remains for an end in order."""
MAX_DIFFERENT = 0.02
"""Share of translations by graphs that may differ: libraries may choose other kernels."""
SUPPRESSED = -1e4
"""Bias of </s>, so that all translations have the same length."""


def _bahdanau_config(width: int) -> SystemConfig:
    return system_config(
        {
            "embedding_size": width,
            "embedding_dropout": 0.2,
            "encoder": {"type": "bilstm", "hidden_size": width, "layers": 2, "dropout": 0.2},
            "decoder": {
                "type": "bahdanau",
                "hidden_size": 2 * width,
                "readout_size": width,
                "dropout": 0.2,
            },
        }
    )


def _gnmt_config(width: int) -> SystemConfig:
    layers = {"type": "gnmt", "hidden_size": width, "layers": 4, "dropout": 0.2}
    return system_config(
        {
            "embedding_size": width,
            "embedding_dropout": 0.2,
            "encoder": layers,
            "decoder": layers,
        }
    )


def _build(
    context: Context, config: SystemConfig, vocabulary: int, recurrence: RecurrenceBackend = "auto"
) -> Seq2Seq:
    torch.manual_seed(1)
    with context.device:  # orthogonal matrices take 17 seconds on a CPU core
        return build_model(config, vocabulary, vocabulary, recurrence=recurrence)


def _batches(
    context: Context, vocabulary: int, sentences: int, *, few_shapes: bool = False
) -> list[UpdateBatch]:
    """Return batches of random sentences of equal lengths, in pinned memory."""
    generator = np.random.default_rng(1)
    groups = []
    for _ in range(min(BATCHES, max(2, 50_000 // sentences))):
        source, target = generator.integers(4, vocabulary, (2, sentences, LENGTH - 1))
        batch = collate(list(source), list(target), SPECIAL_TOKENS, SPECIAL_TOKENS)
        group = make_group(batch, few_shapes=few_shapes)
        groups.append(group.for_gpu() if context.is_gpu else group)
    return groups


def _train(context: Context, trainer: Trainer, groups: list[UpdateBatch]) -> Iterator[float]:
    """Yield target tokens per second of one repetition after another, while time remains."""
    endless = cycle(groups)
    for group in islice(endless, WARMUP):
        trainer.update(group)
    for _ in range(REPETITIONS if context.is_gpu else 1):
        updates = UPDATES if context.is_gpu else 1
        context.synchronize()
        start = time.perf_counter()
        for group in islice(endless, updates):
            trainer.update(group)
        trainer.flush()
        context.synchronize()
        yield updates * groups[0].target_tokens / (time.perf_counter() - start)
        if context.seconds_left < SPARE_SECONDS:
            return


def _speed(
    context: Context, case: str, trainer: Trainer, groups: list[UpdateBatch]
) -> Iterator[Result]:
    """Yield the median speed and the peak of memory."""
    if context.is_gpu:
        torch.cuda.reset_peak_memory_stats()
    speeds = list(_train(context, trainer, groups))
    note = f"{len(speeds)} x {UPDATES} updates, {min(speeds):,.0f} to {max(speeds):,.0f}"
    yield measured(case, median(speeds), "target tokens/s", note)
    if context.is_gpu:
        peak = torch.cuda.max_memory_allocated() / 1e9
        yield measured(
            f"{case}: memory", peak, "GB", f"{torch.cuda.memory_reserved() / 1e9:.1f} GB"
        )


def bahdanau(context: Context) -> list[Case]:
    """Return the cases of training Bahdanau's decoder, the profile first."""
    ways: list[tuple[Recurrence, str]] = [("auto", "bf16"), ("eager", "bf16")]
    if context.is_gpu:
        ways[1:1] = [("graph", "bf16"), ("auto", "fp16"), ("graph", "fp16"), ("auto", "tf32")]
    return [
        Case(f"{backend} {precision}", partial(_bahdanau, context, backend, precision))
        for backend, precision in ways
    ]


def _bahdanau(context: Context, backend: Recurrence, precision: str) -> Iterator[Result]:
    width, vocabulary, sentences = BAHDANAU[context.device_name]
    uses_graphs = backend == "graph"
    groups = _batches(context, vocabulary, sentences, few_shapes=uses_graphs)
    model = _build(context, _bahdanau_config(width), vocabulary, backend_of(backend))
    trainer = make_trainer(model, precision, uses_graphs=uses_graphs)
    case = f"{backend} {precision}, {sentences} sentences"
    if context.is_gpu:
        yield from _profile(case, trainer, groups)
    yield from _speed(context, case, trainer, groups)


def _profile(case: str, trainer: Trainer, groups: list[UpdateBatch]) -> Iterator[Result]:
    """Yield launches, time of kernels, idle time and the longest kernels of an update."""
    updates = 5
    for group in groups[:WARMUP]:
        trainer.update(group)
    torch.cuda.synchronize()
    start = time.perf_counter()
    found = profile(lambda: [trainer.update(group) for group in groups[:updates]])
    seconds = time.perf_counter() - start
    trainer.flush()
    calls = sum(n for _, n in found.kernels.values())
    yield measured(f"{case}: launches", found.launches / updates, "per update")
    yield measured(f"{case}: kernels", calls / updates, "per update", f"waits: {found.waits()}")
    milliseconds = found.microseconds / 1e3 / updates
    note = f"{1e3 * seconds / updates:.1f} ms per update under the profiler"
    yield measured(f"{case}: time of kernels", milliseconds, "ms per update", note)
    for name, (microseconds, n) in islice(found.kernels.items(), 12):
        note = f"{n / updates:.0f} x {name[:100]}"
        yield measured(f"{case}: kernel", microseconds / updates, "µs per update", note)


def gnmt(context: Context) -> list[Case]:
    """Return the case of training GNMT, whose batch sizes share one model."""
    return [Case("GNMT", partial(_gnmt, context))]


def _gnmt(context: Context) -> Iterator[Result]:
    """Measure several batch sizes; a failure keeps the results before it."""
    width, vocabulary, sizes = GNMT[context.device_name]
    trainer = make_trainer(_build(context, _gnmt_config(width), vocabulary), "bf16")
    best: Result | None = None
    for sentences in sizes:
        if context.seconds_left < 2 * SPARE_SECONDS:
            yield Result(f"{sentences} sentences", "not run", note="no time left")
            break
        try:
            groups = _batches(context, vocabulary, sentences)
            for result in _speed(context, f"{sentences} sentences", trainer, groups):
                if result.unit == "target tokens/s" and result.value is not None:
                    best = max(best or result, result, key=lambda one: one.value or 0.0)
                yield result
        except Exception as error:
            is_memory = is_out_of_memory(error)
            verdict = "measured" if is_memory else "FAILED"
            yield Result(f"{sentences} sentences", verdict, note=f"none: {describe(error)}")
            _free(context, trainer)
            if not is_memory:
                break
    if best is not None:
        yield measured("best batch size", best.value or 0.0, best.unit, best.case)


def _free(context: Context, trainer: Trainer) -> None:
    """Free the memory of an update that has failed."""
    trainer.optimizer.zero_grad()
    gc.collect()
    if context.is_gpu:
        torch.cuda.empty_cache()


def search(context: Context) -> list[Case]:
    """Return the cases of translating with the size of GNMT."""
    names = ("bf16", "fp16", "fp32") if context.is_gpu else ("fp32",)
    cases = [Case(name, partial(_search, context, name)) for name in names]
    if context.is_gpu:
        cases.insert(1, Case("graph bf16", partial(_search, context, "bf16", uses_graphs=True)))
    return cases


@torch.no_grad()
def _search(context: Context, precision: str, *, uses_graphs: bool = False) -> Iterator[Result]:
    """Measure translations; those by graphs are compared with those without."""
    width, vocabulary, sentences = SEARCH[context.device_name]
    model = _build(context, _gnmt_config(width), vocabulary).eval()
    model.output_layer.bias[SPECIAL_TOKENS.eos] = SUPPRESSED
    compiled = compile_model(model, precision=precision)
    batch = _batches(context, vocabulary, sentences)[0].batches[0].batch.to(context.device)

    steps = GraphedSteps(compiled.step, SPECIAL_TOKENS.eos, context.device) if uses_graphs else None

    def search_all(graphs: GraphedSteps | None) -> list[list[int]]:
        found = beam_search(
            compiled.step,
            *compiled.start(batch.source, batch.source_mask_bs),
            bos=SPECIAL_TOKENS.bos,
            eos=SPECIAL_TOKENS.eos,
            beam_size=5,
            max_lengths_b=[LENGTH] * sentences,
            length_penalty=LENGTH_PENALTIES.build(ComponentConfig("average")),
            coverage_penalty=COVERAGE_PENALTIES.build(ComponentConfig("none")),
            source_mask_bs=batch.source_mask_bs,
            graphs=graphs,
        )
        return [best[0].tokens for best in found]

    def translate() -> int:
        return sum(map(len, search_all(steps)))

    case = f"{'graph ' if uses_graphs else ''}{precision}: beam 5, {sentences} sentences"
    tokens = translate()  # compiles, captures and caches
    yield require(
        f"{case}: all translations have full length", tokens == sentences * LENGTH, str(tokens)
    )
    if steps is not None:
        graphs = steps.graphs
        note = f"{graphs.captures} captures, {graphs.launches} launches"
        yield require(f"{case}: ran", not graphs.has_failed and graphs.launches > 0, note)
        pairs = zip(search_all(steps), search_all(None), strict=True)
        differ = sum(one != other for one, other in pairs)
        yield compare(f"{case}: other translations", differ / sentences, MAX_DIFFERENT)
    times = [_seconds(context, translate) for _ in range(REPETITIONS if context.is_gpu else 1)]
    yield measured(case, tokens / median(times), "target tokens/s", f"{min(times):.3f} s at best")
    if context.is_gpu:
        found = profile(translate)
        text = ", ".join(
            f"{n} x {k[:50]} {us:.0f}" for k, (us, n) in islice(found.kernels.items(), 6)
        )
        yield measured(f"{case}: launches", found.launches / LENGTH, "per step", text)
        yield measured(f"{case}: time of kernels", found.microseconds / LENGTH, "µs per step")


def _seconds(context: Context, work: Callable[[], object]) -> float:
    context.synchronize()
    start = time.perf_counter()
    work()
    context.synchronize()
    return time.perf_counter() - start
