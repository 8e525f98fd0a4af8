"""The surrogate gradient of hard attention against enumeration of all draws."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import backward

from nmt.data.batch import Batch
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import ComponentConfig
from nmt.training.batch_loss import batch_loss
from tests.model.small import ADDITIVE, WIDTH, build, config

SOURCE, TARGET = 3, 2
SEQUENCES = list(product(range(SOURCE), repeat=TARGET))
BASELINE = -3.5
DECODERS = {
    "bahdanau": ComponentConfig("bahdanau", {"hidden_size": WIDTH}),
    "luong": ComponentConfig("luong", {"hidden_size": WIDTH}),
    "luong at once": ComponentConfig("luong", {"hidden_size": WIDTH, "input_feeding": False}),
}
every_decoder = pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS.keys())


def _model(decoder: ComponentConfig, **options: float | str) -> tuple[Seq2Seq, Any]:
    attention = ComponentConfig("hard", {"expected": 0.0, "entropy_weight": 0.0, **options})
    # With this seed the gradient of the score is not negligible.
    model = build(config(decoder=decoder, attention=attention, score=ADDITIVE), seed=3).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6)  # distinct annotations, so that the draw matters
    mechanism: Any = model.get_submodule("decoder.attention")
    mechanism.baseline_p.fill_(BASELINE)
    return model, mechanism


def _batch(sentences: int = 1) -> Batch:
    """Return copies of one sentence with three source and two target positions, then padding."""
    source, target = torch.tensor([[4, 1, 7, 0]]), torch.tensor([[1, 5, 0]])
    following = torch.tensor([[5, 9, 0]])
    tensors = (source, source > 0, target, following, following > 0)
    return Batch.create(*(tensor.expand(sentences, -1) for tensor in tensors))


def _drawing(positions: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """Return a replacement of `draw` with fixed positions, the first one in padding."""
    left: Iterator[int] = iter((*positions, 0))

    def draw_given(log_probs_bqs: Tensor) -> Tensor:
        sentences, queries, _ = log_probs_bqs.shape
        return torch.tensor([[next(left) for _ in range(queries)]] * sentences)

    return draw_given


def _gradient(model: Seq2Seq, loss: Tensor) -> Tensor:
    """Return the gradient of all parameters as one row."""
    model.zero_grad()
    backward(loss)
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return torch.cat([part.flatten() for part in parts])


def _of_score(model: Seq2Seq, gradient: Tensor) -> Tensor:
    """Return the part of a gradient that belongs to the score, which learns only by the draws."""
    named = dict(model.named_parameters())
    parts = torch.split(gradient, [parameter.numel() for parameter in named.values()])
    chosen = zip(named, parts, strict=True)
    return torch.cat([part for name, part in chosen if name.startswith("decoder.attention.score")])


def _log_probability_of_target(model: Seq2Seq) -> Tensor:
    batch = _batch()
    output_btd = model(batch.source, batch.source_mask_bs, batch.target_in_bt).output_btd
    log_probs_tv = model.output_layer(output_btd)[0, :TARGET].log_softmax(dim=-1)
    return log_probs_tv.gather(1, batch.target_out_bt[0, :TARGET, None]).sum()


def _log_probability_of_positions(energies: list[Tensor], positions: tuple[int, ...]) -> Tensor:
    """Compute log p(s) from the energies, recorded at the target positions."""
    log_probs_ts = torch.cat(energies, dim=1)[0, :TARGET, :SOURCE].log_softmax(dim=-1)
    return log_probs_ts[range(TARGET), positions].sum()


def _enumerated(
    model: Seq2Seq, mechanism: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple[Tensor, Tensor]:
    """Return p(s) and log p(y | s) of every sequence of positions s."""
    energies: list[Tensor] = []
    handle = mechanism.score.register_forward_hook(lambda *call: energies.append(call[-1]))
    masses, targets = [], []
    for positions in SEQUENCES:
        energies.clear()
        monkeypatch.setattr(mechanism, "draw", _drawing(positions))
        targets.append(_log_probability_of_target(model))
        masses.append(_log_probability_of_positions(energies, positions).exp())
    handle.remove()
    assert torch.stack(masses).sum().item() == pytest.approx(1, rel=1e-12)
    return torch.stack(masses), torch.stack(targets)


@pytest.mark.parametrize("reward", ["sentence", "rest"])
@every_decoder
def test_expected_surrogate_gradient_is_the_gradient_of_the_expected_log_likelihood(
    decoder: ComponentConfig, reward: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, mechanism = _model(decoder, reward=reward)
    masses, targets = _enumerated(model, mechanism, monkeypatch)
    expected = _gradient(model, (masses * targets).sum())
    mean = torch.zeros_like(expected)
    for positions, mass in zip(SEQUENCES, masses.tolist(), strict=True):
        monkeypatch.setattr(mechanism, "draw", _drawing(positions))
        mechanism.baseline_p.fill_(BASELINE)
        loss, _ = batch_loss(model, _batch(), smoothing=0.0, chunk=8)
        mean -= mass * _gradient(model, loss)
    torch.testing.assert_close(mean, expected, rtol=1e-10, atol=1e-12)
    assert _of_score(model, expected).norm() > 0.01 * expected.norm()


@pytest.mark.slow
@pytest.mark.parametrize("reward", ["sentence", "rest"])
@every_decoder
def test_sampled_gradients_are_unbiased(
    decoder: ComponentConfig, reward: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over forty batches of 200, each component is within five standard errors."""
    batches, sentences = 40, 200
    model, mechanism = _model(decoder, reward=reward)
    with monkeypatch.context() as patch:
        masses, targets = _enumerated(model, mechanism, patch)
    expected = _gradient(model, (masses * targets).sum())
    torch.manual_seed(3)
    mechanism.baseline_p.fill_(float("nan"))
    first, _ = batch_loss(
        model, _batch(1000), smoothing=0.0, chunk=1024
    )  # initializes the baseline
    assert first.isfinite()
    sampled = []
    for _ in range(batches):
        loss, _ = batch_loss(model, _batch(sentences), smoothing=0.0, chunk=1024)
        sampled.append(-_gradient(model, loss) / sentences)
    samples = torch.stack(sampled)
    errors = samples.std(dim=0) / batches**0.5
    assert _of_score(model, errors).norm() < 0.05 * _of_score(model, expected).norm()
    assert ((samples.mean(dim=0) - expected).abs() <= 5 * errors + 1e-12).all()


@every_decoder
def test_target_padding_does_not_change_the_auxiliary_loss(decoder: ComponentConfig) -> None:
    model, mechanism = _model(decoder, entropy_weight=0.1)
    batch = _batch()
    gradients = []
    for piece in (0, 8):
        target_bt = batch.target_in_bt.masked_fill(~batch.target_mask_bt, piece)
        mechanism.baseline_p.fill_(BASELINE)
        torch.manual_seed(2)
        loss, _ = batch_loss(model, batch._replace(target_in_bt=target_bt), smoothing=0.0, chunk=8)
        gradients.append(_gradient(model, loss))
    assert torch.equal(*gradients)


@every_decoder
def test_evaluation_neither_samples_nor_updates_the_baseline(decoder: ComponentConfig) -> None:
    model, mechanism = _model(decoder)
    model.eval()
    before = torch.get_rng_state()
    with torch.no_grad():
        values = [batch_loss(model, _batch(), smoothing=0.0, chunk=8)[1] for _ in range(2)]
    assert torch.equal(*values)
    assert torch.equal(torch.get_rng_state(), before)
    assert mechanism.baseline_p == BASELINE
