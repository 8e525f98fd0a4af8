"""Output layers of some target tokens against the output layer of the whole vocabulary."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nmt.inference.compile import InferenceModel, compile_model
from nmt.inference.linear import Int8Linear, PrepackedLinear, supports_prepacking
from nmt.inference.output_selection import SelectableOutput, collate_candidates
from nmt.model.interfaces import Prediction, select_rows
from nmt.registry import ComponentConfig
from tests.model.small import ADDITIVE, PIECES, WIDTH, build, config, text

CPU = torch.device("cpu")
BAHDANAU = config(decoder=ComponentConfig("bahdanau", {"hidden_size": WIDTH}), score=ADDITIVE)
precisions = pytest.mark.parametrize("precision", ["fp32", "int8", "bf16"])
needs_prepacking = pytest.mark.skipif(
    not supports_prepacking(), reason="rows may round differently on this CPU"
)


@torch.inference_mode()
def first_step(
    model: InferenceModel, candidates: list[list[int]] | None, rows: list[int]
) -> Prediction:
    """Predict the first token of two hypotheses per sentence."""
    inputs = text()
    rows_b = torch.tensor(rows)
    memory, state = model.start(inputs.source_bs[rows_b], inputs.source_mask_bs[rows_b])
    if candidates is not None:
        own = [np.array(candidates[row]) for row in rows]
        memory = model.select_outputs(memory, collate_candidates(own, PIECES, CPU))
    state = select_rows(state, torch.arange(len(rows)).repeat_interleave(2))
    return model.step(torch.arange(2 * len(rows)) % PIECES, memory, state)


def compiled(precision: str) -> InferenceModel:
    return compile_model(build(BAHDANAU, torch.float32), precision=precision, selects_outputs=True)


@precisions
def test_whole_vocabulary_changes_no_bit(precision: str) -> None:
    model = compiled(precision)
    plain = first_step(model, None, [0, 1, 2]).log_probs_nv
    found = first_step(model, [list(range(PIECES))] * 3, [0, 1, 2])
    assert torch.equal(found.over_vocabulary().log_probs_nv, plain)
    assert torch.equal(found.log_probs_nv[:, :PIECES], plain)


@precisions
def test_probabilities_are_relative_to_the_candidates(precision: str) -> None:
    model, candidates = compiled(precision), [[0, 3, 4], [2], [1, 3, 5, 6]]
    plain_nv = first_step(model, None, [0, 1, 2]).log_probs_nv
    found_nv = first_step(model, candidates, [0, 1, 2]).over_vocabulary().log_probs_nv
    for row, own in enumerate(candidates):
        for hypothesis in (2 * row, 2 * row + 1):
            expected = torch.full((PIECES,), -torch.inf)
            expected[own] = plain_nv[hypothesis, own].log_softmax(0)
            torch.testing.assert_close(found_nv[hypothesis], expected)


@needs_prepacking
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_prediction_does_not_depend_on_the_other_candidates(precision: str) -> None:
    model = compiled(precision)
    candidates = [[0, 3, 4], [2], list(range(PIECES))]
    together_nv = first_step(model, candidates, [0, 1, 2]).over_vocabulary().log_probs_nv
    for row in range(3):
        alone_nv = first_step(model, candidates, [row]).over_vocabulary().log_probs_nv
        # The tokens of the hypotheses differ, as `first_step` numbers them.
        if row == 0:
            assert torch.equal(alone_nv, together_nv[:2])
        assert torch.equal(alone_nv.isfinite(), together_nv[2 * row : 2 * row + 2].isfinite())


@needs_prepacking
@pytest.mark.parametrize("kind", [PrepackedLinear, Int8Linear])
@pytest.mark.parametrize("width", [24, 512])
def test_selected_outputs_have_the_bits_of_the_whole_layer(
    kind: type[nn.Module], width: int
) -> None:
    torch.manual_seed(4)
    layer, inputs_nd = nn.Linear(width, 700).requires_grad_(False), torch.randn(30, width)
    whole_nv: Tensor = kind(layer.weight, layer.bias)(inputs_nd)
    output = SelectableOutput(layer, kind)
    for size in (1, 15, 64, 333, 700):
        tokens_x = torch.randperm(700)[:size].sort().values
        found_nx = output.select(tokens_x)(inputs_nd)
        assert torch.equal(found_nx[:, :-1], whole_nv[:, tokens_x])
        assert (found_nx[:, -1] == -torch.inf).all()
