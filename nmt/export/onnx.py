"""Encoder and decoder step as ONNX graphs.

    encoder.onnx: source (b, s), mask (b, s) -> memory_0, ..., state_0, ...
    step.onnx: token (n), memory_0, ..., state_0, ... -> log_probs (n, v), weights (n, s),
        next_state_0, ...

The graphs are traces of `Seq2Seq.start` and `Seq2Seq.step`, whose memory and state are flattened
into their tensors. As in the model, memory has a row per sentence and state a row per hypothesis,
the same number for each sentence. A trace holds constants in place of sizes that the code has read
as numbers, so each graph is compared with the model at other sizes before it is written.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map_only

from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.export.engines import check_text_model, write_companions
from nmt.inference.saved_model import SavedModel
from nmt.model.seq2seq import Seq2Seq
from nmt.storage.atomic import publish_dir, staging_dir
from nmt.version import install_command

OPSET = 17
# Sizes that differ from each other and from most widths, so that shapes identify the axes.
# Sentences, positions, and hypotheses per sentence.
TRACED, OTHERS = (3, 11, 2), ((1, 5, 1), (4, 17, 3))
MAX_REASON = 200  # characters of an error of torch or onnxruntime
LOG_FATAL = 4  # of onnxruntime, whose errors are exceptions as well
MAX_ERROR = 1e-4  # of log-probabilities; float32 has about 1e-6 in a small model


def write_onnx(folder: Path, saved: SavedModel) -> None:
    """Write a model as ONNX graphs, with its vocabularies and an example of greedy search.

    Args:
        folder: a new folder
        saved: the trained model

    Raises:
        UserError: a package is not installed, or the model cannot be traced
    """
    try:
        import onnx  # noqa: F401 (required by torch)
        import onnxruntime  # noqa: F401
    except ImportError as error:
        message = f"requires the package {error.name}; run {install_command('onnx')}"
        raise UserError(f"--onnx: {message}") from None
    check_text_model(saved, "onnx")
    assert isinstance(saved.source, Vocabulary)
    with staging_dir(folder.parent, folder.name) as staging:
        _write_graphs(staging, saved.model)
        target = saved.target_vocabulary
        tokens = {"source_end": saved.source.eos, "begin": target.bos, "end": target.eos}
        (staging / "tokens.json").write_text(json.dumps(tokens) + "\n", encoding="utf-8")
        write_companions(staging, saved, "translate_onnx.py")
        publish_dir(staging, folder)


def _write_graphs(folder: Path, model: Seq2Seq) -> None:
    """Write both graphs, and check that they equal the model."""
    failed = "--onnx: a component of this model cannot be traced"
    register = torch.onnx.register_custom_op_symbolic  # type: ignore[attr-defined]
    register("aten::mT", _transpose, OPSET)
    # It prints whole graphs on standard output when an operator is unknown.
    log = vars(torch._C)["_jit_onnx_log"]
    setattr(torch._C, "_jit_onnx_log", lambda *_: None)  # noqa: B010
    try:
        _trace(folder, model)
        difference = _largest_difference(folder, model)
    # torch and onnxruntime have a class for each kind of failure.
    except Exception as error:
        reason = str(error).split("\n")[0][:MAX_REASON]
        raise UserError(f"{failed} ({reason}); write FILE.nmt") from error
    finally:
        setattr(torch._C, "_jit_onnx_log", log)  # noqa: B010
    if difference > MAX_ERROR:
        raise UserError(f"{failed}: its graph differs by {difference:.2g}; write FILE.nmt")


def _transpose(graph: Any, matrices: Any) -> Any:
    """Return the operator of `Tensor.mT`, which torch's exporter lacks."""
    rank = matrices.type().dim()
    return graph.op("Transpose", matrices, perm_i=[*range(rank - 2), rank - 1, rank - 2])


class _Encoder(nn.Module):
    """`Seq2Seq.start` with flat outputs."""

    def __init__(self, model: Seq2Seq) -> None:
        super().__init__()
        self.model = model
        self.eval()  # a mode that the exporter restores for the model as well

    def forward(self, source_bs: Tensor, mask_bs: Tensor) -> tuple[Tensor, ...]:
        memory, state = self.model.start(source_bs, mask_bs)
        # A copy: a graph has no output that is one of its inputs.
        tensors = [*_tensors(memory), *_tensors(state)]
        return tuple(one & one if one is mask_bs else one for one in tensors)


class _Step(nn.Module):
    """`Seq2Seq.step` with flat inputs and outputs."""

    def __init__(self, model: Seq2Seq, example: Any) -> None:
        super().__init__()
        self.model, self.example = model, example
        self.eval()

    def forward(self, token_n: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = iter(tensors)
        # Some structures hold None, for the cells of a GRU.
        memory, state = tree_map_only(Tensor, lambda _: next(given), self.example)
        prediction = self.model.step(token_n, memory, state)
        weights = () if prediction.weights_ns is None else (prediction.weights_ns,)
        return (prediction.log_probs_nv, *weights, *_tensors(prediction.state))


def _tensors(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]


class _Example:
    """Inputs and outputs of both graphs for a batch of a size.

    Args:
        model: the model
        sentences: size of the batch
        length: length of the longest source
        hypotheses: number per sentence
        steps: number of steps before the one of the example
    """

    def __init__(
        self, model: Seq2Seq, sentences: int, length: int, hypotheses: int, steps: int
    ) -> None:
        generator = torch.Generator().manual_seed(1)
        assert model.source_embedding is not None
        tokens = len(model.source_embedding.weight)
        self.source_bs = torch.randint(tokens, (sentences, length), generator=generator)
        length_b = torch.arange(length, length - sentences, -1)[:, None].clamp_min(1)
        self.mask_bs = torch.arange(length) < length_b
        encoder = _Encoder(model)
        self.encoded = encoder(self.source_bs, self.mask_bs)
        memory, state = model.start(self.source_bs, self.mask_bs)
        self.memory = _tensors(memory)
        self.state = [one.repeat_interleave(hypotheses, dim=0) for one in _tensors(state)]
        tokens = len(model.target_embedding.weight)
        self.tokens_n = torch.randint(tokens, (sentences * hypotheses,), generator=generator)
        self.step = _Step(model, (memory, state))
        for _ in range(steps):
            self.state = self.run_step()[-len(self.state) :] if self.state else []
        self.outputs = self.run_step()

    def run_step(self) -> list[Tensor]:
        """Return the outputs of a step."""
        return list(self.step(self.tokens_n, *self.memory, *self.state))

    @property
    def inputs(self) -> list[str]:
        """Return the names of memory and state."""
        return [
            *(f"memory_{i}" for i in range(len(self.memory))),
            *(f"state_{i}" for i in range(len(self.state))),
        ]

    @property
    def output_names(self) -> list[str]:
        """Return the names of the outputs of a step."""
        weights = ["weights"] * (len(self.outputs) - len(self.state) - 1)
        return ["log_probs", *weights, *(f"next_state_{i}" for i in range(len(self.state)))]


@torch.no_grad()
def _trace(folder: Path, model: Seq2Seq) -> None:
    """Write both graphs."""
    sentences, length, hypotheses = TRACED
    traced = _Example(model, *TRACED, steps=2)
    others = {
        "sentence": _Example(model, sentences + 1, length, hypotheses, steps=2),
        "position": _Example(model, sentences, length + 1, hypotheses, steps=2),
        "past": _Example(model, *TRACED, steps=3),
        "hypothesis": _Example(model, sentences, length, hypotheses + 1, steps=2),
    }
    pairs = {name: [one.memory + one.state, one.outputs] for name, one in others.items()}

    def axes(names: Sequence[str], index: int, own: Sequence[Tensor]) -> dict[str, dict[int, str]]:
        return {
            name: {
                axis: size
                for size, tensors in pairs.items()
                for axis, (a, b) in enumerate(
                    zip(tensor.shape, tensors[index][i].shape, strict=True)
                )
                if a != b
            }
            for i, (name, tensor) in enumerate(zip(names, own, strict=True))
        }

    inputs, outputs = traced.inputs, traced.output_names
    both = {0: "sentence", 1: "position"}
    memory_and_state = axes(inputs, 0, traced.memory + traced.state)
    with warnings.catch_warnings():
        # torch prefers its newer exporter, and the tracer warns about each size that it has read.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Encoder(model),
            (traced.source_bs, traced.mask_bs),
            str(folder / "encoder.onnx"),
            dynamo=False,
            opset_version=OPSET,
            input_names=["source", "mask"],
            output_names=inputs,
            dynamic_axes={"source": both, "mask": both, **memory_and_state},
        )
        torch.onnx.export(
            traced.step,
            (traced.tokens_n, *traced.memory, *traced.state),
            str(folder / "step.onnx"),
            dynamo=False,
            opset_version=OPSET,
            input_names=["token", *inputs],
            output_names=outputs,
            dynamic_axes={
                "token": {0: "hypothesis"},
                **memory_and_state,
                **axes(outputs, 1, traced.outputs),
            },
        )


@torch.no_grad()
def _largest_difference(folder: Path, model: Seq2Seq) -> float:
    """Return the largest difference of an output between graphs and model, on other sizes."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.log_severity_level = LOG_FATAL
    encoder, step = (
        InferenceSession(str(folder / f"{name}.onnx"), options) for name in ("encoder", "step")
    )
    largest = 0.0
    for sizes in OTHERS:
        for steps in (0, 3):
            one = _Example(model, *sizes, steps=steps)
            inputs = {"source": one.source_bs.numpy(), "mask": one.mask_bs.numpy()}
            pairs = list(zip(_run(encoder, inputs), one.encoded, strict=True))
            values = dict(zip(one.inputs, one.memory + one.state, strict=True))
            known = {i.name for i in step.get_inputs()}  # a graph lacks inputs without effect
            inputs = {n: v.numpy() for n, v in values.items() if n in known}
            outputs = _run(step, inputs | {"token": one.tokens_n.numpy()})
            pairs += zip(outputs, one.outputs, strict=True)
            for found, expected in pairs:
                if found.shape != tuple(expected.shape):
                    return float("inf")
                if found.size:
                    difference = torch.from_numpy(found).double() - expected.double()
                    largest = max(largest, float(difference.abs().max()))
    return largest


def _run(session: Any, inputs: dict[str, Any]) -> list[Any]:
    outputs: list[Any] = session.run(None, inputs)
    return outputs
