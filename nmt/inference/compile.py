"""Compilation of a trained model into a copy that is fast at step-wise decoding.

Decoding needs the trained weights in other forms than training. `compile_model` leaves the trained
module as it is and returns an `InferenceModel` with copies of its own: weights in the layout of
the CPU's matrix kernels or in 8-bit integers, products that are made once per sentence or once per
vocabulary entry, and arithmetic in which a row's result does not depend on the rest of the batch.
Every shortcut must equal `Seq2Seq.step` up to rounding; the tests compare them.
"""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeVar, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nmt.data.batch import Source
from nmt.device import autocast
from nmt.errors import UserError
from nmt.inference.arithmetic import RowIndependentArithmetic, use_arithmetic
from nmt.inference.attention import (
    multi_head_layers,
    recorded_heads,
    use_row_independent_attention,
)
from nmt.inference.decoders import FAST_DECODERS, AnyInferenceDecoder, PlainInference
from nmt.inference.linear import (
    Int8Linear,
    LinearKind,
    PrepackedLinear,
    prepack_encoder,
    replace_linear_layers,
    supports_prepacking,
    use_bfloat16,
)
from nmt.inference.output_selection import CandidateBatch, SelectableOutput, SelectedMemory
from nmt.inference.override import can_override
from nmt.inference.token_cache import Projections, TokenProjectionCache
from nmt.model.interfaces import Memory, Prediction, State, select_rows
from nmt.model.seq2seq import Seq2Seq, split_memory
from nmt.native import library

Tree = TypeVar("Tree")
Precision = Literal["fp32", "tf32", "bf16", "fp16", "int8"]


class InferenceModel:
    """A trained model for decoding alone: `start` once per sentence, `step` once per token.

    It holds no parameters and is no `nn.Module`: it cannot be trained, saved or moved. Compile the
    trained model again instead.

    On a CPU lone rows are computed twice. Matrix libraries take another code path for one row than
    for several and round differently on it; from two rows on, a row's bits do not depend on their
    number. With this rule a sentence gets the same score alone and in a batch. On a GPU the kernel
    of a product depends on the number of rows in any case.

    Attributes:
        device: device of all inputs and outputs
        precision: precision of products
        grid: rows and columns of an image's annotations; None for text
        annotation_size: width of an annotation
    """

    def __init__(
        self,
        model: Seq2Seq,
        decoder: AnyInferenceDecoder,
        arithmetic: RowIndependentArithmetic | None,
        *,
        caches_tokens: bool,
        output: SelectableOutput | None,
        precision: Precision,
        device: torch.device,
    ) -> None:
        self.device, self.precision = device, precision
        self.grid, self.annotation_size = model.encoder.grid, model.encoder.output_size
        self._model, self._decoder, self._arithmetic = model, decoder, arithmetic
        self._output = output
        self._project_tokens = self._compute_projections
        if caches_tokens:
            vocabulary = len(model.target_embedding.weight)
            self._project_tokens = TokenProjectionCache(self._compute_projections, vocabulary)

    @torch.inference_mode()
    def start(self, source: Source, source_mask_bs: Bool[Tensor, "b _"]) -> tuple[Memory, State]:
        """Encode a batch of sources; return the decoder's memory and first state.

        Raises:
            ValueError: a source has no real position
        """
        self._check_positions(source_mask_bs)
        return self._with_two_rows(self._start, source, source_mask_bs)

    @torch.inference_mode()
    def step(self, tokens_n: Int[Tensor, " n"], memory: Memory, state: State) -> Prediction:
        """Return the distribution of the next token of n hypotheses, given their last tokens."""
        return self._with_two_rows(self._step, tokens_n, memory, state)

    @torch.inference_mode()
    def select_outputs(self, memory: Memory, candidates: CandidateBatch) -> SelectedMemory:
        """Return a memory with which `step` predicts the candidates of each sentence alone.

        Probabilities are relative to their sum over these candidates. Requires a model that was
        compiled with `selects_outputs`.
        """
        assert self._output is not None, "compile the model with selects_outputs"
        layer = self._output.select(candidates.union_x)
        return SelectedMemory(memory, candidates.columns_bv, candidates.outputs, layer)

    @torch.inference_mode()
    def encode(self, source: Source, source_mask_bs: Bool[Tensor, "b s"]) -> Float[Tensor, "b s e"]:
        """Return the annotations of a batch of sources, for programs that study them."""
        self._check_positions(source_mask_bs)
        return self._with_two_rows(self._encode, source, source_mask_bs)

    def can_override_attention(self, memory: Memory) -> bool:
        """Return whether `override_attention` applies to a memory of this model."""
        return can_override(self._model.decoder, memory)

    @property
    def has_heads(self) -> bool:
        """Return whether the decoder attends to the source by multi-head attention."""
        return bool(multi_head_layers(self._model.decoder))

    def recorded_heads(self) -> AbstractContextManager[list[list[Tensor]]]:
        """Record the weights of each head in the steps of a `with` block, one list per layer.

        A lone row on a CPU is recorded twice.
        """
        return recorded_heads(self._model.decoder)

    def weight_bytes(self) -> int:
        """Return the memory of the weights in bytes; shared tensors count once."""
        held = {tensor.data_ptr(): tensor.nbytes for tensor in self._model.state_dict().values()}
        kinds = (PrepackedLinear, Int8Linear)
        packed = [m.weight_bytes for m in self._model.modules() if isinstance(m, kinds)]
        if self._arithmetic is not None:
            packed.append(self._arithmetic.weight_bytes())
        if self._output is not None:
            packed.append(self._output.weight_bytes)
        return sum(held.values()) + sum(packed)

    def _check_positions(self, source_mask_bs: Bool[Tensor, "b s"]) -> None:
        # Images have no padding, and a GPU must not wait for a value.
        if self.grid is not None or source_mask_bs.device.type != "cpu":
            return
        empty = (~source_mask_bs.any(dim=1)).nonzero().flatten().tolist()
        if empty:
            raise ValueError(
                f"source {empty[0]} of the batch has no real position; a sentence has at least one "
                "token, such as </s>"
            )

    def _with_two_rows(self, compute: Callable[..., Tree], rows: Tensor, *others: Any) -> Tree:
        """Compute the outputs of a batch, those of a lone row on a CPU twice."""
        if len(rows) > 1 or self.device.type != "cpu":
            return compute(rows, *others)
        twice = torch.tensor([0, 0])
        return select_rows(compute(*select_rows((rows, *others), twice)), twice[:1])

    def _encode(
        self, source: Source, source_mask_bs: Bool[Tensor, "b s"]
    ) -> Float[Tensor, "b s e"]:
        with autocast(self.precision, self.device):
            return self._model.encode(source, source_mask_bs).states_bse

    def _start(self, source: Source, source_mask_bs: Bool[Tensor, "b _"]) -> tuple[Memory, State]:
        with autocast(self.precision, self.device):
            encoded = self._model.encode(source, source_mask_bs)
            memory, state = self._decoder.start(encoded)
            return self._model.with_alignment(memory, encoded), state

    def _step(self, tokens_n: Int[Tensor, " n"], memory: Memory, state: State) -> Prediction:
        selected = memory if isinstance(memory, SelectedMemory) else None
        with autocast(self.precision, self.device):
            own_memory, alignment = split_memory(memory if selected is None else selected.memory)
            output = self._decoder.step(self._project_tokens(tokens_n), own_memory, state)
            if selected is None:
                logits_nv = self._model.output_layer(output.output_nd).float()
            else:
                logits_nv = selected.logits(output.output_nd)
            return Prediction(
                _log_softmax(logits_nv),
                output.weights_ns,
                output.state,
                None if selected is None else selected.outputs,
                self._model.align(tokens_n, output.output_nd, alignment),
            )

    def _compute_projections(self, tokens_n: Int[Tensor, " n"]) -> Projections:
        return self._decoder.project_tokens(self._model.target_embedding(tokens_n))


def _log_softmax(logits_nv: Float[Tensor, "n v"]) -> Float[Tensor, "n v"]:
    if library.supports(logits_nv):
        return library.log_softmax(logits_nv)
    return logits_nv.log_softmax(dim=-1)


@torch.no_grad()
def compile_model(
    model: Seq2Seq,
    *,
    precision: str = "fp32",
    device: torch.device | None = None,
    selects_outputs: bool = False,
    bfloat16_encoder: bool = False,
) -> InferenceModel:
    """Return a copy of a trained model that is fast at step-wise decoding.

    Later changes to `model` do not reach the copy.

    Args:
        model: the trained model, which is not modified
        precision: fp32; bf16, or on a GPU fp16, for products by autocast; tf32 for products of
            rounded float32, on a GPU; int8 for the weights of the output layer, of the
            decoder's recurrent layers and of transformer layers, on a CPU
        device: device of the copy (default: that of the model)
        selects_outputs: whether to prepare for `InferenceModel.select_outputs`
        bfloat16_encoder: whether recurrent layers of the encoder are computed in bfloat16, on a
            CPU

    Raises:
        UserError: the device does not support the precision
    """
    device = device or model.target_embedding.weight.device
    checked = _check_precision(precision, device)
    copied = copy.deepcopy(model).to(device).eval().requires_grad_(False)
    # Encoder and decoder alike; all changes are to the copy.
    use_row_independent_attention(copied, device)
    # A float64 model, as in tests, keeps its own products.
    is_float32 = copied.output_layer.weight.dtype == torch.float32
    exact_kind: LinearKind | None = None
    arithmetic: RowIndependentArithmetic | None = None
    if device.type == "cpu" and is_float32 and supports_prepacking():
        exact_kind = PrepackedLinear
        if precision in ("fp32", "int8"):
            prepack_encoder(copied.encoder, Int8Linear if precision == "int8" else PrepackedLinear)
            arithmetic = RowIndependentArithmetic()
            use_arithmetic(copied, arithmetic)
    if bfloat16_encoder:
        use_bfloat16(copied.encoder)
    # Autocast casts weights at each call, so bf16 and fp16 keep the layers of training.
    kind: LinearKind | None = {"fp32": exact_kind, "int8": Int8Linear}.get(precision)
    output = SelectableOutput(copied.output_layer, kind) if selects_outputs else None
    if kind is not None:
        replace_linear_layers(copied.decoder, kind, exact_kind)
        if copied.alignment is not None:
            replace_linear_layers(copied.alignment, exact_kind, exact_kind)
        layer = copied.output_layer
        # The new layer is no `nn.Linear`, the declared type of the attribute.
        setattr(copied, "output_layer", kind(layer.weight, layer.bias))  # noqa: B010
    decoder: AnyInferenceDecoder = PlainInference(copied.decoder)
    # A GPU multiplies faster than it reads, so products made in advance bring nothing there.
    fast = FAST_DECODERS.get(type(copied.decoder)) if device.type == "cpu" else None
    if fast is not None:
        # Products of the annotations pay off if these are fewer than steps times hypotheses, which
        # is not so for an image.
        decoder = fast(copied.decoder, copied.encoder.grid is None)
    # A cached row must have the bits that it would get among any other rows. The prepacked and the
    # int8 layers guarantee this; the layers of training do not.
    caches_tokens = fast is not None and kind is not None
    return InferenceModel(
        copied,
        decoder,
        arithmetic,
        caches_tokens=caches_tokens,
        output=output,
        precision=checked,
        device=device,
    )


def _check_precision(precision: str, device: torch.device) -> Precision:
    """Return the precision if the device supports it."""
    known: dict[str, Precision] = {name: name for name in get_args(Precision)}
    if precision not in known:
        raise UserError(f"precision '{precision}' must be one of {', '.join(known)}")
    required = {"int8": "cpu", "tf32": "cuda", "fp16": "cuda"}.get(precision, device.type)
    if device.type != required:
        name = "a CPU" if required == "cpu" else "a GPU"
        raise UserError(f"precision {precision} requires {name}; use bf16 or fp32 on {device.type}")
    return known[precision]
