"""Linear layers for decoding on a CPU: prepacked float32 weights and 8-bit integer weights."""

import time
from collections.abc import Callable
from functools import cache, partial

import torch
from jaxtyping import Bool, Float, Int8, UInt8
from torch import Tensor, nn
from torch.nn.functional import pad

from nmt.model.attention.mechanism import Mechanism
from nmt.model.attention.score import Score
from nmt.model.interfaces import Decoder, Encoder
from nmt.model.layers.linear import ConcatLinear
from nmt.model.layers.multi_head import CrossAttention, SelfAttention
from nmt.model.layers.ntm import TuringMachine
from nmt.model.layers.recurrent import GRULayer, LayerState, LSTMLayer, RecurrentLayer
from nmt.model.layers.transformer import FeedForward
from nmt.native import library

LinearKind = Callable[[Tensor, Tensor | None], nn.Module]
"""(weight_vd, bias_v) -> a layer that computes W x + b."""

PACKED_ROWS = 64  # oneDNN chooses a weight layout for a number of rows; it serves any number
MAX_RELATIVE_ERROR = 1e-5  # of a float32 product; one in bfloat16 is off by about 3e-3
INT8_MAX = 127
UINT8_ZERO = 128  # of an integer that is stored without a sign
MAX_SLOWDOWN = 20  # oneDNN's code for CPUs that it has no other code for is slower by thousands
MIN_INT8_TERMS = 2
MIN_SCALE = 1e-12  # of a row of inputs, so that a row of zeros is not divided by zero


class PrepackedLinear(nn.Module):
    """y = W x + b in float32, with W in the memory layout of oneDNN's matrix kernels.

    A product with few rows, such as the hypotheses of one sentence, otherwise spends more than half
    of its time on rearranging W, at every call. The bits of a row do not depend on the number of
    rows.

    Args:
        weight_vd: W; it is copied
        bias_v: b, or None
    """

    def __init__(self, weight_vd: Tensor, bias_v: Tensor | None = None) -> None:
        super().__init__()
        self.weight_bytes = 4 * weight_vd.numel()
        # Not a buffer: a tensor in such a layout can be neither saved nor moved.
        self.weight = torch.ops.mkldnn._reorder_linear_weight(
            weight_vd.detach().float(), PACKED_ROWS
        )
        self.bias_v: Tensor | None
        self.register_buffer("bias_v", None if bias_v is None else bias_v.detach().float())

    def forward(self, inputs_nd: Float[Tensor, "*axes d"]) -> Float[Tensor, "*axes v"]:
        """Compute W x + b for every row."""
        outputs: Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs_nd, self.weight, self.bias_v, "none", [], ""
        )
        return outputs


@cache
def supports_prepacking() -> bool:
    """Return whether torch can prepack weights here and computes float32 products from them."""
    generator = torch.Generator().manual_seed(0)
    weight_vd, inputs_nd = (torch.randn(96, 96, generator=generator) for _ in range(2))
    try:
        outputs_nv = PrepackedLinear(weight_vd)(inputs_nd)
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    exact_nv = inputs_nd.double() @ weight_vd.double().mT
    error = (outputs_nv.double() - exact_nv).norm()
    return bool(error < MAX_RELATIVE_ERROR * exact_nv.norm())


class Int8Linear(nn.Module):
    """y = s_x s_w (x_q · w_q) + b with 8-bit integers x_q and w_q.

    Weights are quantized once, with a scale s_w = max|w| / 127 per output unit. Inputs are
    quantized at every call, with a scale s_x = max|x| / 127 per row, so that the result of a row
    does not depend on the other rows. Products are summed exactly, in 32-bit integers.

    Args:
        weight_vd: W
        bias_v: b, or None
    """

    def __init__(self, weight_vd: Tensor, bias_v: Tensor | None = None) -> None:
        super().__init__()
        self._set_weights(*quantize_rows(weight_vd.detach().float()), bias_v)

    @classmethod
    def from_integers(
        cls, weight_vd: Int8[Tensor, "v d"], scale_v: Float[Tensor, " v"], bias_v: Tensor | None
    ) -> "Int8Linear":
        """Return the layer with the weight s_w w_q; see `quantize_rows`."""
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer._set_weights(weight_vd, scale_v, bias_v)
        return layer

    def _set_weights(
        self, weight_vd: Int8[Tensor, "v d"], scale_v: Float[Tensor, " v"], bias_v: Tensor | None
    ) -> None:
        # torch's product of 8-bit integers is wrong on a CPU if its sums have one term.
        self.padding = max(0, MIN_INT8_TERMS - weight_vd.size(1))
        quantized_vd = pad(weight_vd, (0, self.padding))
        self.weight_bytes = quantized_vd.nbytes + 2 * scale_v.nbytes
        # Not buffers: a prepacked tensor can be neither saved nor moved.
        kind = PrepackedInt8Product if supports_prepacked_int8() else Int8Product
        self.product = kind(quantized_vd, scale_v)
        self.bias_v = torch.zeros_like(scale_v) if bias_v is None else bias_v.detach().float()

    def forward(self, inputs: Float[Tensor, "*axes d"]) -> Float[Tensor, "*axes v"]:
        """Compute W x + b for every row, in float32."""
        inputs_nd = inputs.float().flatten(0, -2)
        if self.padding:
            inputs_nd = pad(inputs_nd, (0, self.padding))
        unsigned_nd, scale_n1 = quantize_inputs(inputs_nd)
        products_nv = self.product(unsigned_nd)
        torch.addcmul(self.bias_v, products_nv, scale_n1, out=products_nv)
        return products_nv.view(*inputs.shape[:-1], -1)


class Int8Product:
    """s_w (x_q · w_q) by torch's product of 8-bit integers.

    Args:
        weight_vd: w_q
        scale_v: s_w
    """

    def __init__(self, weight_vd: Int8[Tensor, "v d"], scale_v: Float[Tensor, " v"]) -> None:
        self.weight_dv, self.scale_v = weight_vd.t(), scale_v

    def __call__(self, unsigned_nd: UInt8[Tensor, "n d"]) -> Float[Tensor, "n v"]:
        inputs_nd = (unsigned_nd ^ UINT8_ZERO).view(torch.int8)
        # Exact: 32-bit sums cannot overflow at widths below 2^31 / 127^2, about 133,000.
        return torch._int_mm(inputs_nd, self.weight_dv) * self.scale_v


class PrepackedInt8Product:
    """s_w (x_q · w_q) by oneDNN, which keeps w_q in its own layout and scales sums as it writes.

    At the sizes of a decoder this takes a third to a half of the time of `Int8Product`.

    Args:
        weight_vd: w_q
        scale_v: s_w
    """

    def __init__(self, weight_vd: Int8[Tensor, "v d"], scale_v: Float[Tensor, " v"]) -> None:
        self.weight = torch.ops.onednn.qlinear_prepack(weight_vd.contiguous(), None)
        self.scale_v = scale_v
        self.zero_point_v = torch.zeros(len(scale_v), dtype=torch.int64)

    def __call__(self, unsigned_nd: UInt8[Tensor, "n d"]) -> Float[Tensor, "n v"]:
        # The zero point is 128: for signed inputs oneDNN has fast code only where the CPU has AMX.
        # The operator has one scale for all rows of the inputs, 1.
        products_nv: Tensor = torch.ops.onednn.qlinear_pointwise(
            unsigned_nd, 1.0, UINT8_ZERO,
            self.weight, self.scale_v, self.zero_point_v, None,
            1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return products_nv


@cache
def supports_prepacked_int8() -> bool:
    """Return whether oneDNN multiplies 8-bit integers here, exactly and by code for this CPU.

    A CPU without instructions for it (VNNI) might add pairs of products in 16 bits. Both products
    have the same sums, so the choice changes no result.
    """
    # The largest factors make the largest sums of pairs.
    generator = torch.Generator().manual_seed(0)
    weight_vd, inputs_nd = (
        (torch.randint(0, 2, (96, 96), generator=generator) * 2 - 1) * INT8_MAX for _ in range(2)
    )
    inputs_nd[0], weight_vd[0] = INT8_MAX, INT8_MAX
    exact_nv = (inputs_nd @ weight_vd.mT).float()
    weight_vd, unsigned_nd = weight_vd.to(torch.int8), (inputs_nd + UINT8_ZERO).to(torch.uint8)
    try:
        product = PrepackedInt8Product(weight_vd, torch.ones(96))
        products_nv = product(unsigned_nd)
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    if not torch.equal(products_nv, exact_nv):
        return False
    plain = Int8Product(weight_vd, torch.ones(96))
    return _seconds(product, unsigned_nd) < MAX_SLOWDOWN * _seconds(plain, unsigned_nd)


def _seconds(product: Callable[[Tensor], Tensor], unsigned_nd: UInt8[Tensor, "n d"]) -> float:
    """Return the shortest of three durations of a product, which other programs delay least."""
    durations = []
    for _ in range(3):
        start = time.perf_counter()
        product(unsigned_nd)
        durations.append(time.perf_counter() - start)
    return min(durations)


def quantize_inputs(
    inputs_nd: Float[Tensor, "n d"],
) -> tuple[UInt8[Tensor, "n d"], Float[Tensor, "n 1"]]:
    """Return the integers x_q + 128, without a sign, and the scale s_x of each row."""
    if library.supports(inputs_nd):
        return library.quantize_rows(inputs_nd, MIN_SCALE)
    # Per row: the largest input of another row must not matter.
    scale_n1 = inputs_nd.abs().amax(dim=1, keepdim=True).clamp_min(MIN_SCALE) / INT8_MAX
    integers_nd = (inputs_nd / scale_n1).round_().to(torch.int8)
    return integers_nd.view(torch.uint8) ^ UINT8_ZERO, scale_n1


def quantize_rows(
    weight_vd: Float[Tensor, "v d"],
) -> tuple[Int8[Tensor, "v d"], Float[Tensor, " v"]]:
    """Return 8-bit integers w_q and the scale s = max|w| / 127 of each row, with w ≈ s w_q."""
    # A row of zeros keeps a scale of its own; its products are zero.
    scale_v = weight_vd.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).tiny) / INT8_MAX
    return (weight_vd / scale_v[:, None]).round().to(torch.int8), scale_v


class SplitConcatLinear(nn.Module):
    """A `ConcatLinear` as a sum of layers, one per input; the bias belongs to the first.

    Args:
        layer: the layer to replace
        kind: kind of the layers in the sum
    """

    def __init__(self, layer: ConcatLinear, kind: LinearKind) -> None:
        super().__init__()
        weights = torch.split(layer.weight, list(layer.sizes), dim=1)
        # The bias must be added once.
        biases = [layer.bias] + [None] * (len(weights) - 1)
        self.layers = nn.ModuleList(map(kind, weights, biases))

    def forward(self, *inputs: Float[Tensor, "*axes _"] | None) -> Float[Tensor, "*axes v"]:
        """Compute the sum of the terms of the inputs that are given."""
        terms = [self.layers[i](x) for i, x in enumerate(inputs) if x is not None]
        return sum(terms[1:], terms[0])

    def term(self, index: int, inputs: Float[Tensor, "*axes _"]) -> Float[Tensor, "*axes v"]:
        """Compute the term of one input; the first one includes the bias."""
        output: Tensor = self.layers[index](inputs)
        return output


def replace_linear_layers(
    module: nn.Module, kind: LinearKind | None, exact_kind: LinearKind | None
) -> None:
    """Replace linear layers of a decoder by faster ones, in place.

    Args:
        module: a decoder that is used for decoding alone
        kind: kind of the new layers of recurrent cells, of transformer layers, and of those that
            the decoder holds itself; None keeps a layer
        exact_kind: kind of the other layers. Those of recurrent decoders' attention stay in
            floating point, because a small error of an energy is a large one of a weight
    """
    for name, child in module.named_children():
        if isinstance(child, ConcatLinear):
            chosen = exact_kind if isinstance(module, Mechanism) else kind
            if chosen is not None:
                setattr(module, name, SplitConcatLinear(child, chosen))
        elif isinstance(child, nn.Linear):
            is_large = isinstance(module, Decoder | SelfAttention | CrossAttention | FeedForward)
            chosen = kind if is_large else exact_kind
            # A mechanism's gate multiplies by its weight itself, in float64.
            if chosen is not None and not isinstance(module, Mechanism):
                setattr(module, name, chosen(child.weight, child.bias))
        else:
            is_exact = isinstance(child, Score) or isinstance(module, Mechanism)
            replace_linear_layers(child, exact_kind if is_exact else kind, exact_kind)


def run_in_bfloat16(
    layer: LSTMLayer,
    inputs_tnm: Float[Tensor, "t n m"],
    state: LayerState | None = None,
    hold_tn: Bool[Tensor, "t n"] | None = None,
) -> tuple[Float[Tensor, "t n d"], LayerState]:
    """Compute `LSTMLayer.sequence` in bfloat16, with float32 inputs and outputs."""
    with torch.autocast("cpu", torch.bfloat16):
        outputs_tnd, last = type(layer).sequence(layer, inputs_tnm, state, hold_tn)
    assert last.cell_nd is not None
    return outputs_tnd.float(), LayerState(last.hidden_nd.float(), last.cell_nd.float())


def use_bfloat16(encoder: Encoder) -> None:
    """Let the LSTMs that torch computes in an encoder run in bfloat16, in place."""
    for module in encoder.modules():
        if isinstance(module, LSTMLayer) and module.is_native:
            setattr(module, "sequence", partial(run_in_bfloat16, module))  # noqa: B010


def prepack_encoder(encoder: Encoder, kind: LinearKind = PrepackedLinear) -> None:
    """Prepack the linear layers of an encoder, in place; those of transformer layers are of `kind`.

    They do not become faster, but a row's bits become independent of the number of rows, which
    other matrix libraries do not guarantee. An LSTM reads its weights itself, and torch runs it by
    oneDNN. torch's GRU multiplies by other libraries, so a GRU runs step by step. So do layers that
    torch does not compute.
    """
    for module in list(encoder.modules()):
        is_stepwise = isinstance(module, RecurrentLayer) and not module.is_native
        if isinstance(module, GRULayer):
            setattr(module, "sequence", module.sequence_by_steps)  # noqa: B010
        if isinstance(module, TuringMachine | GRULayer) or is_stepwise:
            replace_linear_layers(module, PrepackedLinear, PrepackedLinear)
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                is_large = isinstance(module, SelfAttention | FeedForward)
                chosen = kind if is_large else PrepackedLinear
                setattr(module, name, chosen(child.weight, child.bias))
