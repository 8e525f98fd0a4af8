"""Checks of values: gradients in all backends and number formats, waits, search and the loss."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from gpu_checks.context import Context, read_system
from gpu_checks.profiles import count_waits
from gpu_checks.results import Case, Result, compare, measured, require
from gpu_checks.systems import System, Tensors, distance, record_ops
from gpu_checks.updates import make_group, make_trainer, updated, weights
from nmt.config.choices import RecurrenceBackend
from nmt.inference.compile import compile_model
from nmt.kernels import compiles_kernels
from nmt.native import library
from nmt.search.hypothesis import Hypothesis
from nmt.training.loss import chunk_loss
from nmt.training.trainer import Trainer

EXACT_LIMITS = {"fp32": 2e-4, "tf32": 5e-2, "bf16": 0.5, "fp16": 0.1}
"""Largest relative error of a gradient against float64. On a CPU it is 1e-5 in fp32, and 0.27 in
bf16; that of fp32 is small enough to exclude TF32."""
EAGER_LIMITS = {"bf16": 0.15, "fp16": 5e-2}
"""The same against the eager recurrence in the same format; 4e-2 in bf16 on a CPU."""
OPS = {
    "cuda": "TritonCellOps",
    "cpu": "NativeCellOps" if library.is_available() else "TorchCellOps",
}
"""Operations of the fused recurrence on a device."""
GRAPH_LIMITS = {"fp32": 1e-2, "bf16": 0.3}
"""Largest relative difference between the changes of a parameter with and without graphs."""
MANY_PAIRS = 400
"""More than 4,096 target tokens, from which on torch's embedding has another backward kernel."""


def system(context: Context) -> list[Case]:
    """Return the cases of one system in all backends."""
    one = System(read_system(context.config))
    exact = one.exact()
    supported = one.on(torch.device("cpu"), torch.float32)[0].decoder.supports_fused
    backends: list[RecurrenceBackend] = ["eager", "fused" if supported else "auto"]
    precisions = ["fp32", "tf32", "bf16", "fp16"] if context.is_gpu else ["fp32", "bf16"]
    eager: dict[str, Tensors] = {}
    cases = [
        Case(
            f"{backend} {precision}",
            partial(_gradients, context, one, exact, eager, backend, precision),
        )
        for precision in precisions
        for backend in backends
    ]
    if context.is_gpu:
        cases += [
            *(Case("graph", partial(_graph, context, one, name)) for name in ("fp32", "bf16")),
            Case("waits of an update", partial(_update_waits, context)),
            Case("waits of search", partial(_search_waits, context, one)),
        ]
    return [*cases, Case("search", partial(_search, context, one))]


def brief(context: Context) -> list[Case]:
    """Return the cases of one system as `training.recurrence: auto` runs it."""
    one = System(read_system(context.config))
    exact = one.exact()
    return [
        *(
            Case(
                f"auto {precision}", partial(_gradients, context, one, exact, {}, "auto", precision)
            )
            for precision in ("fp32", "bf16")
        ),
        *([Case("graph", partial(_captured, context, one))] if context.is_gpu else []),
        Case("search", partial(_search, context, one)),
    ]


def _gradients(
    context: Context,
    one: System,
    exact: Tensors,
    eager: dict[str, Tensors],
    backend: RecurrenceBackend,
    precision: str,
) -> Iterator[Result]:
    """Compare the loss and all gradients, and require the configured backend."""
    with record_ops() as used:
        found = one.results(context.device, precision, backend)
    ran = ", ".join(sorted(used)) or "eager"
    if used and context.is_gpu and not compiles_kernels(context.device):
        ran += ", which failed and were replaced by torch's operations"
    error, worst = distance(found, exact)
    name = f"{backend} {precision}"
    yield compare(f"{name}, float64", error, EXACT_LIMITS[precision], f"{ran} ran; {worst}")
    if precision == "tf32":
        yield require(f"{name} rounds", error > 1e-5, "fp32 is more exact than this")
    if backend == "eager":
        eager[precision] = found
    elif precision in EAGER_LIMITS and precision in eager:
        error, worst = distance(found, eager[precision])
        yield compare(f"{name}, eager {precision}", error, EAGER_LIMITS[precision], worst)
    expected = {"eager": "eager", "fused": OPS[context.device_name]}.get(backend)
    if expected is not None:
        yield require(f"{name} ran", ran == expected, f"expected {expected}, {ran} ran")


def _graph(context: Context, one: System, precision: str) -> Iterator[Result]:
    """Compare the changes by updates as a graph with those by kernels one after another."""
    updates = 6
    found, trainer = updated(context, one, precision, uses_graphs=True, updates=updates)
    yield _graph_ran(precision, trainer, updates)
    expected, _ = updated(context, one, precision, uses_graphs=False, updates=updates)
    start = weights(one.model)
    changes = [{name: p - start[name] for name, p in tree.items()} for tree in (found, expected)]
    error, worst = distance(*changes)
    yield compare(f"graph {precision}, {updates} updates", error, GRAPH_LIMITS[precision], worst)


def _captured(context: Context, one: System) -> Iterator[Result]:
    """Require that updates run as a graph, whose values may depend on random draws."""
    updates = 3
    _, trainer = updated(context, one, "bf16", uses_graphs=True, updates=updates)
    yield _graph_ran("bf16", trainer, updates)


def _graph_ran(precision: str, trainer: Trainer, updates: int) -> Result:
    """Require that the second update was captured, and that it and all later ones are a graph."""
    graphs = trainer.graphs
    ran = graphs is not None and (graphs.captures, graphs.launches) == (1, updates - 1)
    note = "" if graphs is None else f"{graphs.captures} captures, {graphs.launches} launches"
    return require(f"graph {precision} ran", ran, note)


def _update_waits(context: Context) -> Iterator[Result]:
    """Count synchronizations of an update, with kernels that are compiled already."""
    one = System(read_system(context.config), MANY_PAIRS)
    model, _ = one.on(context.device, torch.float32, "auto")
    trainer, group = make_trainer(model, "bf16"), make_group(one.batch).for_gpu()
    for _ in range(3):
        trainer.update(group)
    trainer.flush()
    torch.cuda.set_sync_debug_mode("error")
    yield _torch_waits("update", lambda: trainer.update(group))
    trainer.flush()
    waits, note = count_waits(lambda: [trainer.update(group) for _ in range(5)])
    trainer.flush()
    yield compare("waits of 5 updates in a profile", waits, 0.0, note)


def _search_waits(context: Context, one: System) -> Iterator[Result]:
    """Check the steps of a search; before the first one it may synchronize."""
    model, batch = one.on(context.device, torch.float32)
    compiled = compile_model(model)

    def step(*arguments: Any) -> Any:
        torch.cuda.set_sync_debug_mode("error")
        return compiled.step(*arguments)

    def search() -> object:
        return one.search(step, *compiled.start(batch.source, batch.source_mask_bs), batch)

    yield _torch_waits("search", search)


def _torch_waits(what: str, work: Callable[[], object]) -> Result:
    """Require that torch detects no synchronization, while its debug mode is "error"."""
    try:
        work()
    except RuntimeError as error:
        return require(f"{what} does not wait", False, str(error).splitlines()[0])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return require(f"{what} does not wait", True, "by torch's debug mode")


def _search(context: Context, one: System) -> Iterator[Result]:
    """Compare translations with those of the CPU, and those of lone sources with the batch's."""
    found = _translate(one, context.device)
    if context.is_gpu:
        expected = _translate(one, torch.device("cpu"))
        different = sum(a.tokens != b.tokens for a, b in zip(found, expected, strict=True))
        yield compare("search on GPU and CPU: sentences that differ", different, 1.0)
    alone = _translate(one, context.device, together=False)
    different = sum(a.tokens != b.tokens for a, b in zip(found, alone, strict=True))
    # Libraries choose kernels by the number of rows, so scores on a GPU differ in the last digits.
    limit = 1.0 if context.is_gpu else 0.0
    yield compare("search alone and together: sentences that differ", different, limit)
    error = max(abs(a.score - b.score) for a, b in zip(found, alone, strict=True))
    name = "search alone and together: scores"
    yield measured(name, error, "nats") if context.is_gpu else compare(name, error, 0.0)


def _translate(one: System, device: torch.device, *, together: bool = True) -> list[Hypothesis]:
    model, batch = one.on(device, torch.float32)
    compiled = compile_model(model)
    rows = [slice(None)] if together else [slice(row, row + 1) for row in range(one.pairs)]
    found = []
    for row in rows:
        some = batch._replace(source=batch.source[row], source_mask_bs=batch.source_mask_bs[row])
        started = compiled.start(some.source, some.source_mask_bs)
        found += one.search(compiled.step, *started, some)
    return found


def loss(context: Context) -> list[Case]:
    """Return the cases of the kernel of the smoothed cross entropy."""
    return [Case(str(dtype), partial(_loss, context, dtype)) for dtype in LOSS_LIMITS]


LOSS_LIMITS = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-2}


def _loss(context: Context, dtype: torch.dtype) -> Iterator[Result]:
    generator = torch.Generator().manual_seed(3)
    for rows, vocabulary in ((96, 8000), (64, 31_999), (64, 33)):
        logits_rv = (3 * torch.randn(rows, vocabulary, generator=generator)).to(dtype)
        targets_r = torch.randint(vocabulary, (rows,), generator=generator)
        exact = chunk_loss(logits_rv.double(), targets_r, rows - 6, 0.1, 1.0)
        on_device = logits_rv.to(context.device), targets_r.to(context.device)
        found = _chunk_loss(context)(*on_device, rows - 6, 0.1, 1.0)
        tensors = [
            {name: value.double().cpu() for name, value in zip(LOSS_OUTPUTS, result, strict=True)}
            for result in (found, exact)
        ]
        error, worst = distance(*tensors)
        yield compare(f"{dtype}, {vocabulary:,} tokens", error, LOSS_LIMITS[dtype], worst)


LOSS_OUTPUTS = ("loss", "nll", "gradient")


def _chunk_loss(context: Context) -> Callable[..., Any]:
    if not context.is_gpu:
        return chunk_loss
    from nmt.training.loss_kernel import chunk_loss as by_kernel

    return by_kernel
