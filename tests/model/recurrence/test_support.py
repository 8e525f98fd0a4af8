"""Tests of the declarations by which the fused recurrence is selected."""

from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from nmt.config.choices import RecurrenceBackend
from nmt.errors import UserError
from nmt.model.attention.mechanisms.global_attention import GlobalAttention
from nmt.model.attention.scores.additive import AdditiveScore
from nmt.model.attention.scores.dot import DotScore
from nmt.model.build import build_model
from nmt.model.decoders.bahdanau import BahdanauDecoder
from nmt.model.decoders.recurrent import RecurrentDecoder
from nmt.model.layers.recurrent import LSTMLayer
from nmt.registry import SCORES, ComponentConfig
from tests.model.recurrence.test_fused import SUPPORTED_SCORES
from tests.model.small import PIECES, WIDTH, choices, config, name_of

BAHDANAU = ComponentConfig("bahdanau", {"hidden_size": WIDTH})


class InheritedDot(DotScore):
    """A dot score that overrides nothing."""


class SquaredDot(DotScore):
    """A score with other energies."""

    def forward(self, query_bqd: Tensor, keys_bsa: Tensor) -> Tensor:
        return super().forward(query_bqd, keys_bsa).square()


class RestatedDot(DotScore):
    """A score with equal energies that repeats the declaration."""

    supports_fused = True

    def forward(self, query_bqd: Tensor, keys_bsa: Tensor) -> Tensor:
        return super().forward(query_bqd, keys_bsa)


class SineAdditive(AdditiveScore):
    """A score with another query projection."""

    def project(self, query_bqd: Tensor) -> Tensor:
        return super().project(query_bqd).sin()


class SharpAttention(GlobalAttention):
    """Attention with other weights."""

    def forward(self, query_bqd: Tensor, memory: Any, state: Any) -> Any:
        return super().forward(2 * query_bqd, memory, state)


class LeakyLSTM(LSTMLayer):
    """A layer with another step."""

    def step(self, projected_ng: Tensor, state: Any, feedback_nf: Tensor | None = None) -> Any:
        return super().step(0.5 * projected_ng, state, feedback_nf)


class DoubledBahdanau(BahdanauDecoder):
    """A decoder with another recurrence."""

    def advance(self, projected_ng: Tensor, memory: Any, state: Any) -> Any:
        return super().advance(2 * projected_ng, memory, state)


@pytest.mark.parametrize("overriding", [SquaredDot, SineAdditive])
def test_score_that_overrides_its_energies_loses_fused_support(overriding: type) -> None:
    assert not overriding(3, 3).supports_fused
    assert not GlobalAttention(overriding(3, 3)).supports_fused


def test_score_that_overrides_nothing_keeps_fused_support() -> None:
    assert InheritedDot(3, 3).supports_fused
    assert GlobalAttention(InheritedDot(3, 3)).supports_fused


def test_score_that_repeats_the_declaration_keeps_fused_support() -> None:
    assert RestatedDot(3, 3).supports_fused


def test_attention_that_overrides_its_weights_loses_fused_support() -> None:
    assert GlobalAttention(DotScore(3, 3)).supports_fused
    assert not SharpAttention(DotScore(3, 3)).supports_fused
    assert not GlobalAttention(DotScore(3, 3), coverage=True).supports_fused


def test_layer_that_overrides_its_step_loses_fused_support() -> None:
    assert LSTMLayer(3, 3).supports_fused
    assert not LeakyLSTM(3, 3).supports_fused


def test_decoder_that_overrides_its_recurrence_loses_fused_support() -> None:
    assert BahdanauDecoder.supports_fused
    assert not DoubledBahdanau.supports_fused


@pytest.mark.parametrize("choice", list(choices(SCORES, 0)), ids=name_of)
def test_query_matrix_equals_the_query_projection(choice: ComponentConfig) -> None:
    score: Any = SCORES.build(choice, WIDTH, WIDTH).double()
    assert score.supports_fused == (choice.type in SUPPORTED_SCORES)
    if not score.supports_fused:
        return
    query_bqd = torch.randn(2, 3, WIDTH, dtype=torch.float64)
    matrix_ad = score.query_matrix()
    expected_bqa = query_bqd if matrix_ad is None else query_bqd @ matrix_ad.mT
    expected_bqa = getattr(score, "query_scale", 1.0) * expected_bqa
    torch.testing.assert_close(score.project(query_bqd), expected_bqa, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", get_args(RecurrenceBackend))
def test_build_passes_the_backend_to_the_decoder(backend: RecurrenceBackend) -> None:
    model = build_model(config(decoder=BAHDANAU), PIECES, PIECES, recurrence=backend)
    assert isinstance(model.decoder, RecurrentDecoder)
    assert model.decoder.backend == backend
    assert model.decoder.uses_fused == (backend != "eager")


@pytest.mark.parametrize(
    "model",
    [
        config(decoder=BAHDANAU, score=ComponentConfig("cosine")),
        config(decoder=BAHDANAU, attention=ComponentConfig("local_m")),
        config(decoder=ComponentConfig("bahdanau", {"hidden_size": WIDTH, "cell": "gru"})),
        config(decoder=ComponentConfig("plain", {"hidden_size": WIDTH})),
    ],
    ids=["score", "mechanism", "cell", "decoder"],
)
def test_fused_backend_requires_a_supported_decoder(model: Any) -> None:
    with pytest.raises(UserError, match="the fused recurrence requires a decoder with LSTM"):
        build_model(model, PIECES, PIECES, recurrence="fused")
