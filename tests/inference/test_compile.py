"""Compiled models against the step of the trained module, for every decoder, mechanism, score."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.config.schema import ModelConfig
from nmt.errors import UserError
from nmt.inference import compile as compile_module
from nmt.inference.compile import InferenceModel, Precision, compile_model
from nmt.inference.decoders import BahdanauInference, PlainInference
from nmt.inference.linear import supports_prepacking
from nmt.model.attention.scores.additive import AdditiveScore
from nmt.model.build import build_model
from nmt.model.decoders.bahdanau import BahdanauDecoder
from nmt.model.interfaces import select_rows
from nmt.model.seq2seq import Seq2Seq
from nmt.native import library as native
from nmt.registry import DECODERS, ComponentConfig
from tests.meta import make_ready
from tests.model.small import (
    ADDITIVE,
    BILINEAR,
    PIECES,
    WIDTH,
    build,
    config,
    every_part_once,
    models,
    text,
)
from tests.product_libraries import PRODUCT_LIBRARIES, product_library

needs_prepacking = pytest.mark.skipif(
    not supports_prepacking(), reason="rows may round differently on this CPU"
)
BAHDANAU = config(decoder=ComponentConfig("bahdanau", {"hidden_size": WIDTH}), score=ADDITIVE)


@torch.inference_mode()
def decode(
    model: Seq2Seq | InferenceModel, *, hypotheses: int = 1, rows: slice = slice(None)
) -> list[tuple[Tensor, Tensor | None, Tensor | None]]:
    """Return log-probabilities, attention and alignment weights along fixed targets, by position.

    Args:
        model: the model
        hypotheses: number of hypotheses per sentence
        rows: sentences to decode; all are encoded
    """
    inputs = text()
    memory, state = model.start(inputs.source_bs, inputs.source_mask_bs)
    rows_b = torch.arange(3)[rows]
    memory = select_rows(memory, rows_b)
    state = select_rows(state, rows_b.repeat_interleave(hypotheses))
    found = []
    for tokens_b in inputs.target_bt[rows].unbind(1):
        # Different tokens per hypothesis, so that a mixed-up row is noticed.
        tokens_bk = (tokens_b[:, None] + torch.arange(hypotheses)) % PIECES
        prediction = model.step(tokens_bk.flatten(), memory, state)
        state = prediction.state
        found.append((prediction.log_probs_nv, prediction.weights_ns, prediction.alignment_ns))
    return found


def _assert_equal_steps(model: ModelConfig, hypotheses: int, dtype: torch.dtype) -> None:
    built = build(model, dtype)
    found, expected = (decode(m, hypotheses=hypotheses) for m in (compile_model(built), built))
    # Log-probabilities are float32 in any case.
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.usefixtures("elementwise")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("model", every_part_once())
def test_compiled_step_equals_trained_step(model: ModelConfig, dtype: torch.dtype) -> None:
    _assert_equal_steps(model, 3, dtype)


@pytest.mark.usefixtures("elementwise")
@pytest.mark.slow
@pytest.mark.parametrize("hypotheses", [1, 3])
@pytest.mark.parametrize("model", models())
def test_compiled_step_equals_trained_step_with_all_options(
    model: ModelConfig, hypotheses: int
) -> None:
    _assert_equal_steps(model, hypotheses, torch.float32)


EVERY_DECODER = [parameter for parameter in every_part_once() if parameter.id in DECODERS]


@pytest.mark.usefixtures("elementwise")
@pytest.mark.parametrize("has_kernels", [False, True])
@pytest.mark.parametrize("model", EVERY_DECODER)
def test_compiled_alignments_equal_those_of_the_trained_module(
    model: ModelConfig, has_kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_kernels:
        monkeypatch.setattr(native, "is_available", lambda: False)
    model = model.model_copy(update={"alignment_size": 5})
    _assert_equal_steps(model, 3, torch.float32)
    built = build(model, torch.float32)
    weights = [one[2] for one in decode(compile_model(built, precision="int8"))]
    assert all(one is not None and bool((one.sum(-1) - 1).abs().max() < 1e-5) for one in weights)


@pytest.mark.usefixtures("elementwise")
@pytest.mark.parametrize("precision", ["int8", "bf16"])
@pytest.mark.parametrize("model", EVERY_DECODER)
def test_lower_precision_of_every_decoder_stays_close(model: ModelConfig, precision: str) -> None:
    built = build(model, torch.float32)
    exact, rounded = (decode(compile_model(built, precision=p)) for p in ("fp32", precision))
    difference = max(
        (one[0] - other[0]).abs().max() for one, other in zip(exact, rounded, strict=True)
    )
    assert 1e-4 < difference < 0.2, "equal results would mean that nothing was rounded"


def test_all_weights_of_a_transformer_are_8_bit_integers() -> None:
    """Only embeddings, norms and biases stay in floating point."""
    part = ComponentConfig("transformer", {"layers": 2, "heads": 2, "feed_forward_size": 256})
    built = build_model(ModelConfig(embedding_size=64, encoder=part, decoder=part), PIECES, PIECES)
    tables = sum(p.numel() for name, p in built.named_parameters() if "embedding" in name)
    size = sum(parameter.numel() for parameter in built.parameters())
    vectors = sum(parameter.numel() for parameter in built.parameters() if parameter.dim() == 1)
    largest = (size - tables) + 4 * tables + 3 * 4 * vectors
    assert compile_model(built, precision="int8").weight_bytes() <= largest


@pytest.mark.parametrize("precision", ["fp32", "int8", "bf16"])
def test_compilation_leaves_the_trained_module_unchanged(precision: Precision) -> None:
    built = build(BAHDANAU, torch.float32)
    before = {name: tensor.clone() for name, tensor in built.state_dict().items()}
    types = {name: type(module) for name, module in built.named_modules()}
    compiled = compile_model(built, precision=precision)
    decode(compiled)
    after = built.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert types == {name: type(module) for name, module in built.named_modules()}
    assert all(parameter.requires_grad for parameter in built.parameters())
    reread = pickle.loads(pickle.dumps(built))
    assert reread.state_dict().keys() == before.keys()
    decode(copy.deepcopy(built).double())


def test_later_changes_of_the_trained_module_do_not_reach_the_compiled_model() -> None:
    built = build(BAHDANAU, torch.float32)
    compiled = compile_model(built)
    before = decode(compiled)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.zero_()
    torch.testing.assert_close(decode(compiled), before, rtol=0, atol=0)


def test_compiled_model_does_not_sample_or_drop_out() -> None:
    built = build(BAHDANAU, torch.float32).train()
    built.target_embedding.dropout = built.decoder.dropout = 0.5  # type: ignore[assignment]
    compiled = compile_model(built)
    assert built.training
    torch.testing.assert_close(decode(compiled), decode(compiled), rtol=0, atol=0)
    torch.testing.assert_close(decode(compiled), decode(built.eval()), rtol=2e-5, atol=2e-5)


def test_subclass_of_a_decoder_uses_its_own_step() -> None:
    class Negated(BahdanauDecoder):
        def advance(self, projected_ng: Tensor, memory: Any, state: Any) -> Any:
            return super().advance(-projected_ng, memory, state)

    built = build(BAHDANAU, torch.float32)
    assert isinstance(compile_model(built)._decoder, BahdanauInference)
    built.decoder.__class__ = Negated
    compiled = compile_model(built)
    assert isinstance(compiled._decoder, PlainInference)
    torch.testing.assert_close(decode(compiled), decode(built), rtol=2e-5, atol=2e-5)


def test_subclass_of_a_score_uses_its_own_energies() -> None:
    class Squared(AdditiveScore):
        def forward(self, query_bqd: Tensor, keys_bsa: Tensor) -> Tensor:
            return super().forward(query_bqd, keys_bsa).square()

    built = build(BAHDANAU, torch.float32)
    built.get_submodule("decoder.attention.score").__class__ = Squared
    found, expected = decode(compile_model(built), hypotheses=3), decode(built, hypotheses=3)
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.usefixtures("elementwise")
@needs_prepacking
@pytest.mark.parametrize("decoder", ["bahdanau", "luong", "gnmt"])
@pytest.mark.parametrize("score", ["additive", "concat"])
@pytest.mark.parametrize("scale", [1.0, 10.0, 40.0, 100.0, 300.0])
def test_bits_of_a_sentence_do_not_depend_on_large_keys_of_its_batch(
    decoder: str, score: str, scale: float
) -> None:
    """Scale the keys so that some sentences exceed the range of the factored tanh, or all do."""
    parts = {
        "decoder": ComponentConfig(decoder, {"hidden_size": 64}),
        "score": ComponentConfig(score),
    }
    built = build(config(**parts), torch.float32)
    scored: Any = built.get_submodule("decoder.attention.score")
    layer, size = (scored.key, 0) if score == "additive" else (scored.joined, 64)
    with torch.no_grad():
        layer.weight[:, size:].mul_(scale)
    compiled = compile_model(built)
    together = decode(compiled, hypotheses=4)
    for sentence in range(3):
        alone = decode(compiled, hypotheses=4, rows=slice(sentence, sentence + 1))
        part = slice(4 * sentence, 4 * sentence + 4)
        for (log_probs, *_), (alone_log_probs, *_) in zip(together, alone, strict=True):
            assert torch.equal(log_probs[part], alone_log_probs)
    torch.testing.assert_close(together, decode(built, hypotheses=4), rtol=1e-4, atol=1e-4)


# The location score has a product that torch computes itself. Its bits depend on the CPU and on the
# widths; tests/search/test_batch_invariance.py checks it at the widths of real models.
PREPACKED = [parameter for parameter in every_part_once() if parameter.id != "luong-location"]


@pytest.mark.usefixtures("elementwise")
@needs_prepacking
@pytest.mark.parametrize("hypotheses", [1, 4])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("model", PREPACKED)
def test_bits_of_a_step_do_not_depend_on_the_batch(
    model: ModelConfig, precision: str, hypotheses: int
) -> None:
    compiled = compile_model(build(model, torch.float32), precision=precision)
    together = decode(compiled, hypotheses=hypotheses)
    for sentence in range(3):
        alone = decode(compiled, hypotheses=hypotheses, rows=slice(sentence, sentence + 1))
        part = slice(hypotheses * sentence, hypotheses * (sentence + 1))
        for (log_probs, *_), (alone_log_probs, *_) in zip(together, alone, strict=True):
            assert torch.equal(log_probs[part], alone_log_probs)


@pytest.mark.usefixtures("elementwise")
@needs_prepacking
@pytest.mark.parametrize(
    "model",
    [
        config(decoder=ComponentConfig("luong", {"hidden_size": 256}), score=BILINEAR),
        config(encoder=ComponentConfig("transformer"), decoder=ComponentConfig("transformer")),
    ],
    ids=["luong general", "transformer"],
)
def test_bits_of_a_short_sentence_do_not_depend_on_the_number_of_sentences(
    model: ModelConfig,
) -> None:
    """Four tokens are too few rows for the usual kernels of some matrix libraries."""
    wide = model.model_copy(update={"embedding_size": 256})
    compiled = compile_model(build(wide, torch.float32))
    source_bs = torch.randint(4, PIECES, (16, 4), generator=torch.Generator().manual_seed(1))
    mask_bs = torch.ones_like(source_bs, dtype=torch.bool)
    tokens_n = torch.full((16,), 4)
    for library in PRODUCT_LIBRARIES:
        with product_library(library):
            together = compiled.step(tokens_n, *compiled.start(source_bs, mask_bs))
            for rows in (slice(0, 1), slice(0, 2), slice(5, 8)):
                inputs = compiled.start(source_bs[rows], mask_bs[rows])
                some = compiled.step(tokens_n[rows], *inputs)
                assert torch.equal(some.log_probs_nv, together.log_probs_nv[rows]), library


@pytest.mark.parametrize(("device", "expected"), [("cpu", [2, 1, 2, 1]), ("meta", [])])
def test_lone_rows_are_doubled_on_a_cpu_alone(
    device: str, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU it would copy the memory of the sentence at every step, and bring nothing."""
    make_ready(monkeypatch)
    selections: list[int] = []

    def counted(tree: Any, rows: Tensor) -> Any:
        selections.append(len(rows))
        return select_rows(tree, rows)

    monkeypatch.setattr(compile_module, "select_rows", counted)
    compiled = compile_model(build(BAHDANAU, torch.float32), device=torch.device(device))
    source_bs = torch.full((1, 4), 4, device=device)
    memory, state = compiled.start(source_bs, torch.ones_like(source_bs, dtype=torch.bool))
    prediction = compiled.step(torch.full((1,), 4, device=device), memory, state)
    assert prediction.log_probs_nv.shape == (1, PIECES)
    assert selections == expected


@pytest.mark.parametrize(
    ("precision", "message"),
    [("fp16", "requires a GPU"), ("tf32", "requires a GPU"), ("fp8", "one of")],
)
def test_unsupported_precision_is_refused(precision: str, message: str) -> None:
    with pytest.raises(UserError, match=f"precision '?{precision}'? .*{message}"):
        compile_model(build(BAHDANAU, torch.float32), precision=precision)


def test_weight_bytes_counts_shared_and_prepacked_weights_once() -> None:
    built = build(BAHDANAU.model_copy(update={"tied_embeddings": "decoder", "embedding_size": 4}))
    assert compile_model(built).weight_bytes() == 8 * sum(p.numel() for p in built.parameters())
    built = build(BAHDANAU, torch.float32)
    size = 4 * sum(p.numel() for p in built.parameters())
    assert compile_model(built).weight_bytes() == size
    assert compile_model(built, precision="int8").weight_bytes() < 0.9 * size
    # The bridge's weights are prepacked at their first use.
    compiled, given = compile_model(built), text()
    compiled.start(given.source_bs, given.source_mask_bs)
    assert (compiled.weight_bytes() > size) == supports_prepacking()


def test_a_source_without_a_real_position_is_refused() -> None:
    compiled, given = compile_model(build(BAHDANAU, torch.float32)), text()
    given.source_mask_bs[1] = False
    with pytest.raises(ValueError, match="source 1 of the batch has no real position"):
        compiled.start(given.source_bs, given.source_mask_bs)
