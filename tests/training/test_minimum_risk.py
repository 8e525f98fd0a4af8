"""Minimum risk training compared with exact enumeration in float64, and its candidates."""

from collections.abc import Sequence
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nmt.config.loader import load_experiment
from nmt.config.schema import ModelConfig
from nmt.data.batch import Batch, collate
from nmt.data.loader import BatchLoader, IndexedBatch
from nmt.data.special_tokens import SpecialTokens
from nmt.errors import UserErrors
from nmt.model.build import build_model
from nmt.model.interfaces import select_rows
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import SCHEDULES, ComponentConfig
from nmt.search.sentence_metrics import SentenceChrf
from nmt.training.batch_loss import BatchLoss
from nmt.training.dry_run import check_components
from nmt.training.minimum_risk import Candidates, MinimumRisk
from nmt.training.precision import Precision
from nmt.training.trainer import Trainer
from tests.commands import write_experiment

PAD, BOS, EOS = SPECIAL = SpecialTokens(0, 1, 2)
REFERENCES = [[3, 4], [4]]
LETTERS = " <>abc"


def _decode(tokens: Sequence[int]) -> str:
    return "".join(LETTERS[token] for token in tokens)


def _batch() -> Batch:
    sources = [np.array([3, 5, 4]), np.array([5])]
    return collate(sources, list(map(np.array, REFERENCES)), SPECIAL, SPECIAL)


def _model(recurrence: Any = "auto", **options: Any) -> Seq2Seq:
    torch.manual_seed(1)
    config = ModelConfig(
        embedding_size=6,
        encoder=ComponentConfig("bilstm", {"hidden_size": 4}),
        decoder=ComponentConfig("bahdanau", {"hidden_size": 6, **options}),
        attention=ComponentConfig("global"),
        score=ComponentConfig("additive"),
    )
    return build_model(config, 6, 6, recurrence=recurrence).double().train()


def _sampler(sharpness: float = 0.5, samples: int = 8, seed: int = 1) -> MinimumRisk:
    return MinimumRisk(
        SentenceChrf().matrix,
        samples=samples,
        sharpness=sharpness,
        seed=seed,
        special=SPECIAL,
        decode=_decode,
    )


def _log_prob(model: Seq2Seq, batch: Batch, sentence: int, tokens: Sequence[int]) -> Tensor:
    """Return log p(tokens, </s>) of a sentence by single steps."""
    row = torch.tensor([sentence])
    mask_bs = batch.source_mask_bs[row]
    length = int(mask_bs.sum())
    memory, state = model.start(batch.source[row, :length], mask_bs[:, :length])
    total, last = torch.zeros((), dtype=torch.float64), BOS
    for token in [*tokens, EOS]:
        embedded_nm = model.target_embedding(torch.tensor([last]))
        output = model.decoder.step(embedded_nm, memory, state)
        total = total + model.output_layer(output.output_nd).log_softmax(-1)[0, token]
        state, last = output.state, token
    return total


@pytest.mark.parametrize("recurrence", ["fused", "eager"])
def test_gradient_equals_that_of_all_short_sequences(
    recurrence: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch, sampler = _model(recurrence), _batch(), _sampler(sharpness=0.7)
    strings = [list(one) for length in range(3) for one in product((3, 4, 5), repeat=length)]
    monkeypatch.setattr(sampler, "_sample", lambda *_: [strings, strings])
    candidates = sampler.candidates(model, batch, np.array([1, 2]), step=1)
    assert len(candidates.cost_n) == 2 * len(strings)  # the references are among them
    loss, nll = BatchLoss(model)(batch, smoothing=0.1, chunk=8, candidates=candidates)
    found = torch.autograd.grad(loss, list(model.parameters()))

    risk, expected_nll = torch.zeros((), dtype=torch.float64), 0.0
    for sentence, reference in enumerate(REFERENCES):
        log_probs = torch.stack([_log_prob(model, batch, sentence, one) for one in strings])
        costs = [
            1 - SentenceChrf().matrix([_decode(one)], [_decode(reference)])[0, 0] / 100
            for one in strings
        ]
        assert max(costs) == 1.0
        assert min(costs) == pytest.approx(0.0)
        # Equations 11 to 13 as they stand.
        powers = (0.7 * log_probs).exp()
        risk = risk + (powers / powers.sum() * torch.tensor(costs)).sum()
        expected_nll -= float(log_probs[strings.index(reference)].detach())
    assert loss.item() == pytest.approx(risk.item(), rel=1e-6)  # costs are in float32
    assert float(nll) == pytest.approx(expected_nll)
    for one, other in zip(found, torch.autograd.grad(risk, list(model.parameters())), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-9)


def _by_sentence(candidates: Candidates) -> list[list[tuple[int, ...]]]:
    rows: list[list[tuple[int, ...]]] = [[] for _ in REFERENCES]
    for number, sentence in enumerate(candidates.sentence_n.tolist()):
        out_t = candidates.target_out_nt[number][candidates.target_mask_nt[number]]
        rows[sentence].append(tuple(out_t.tolist()))
    return rows


def test_candidates_are_the_reference_and_distinct_samples() -> None:
    model, batch = _model(dropout=0.5), _batch()
    candidates = _sampler(samples=30).candidates(model, batch, np.array([7, 3]), step=5)
    assert model.training
    for rows, reference in zip(_by_sentence(candidates), REFERENCES, strict=True):
        assert rows[0] == (*reference, EOS)
        assert len(rows) == len(set(rows)) > 5
        assert all(row[-1] == EOS for row in rows)
    assert candidates.reference_n.nonzero().flatten().tolist() == [
        0,
        candidates.sentence_n.tolist().index(1),
    ]
    assert candidates.cost_n[candidates.reference_n].tolist() == pytest.approx([0.0, 0.0])
    assert float(candidates.cost_n.max()) > 0.5


def test_samples_depend_on_seed_update_and_line_alone() -> None:
    model, batch = _model(), _batch()

    def found(lines: list[int], step: int, seed: int = 1, rows: Any = (0, 1)) -> Any:
        selected = select_rows(batch._replace(target_indices_r=torch.arange(2)), torch.tensor(rows))
        sampler = _sampler(seed=seed)
        return _by_sentence(sampler.candidates(model, selected, np.array(lines), step))

    first = found([7, 3], 5)
    assert found([7, 3], 5) == first
    assert found([3, 7], 5, rows=(1, 0)) == first[::-1]
    for other in (found([8, 4], 5), found([7, 3], 6), found([7, 3], 5, seed=2)):
        assert other[0] != first[0]


def test_updates_lower_the_risk() -> None:
    model, batch = _model(), _batch()
    sampler = _sampler(sharpness=1.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    loss_of = BatchLoss(model)

    def risk(step: int) -> Tensor:
        candidates = sampler.candidates(model, batch, np.array([1, 2]), step)
        loss, _ = loss_of(batch, smoothing=0.0, chunk=64, candidates=candidates)
        assert isinstance(loss, Tensor)
        return loss

    before = risk(0).item()
    for step in range(20):
        optimizer.zero_grad()
        risk(step).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert risk(0).item() < 0.7 * before


def test_update_in_bf16_has_gradients_and_ignores_dummy_batches() -> None:
    model, batch = _model().float(), _batch()
    trainer = Trainer(
        model,
        torch.optim.SGD(model.parameters(), 1.0),
        SCHEDULES.build(ComponentConfig("constant")),
        BatchLoader.__new__(BatchLoader),  # not used: the test makes the batch
        Precision("bf16", torch.device("cpu")),
        minimum_risk=_sampler(),
    )
    lines = np.array([1, 2])
    trainer.backward(IndexedBatch(batch, lines), batch.target_tokens)
    assert all(one.grad is not None and one.grad.any() for one in model.parameters())
    dummy = IndexedBatch(batch.without_targets(), lines, is_dummy=True)
    assert [float(one) for one in trainer.backward(dummy, batch.target_tokens)] == [0.0, 0.0]


def test_weight_dropout_applies() -> None:
    model, batch = _model(weight_dropout=0.5), _batch()
    candidates = _sampler().candidates(model, batch, np.array([1, 2]), 1)
    losses = {
        BatchLoss(model)(batch, smoothing=0.0, chunk=64, candidates=candidates)[0].item()
        for _ in range(3)
    }
    assert len(losses) == 3


@pytest.mark.parametrize(
    ("attention", "is_refused"),
    [
        ({"type": "hard"}, True),
        ({"type": "soft"}, True),
        ({"type": "soft", "doubly_stochastic": 0}, False),
        ({"type": "global"}, False),
    ],
)
def test_auxiliary_loss_of_attention_is_refused_before_training(
    attention: Any, is_refused: bool, experiment: dict[str, Any], tmp_path: Path
) -> None:
    experiment["model"]["attention"] = attention
    experiment["training"] |= {"minimum_risk": {}, "start_from": "run"}
    del experiment["training"]["label_smoothing"]
    loaded = load_experiment(write_experiment(tmp_path / "risk.yaml", experiment))
    error = "training.minimum_risk: is not possible with attention that has a loss of its own"
    with pytest.raises(UserErrors, match=error) if is_refused else nullcontext():
        check_components(loaded)
