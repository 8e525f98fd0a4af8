"""Guided alignment: its loss, its use by a trainer, options, and the error rate in validations."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nmt.config.loader import load_experiment
from nmt.data.batch import Batch, PieceAlignment
from nmt.data.pharaoh import read_pharaoh
from nmt.errors import UserErrors
from nmt.evaluation.alignment_error import alignment_error_rate
from nmt.model.build import check_model
from nmt.search.alignment import to_pharaoh
from nmt.search.translator import Translator
from nmt.training.batch_loss import batch_loss
from nmt.training.datasets import prepare_datasets
from nmt.training.guided_alignment import (
    MIN_WEIGHT,
    GuidedAlignment,
    alignment_loss,
    empty_word_loss,
)
from nmt.training.setup import build_trainer
from nmt.training.unused_options import check_options_of_attention
from tests.commands import PHRASES, lines_of, nmt_train, reports, write_experiment
from tests.conftest import tiny_experiment
from tests.evaluation.report.pages import Page
from tests.training.conftest import quick


def _alignment(matrix_bts: Tensor) -> PieceAlignment:
    """Return the normalized rows of a matrix of links."""
    share_bts = matrix_bts / matrix_bts.sum(dim=2, keepdim=True).clamp_min(1)
    indices_x = share_bts.flatten().nonzero()[:, 0]
    return PieceAlignment(indices_x, share_bts.flatten()[indices_x])


def test_loss_is_the_cross_entropy_of_linked_target_tokens() -> None:
    weights_bts = torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    matrix_bts = torch.tensor(
        [[[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]], [[0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]]]
    ).double()
    loss = alignment_loss(weights_bts, _alignment(matrix_bts))
    weights, expected = weights_bts.detach().numpy(), 0.0
    for b, t in np.ndindex(2, 3):
        linked = np.flatnonzero(matrix_bts[b, t])
        expected -= sum(np.log(weights[b, t, s]) / len(linked) for s in linked)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    (gradient_bts,) = torch.autograd.grad(loss, weights_bts)
    assert torch.equal(gradient_bts != 0, matrix_bts != 0)


def test_unreachable_link_has_a_bounded_loss_without_gradient() -> None:
    weights_bts = torch.tensor([[[0.0, 1.0]]], requires_grad=True)
    loss = alignment_loss(weights_bts, _alignment(torch.tensor([[[1.0, 0.0]]])))
    assert loss.item() == pytest.approx(-np.log(MIN_WEIGHT))
    assert torch.autograd.grad(loss, weights_bts)[0].abs().sum() == 0


def test_unlinked_tokens_are_aligned_to_the_empty_word() -> None:
    weights_bts = torch.rand(3, 4, 5, dtype=torch.float64, requires_grad=True)
    matrix_bts = torch.zeros(3, 4, 5)
    matrix_bts[0, 1, 2] = matrix_bts[1, 0, 0] = matrix_bts[1, 0, 1] = 1
    # The third sentence has no link; the second one has two words, the first one three.
    source_mask_bs = torch.arange(5) < torch.tensor([[5], [3], [4]])
    target_mask_bt = torch.arange(4) < torch.tensor([[4], [3], [4]])
    masks = source_mask_bs, target_mask_bt
    loss = empty_word_loss(weights_bts, _alignment(matrix_bts), *masks)
    expected = {(0, 0, 4), (0, 2, 4), (1, 1, 2)}
    total = -sum(np.log(weights_bts[at].item()) for at in expected)
    assert loss.item() == pytest.approx(total, rel=1e-12)
    (gradient_bts,) = torch.autograd.grad(loss, weights_bts)
    assert {tuple(at) for at in gradient_bts.nonzero().tolist()} == expected


def test_weight_ends_after_the_last_update() -> None:
    assert GuidedAlignment(0.5).weight_at(10**6) == 0.5
    guided = GuidedAlignment(0.5, until=3)
    assert [guided.weight_at(step) for step in (1, 3, 4)] == [0.5, 0.5, 0.0]


def _write(folder: Path, **training: Any) -> Path:
    """Write a tiny experiment whose words are aligned in order."""
    tree = quick(tiny_experiment(), guided_alignment={"weight": 2.0, "until": 3}, **training)
    pairs = zip(*(lines_of(PHRASES.with_suffix(f".{side}")) for side in ("de", "en")), strict=True)
    lines = [
        " ".join(f"{i}-{i}" for i in range(min(len(one.split()), len(other.split()))))
        for one, other in pairs
    ]
    (folder / "links").write_text("\n".join(lines) + "\n")
    tree["data"]["alignments"] = "links"
    return write_experiment(folder / "guided.yaml", tree)


@pytest.mark.parametrize("alignment_size", [None, 6])
def test_updates_add_the_alignment_loss_until_the_last_one(
    tmp_path: Path, alignment_size: int | None
) -> None:
    overrides = [f"model.alignment_size={alignment_size or 'null'}"]
    experiment = load_experiment(_write(tmp_path), overrides).experiment
    datasets = prepare_datasets(experiment, None)
    trainer = build_trainer(experiment, datasets, torch.device("cpu"))
    trainer.model.train()
    batch = trainer.loader.load_batch(datasets.train, np.arange(4)).batch
    assert batch.alignment is not None
    output = trainer.model(
        batch.source, batch.source_mask_bs, batch.target_in_bt, need_weights=True
    )
    guidance = alignment_loss(output.weights_bts, batch.alignment)
    assert (output.alignment_bts is None) == (alignment_size is None)
    if output.alignment_bts is not None:
        masks = batch.source_mask_bs, batch.target_mask_bt
        guidance = guidance + alignment_loss(output.alignment_bts, batch.alignment)
        guidance = guidance + empty_word_loss(output.alignment_bts, batch.alignment, *masks)
    options: dict[str, Any] = {"smoothing": 0.1, "chunk": 100}
    plain, _ = batch_loss(trainer.model, batch, **options)
    guided, nll = batch_loss(trainer.model, batch, **options, guidance=2.0)
    assert guided.item() == pytest.approx((plain + 2.0 * guidance).item(), rel=1e-6)
    assert nll.item() == pytest.approx(batch_loss(trainer.model, batch, **options)[1].item())

    calls = []
    original = trainer.loss.forward

    def record(batch: Batch, **options: Any) -> Any:
        calls.append(options["guidance"])
        return original(batch, **options)

    trainer.loss.forward = record
    list(islice(trainer.updates(), 4))
    assert calls == [2.0, 2.0, 2.0, 0.0]


def test_attention_learns_the_given_alignments(tmp_path: Path) -> None:
    path = _write(tmp_path, optimizer={"type": "adam", "learning_rate": 0.02})
    experiment = load_experiment(path, ["training.guided_alignment.until=null"]).experiment
    datasets = prepare_datasets(experiment, None)
    trainer = build_trainer(experiment, datasets, torch.device("cpu"))
    batch = trainer.loader.load_batch(datasets.train, np.arange(len(datasets.train))).batch

    def loss() -> float:
        weights_bts = trainer.model(
            batch.source, batch.source_mask_bs, batch.target_in_bt, need_weights=True
        ).weights_bts
        assert batch.alignment is not None
        total = alignment_loss(weights_bts.detach(), batch.alignment)
        return float(total / batch.alignment.shares_x.sum())

    before = loss()
    list(islice(trainer.updates(), 40))
    assert loss() < 0.75 * before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.guided_alignment=null"], "no effect without training.guided_alignment"),
        (["data.alignments=null"], "training.guided_alignment: requires data.alignments"),
        (["data.alignments=absent"], r"data.alignments: \S*absent not found"),
        (["data.alignments=[]"], "the list is empty"),
        (["data.valid=0.1"], "alignments requires a validation text in files of its own"),
        (["training.recurrence=graph"], "'graph' is not possible with guided_alignment"),
        (["data.vocabulary={size: 60, sampling: {}}"], "cannot be used with vocabulary.sampling"),
        (["model.decoder={type: plain}", "model.attention=null"], "which has no attention"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    called = nmt_train(_write(tmp_path), "--check", *overrides)
    assert called.code == 2
    assert re.search(message, called.err), called.err


def test_one_head_of_a_transformer_is_guided(tmp_path: Path) -> None:
    layers = {"type": "transformer", "layers": 2, "heads": 2, "feed_forward_size": 8}
    overrides = [f"model.{part}={layers}" for part in ("encoder", "decoder")]
    overrides.append("model.embedding_size=8")
    guided = load_experiment(_write(tmp_path), overrides).experiment
    assert guided.model.decoder.options["alignment_head"] == 1
    assert "alignment_head: 1" in (
        write_experiment(tmp_path / "resolved.yaml", guided.to_dict()).read_text()
    )
    overrides += ["model.decoder.alignment_head=2"]
    given = load_experiment(_write(tmp_path), overrides).experiment
    assert given.model.decoder.options["alignment_head"] == 2


def test_validation_reports_the_error_rate_of_the_gold_alignments(tmp_path: Path) -> None:
    path, run = _write(tmp_path), tmp_path / "run"
    gold = tmp_path / "gold"
    lines = lines_of(tmp_path / "links")
    gold.write_text("\n".join([lines[0].replace("1-1", "1p1"), *lines[1:]]) + "\n")
    overrides = [
        f"data.valid={PHRASES}",
        f"evaluation.alignments.gold={gold}",
        "training.early_stopping.metric=aer",
    ]
    called = nmt_train(path, "--run", run, *overrides)
    assert called.code == 0, called.err
    sources, targets = (lines_of(PHRASES.with_suffix(f".{side}")) for side in ("de", "en"))
    translations = Translator.load(run, device="cpu").score(sources, targets)
    links = read_pharaoh(gold)
    expected = alignment_error_rate(
        [set(one.alignment) for one in translations],
        [own.sure for own in links],
        [own.possible for own in links],
    )
    (report,) = (one for one in reports(run) if one["kind"] == "valid")
    assert report["aer"] == pytest.approx(100 * expected.error_rate)
    assert f"aer {report['aer']:.2f}" in called.err


def test_error_rate_of_alignments_selects_the_best_of_several_validations(tmp_path: Path) -> None:
    path, run = _write(tmp_path), tmp_path / "run"
    overrides = [
        f"data.valid={PHRASES}",
        f"evaluation.alignments.gold={tmp_path / 'links'}",
        "training.early_stopping.metric=aer",
        "training.validate_every=1",
    ]
    called = nmt_train(path, "--run", run, *overrides)
    assert called.code == 0, called.err
    rates = [one["aer"] for one in reports(run) if one["kind"] == "valid"]
    assert len(rates) > 1
    assert f"best aer {min(rates):.4f} after update" in called.err
    # Lower rates are better.
    is_improving = rates[-1] < min(rates[:-1])
    assert ("aer was still improving" in called.err) == is_improving


def test_continued_run_requires_the_same_alignments(tmp_path: Path) -> None:
    path, run = _write(tmp_path, save_every=1), tmp_path / "run"
    called = nmt_train(path, "--run", run)
    assert called.code == 0, called.err
    links = tmp_path / "links"
    links.rename(tmp_path / "moved")
    more = ("--run", run, "training.steps=5")
    called = nmt_train(path, *more, f"data.alignments={tmp_path / 'moved'}")
    assert called.code == 0, called.err
    links.write_text((tmp_path / "moved").read_text().replace("0-0", "0-1", 1))
    called = nmt_train(path, "--run", run, "training.steps=6")
    assert called.code == 2
    assert "the alignment text has changed since update 5" in called.err


def test_decoder_whose_forward_returns_no_weights_is_refused(tmp_path: Path) -> None:
    loaded = load_experiment(_write(tmp_path))
    model = check_model(loaded.experiment.model, joint=True)
    check_options_of_attention(loaded, model)

    def forward(embedded_btm: Any, source: Any) -> Any: ...

    setattr(model.decoder, "forward", forward)  # noqa: B010 (mypy forbids the assignment)
    with pytest.raises(UserErrors, match="'forward' of decoder 'bahdanau' accepts need_weights"):
        check_options_of_attention(loaded, model)


def test_decoder_without_attention_learns_alignments(tmp_path: Path) -> None:
    run, gold = tmp_path / "run", tmp_path / "links"
    overrides = ["model.decoder={type: plain}", "model.attention=null", "model.alignment_size=8"]
    overrides += [f"data.valid={PHRASES}", f"evaluation.alignments.gold={gold}"]
    overrides += ["evaluation.pictures=0", "search.replace_unknown=true"]
    called = nmt_train(_write(tmp_path), "--run", run, *overrides)
    assert called.code == 0, called.err
    (report,) = (one for one in reports(run) if one["kind"] == "valid")
    assert 0 < report["aer"] <= 100
    (found,) = Translator.load(run, device="cpu").score(["Ein Mann"], ["a man"])
    assert found.attention is None and found.alignment_weights is not None
    assert found.to_dict()["alignment"] == [list(link) for link in found.alignment]


def test_commands_align_by_the_attention_for_alignments(tmp_path: Path) -> None:
    """Require the links and rates of the commands to be those of the translator."""
    run, gold, links = tmp_path / "run", tmp_path / "links", tmp_path / "found"
    source, target = (PHRASES.with_suffix(f".{side}") for side in ("de", "en"))

    def command(name: str, *arguments: object) -> str:
        line = [sys.executable, "-m", f"nmt.cli.{name}", *map(str, arguments)]
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout

    overrides = ["model.alignment_size=24", "training.guided_alignment.until=null"]
    overrides += [f"evaluation.alignments.gold={gold}", f"data.valid={PHRASES}"]
    overrides += ["training.epochs=25", "training.steps=null", "training.validate_every=50"]
    overrides += ["training.early_stopping.metric=aer"]
    command("train", _write(tmp_path), "--run", run, *overrides)
    page = tmp_path / "report.html"
    scores = ("--score-targets", target, "-o", tmp_path / "scores", "--report", page)
    command("translate", "-m", run, source, "--alignments", links, *scores)
    rates = json.loads(command("evaluate", "--alignments", links, "--gold", gold, "--json"))
    found = rates["aer"]["score"]
    assert found == pytest.approx(min(one.get("aer", 100) for one in reports(run)))
    translator = Translator.load(run, device="cpu")
    scored = translator.score(lines_of(source), lines_of(target))
    assert lines_of(links) == [to_pharaoh(one.alignment) for one in scored]
    # The attention of the decoder has other links.
    attended = [replace(one, alignment_weights=None).alignment for one in scored]
    assert attended != [one.alignment for one in scored]
    (shown,) = Page(page).details[0]["targets"]
    assert [view["name"] for view in shown["views"]] == ["attention", "alignment"]
    command("translate", "-m", run, source, "--alignments", links, "-o", tmp_path / "output")
    searched = translator.translate(lines_of(source))
    assert lines_of(links) == [to_pharaoh(one.alignment) for one in searched]
