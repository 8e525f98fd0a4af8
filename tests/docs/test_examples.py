"""The components of the guides: loaded as plugins, checked against `step`, trained and searched."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from nmt.config.loader import load_experiment
from nmt.inference.compile import InferenceModel, compile_model
from nmt.model.attention.mechanism import Mechanism
from nmt.model.attention.score import Score
from nmt.model.build import build_model
from nmt.model.interfaces import Encoded, Encoder
from nmt.model.seq2seq import Seq2Seq
from tests.commands import PHRASES, nmt_train, nmt_translate, write_experiment
from tests.docs.pages import DOCUMENTS, Block, blocks

GUIDES = [document for document in DOCUMENTS if document.name.startswith("adding-")]
EXPERIMENTS = [b for guide in GUIDES for b in blocks(guide, "yaml") if b.title]
VOCABULARY = 40

every_experiment = pytest.mark.parametrize(
    "block", [pytest.param(block, id=block.title) for block in EXPERIMENTS]
)


@pytest.fixture(autouse=True)
def plugin_files(plugin_dir: Path) -> Path:
    """All files that the guides show, in one directory."""
    for guide in GUIDES:
        for block in blocks(guide, "python"):
            if block.title:
                (plugin_dir / block.title).write_text(block.text, encoding="utf-8")
    return plugin_dir


def write(block: Block, folder: Path, **training: Any) -> Path:
    """Write the experiment of a guide with data and a short training."""
    shown = yaml.safe_load(block.text)
    text = {"train": str(PHRASES), "valid": str(PHRASES), "source": "de", "target": "en"}
    shown["data"] = text | {"vocabulary": {"size": 180}}
    shown["training"] = {"batch_sentences": 10, "threads": 1, **training}
    shown["evaluation"] = {"samples": 0, "pictures": 0}
    shown["search"] = {"beam_size": 2, "max_length": 8}
    return write_experiment(folder / block.title, shown)


def build(block: Block, folder: Path) -> Seq2Seq:
    """Build the model of a guide's experiment in float64."""
    experiment = load_experiment(write(block, folder, steps=1)).experiment
    torch.manual_seed(1)
    return build_model(experiment.model, VOCABULARY, VOCABULARY).double()


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return source tokens, source mask and target tokens of three sentences."""
    generator = torch.Generator().manual_seed(2)
    mask_bs = torch.arange(6) < torch.tensor([[6], [3], [1]])
    source_bs = torch.randint(4, VOCABULARY, (3, 6), generator=generator) * mask_bs
    return source_bs, mask_bs, torch.randint(4, VOCABULARY, (3, 5), generator=generator)


def test_every_guide_shows_an_experiment() -> None:
    assert {block.document for block in EXPERIMENTS} == set(GUIDES)
    assert len(GUIDES) == 4


@pytest.mark.parametrize(
    ("guide", "interface"), [("score", Score), ("mechanism", Mechanism), ("encoder", Encoder)]
)
def test_table_of_a_guide_lists_members_of_the_interface(guide: str, interface: type) -> None:
    [document] = [path for path in GUIDES if path.stem.endswith(guide)]
    text = document.read_text(encoding="utf-8")
    members = re.findall(r"^\| `(\w+)", text, re.M)
    assert len(members) >= 4
    attributes = re.findall(r"^ +(\w+):", interface.__doc__ or "", re.M)
    for member in members:
        assert hasattr(interface, member) or member in attributes, member
    assert set(re.findall(r"`Encoded\.(\w+)`", text)) <= set(Encoded._fields)


@every_experiment
def test_forward_equals_step(block: Block, plugin_files: Path) -> None:
    """By the function that the guide to decoders shows."""
    spec = importlib.util.spec_from_file_location("check", plugin_files / "check_decoder.py")
    assert spec and spec.loader
    shown = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shown)
    shown.check_forward_equals_step(build(block, plugin_files), *batch())


@every_experiment
def test_weights_are_a_distribution_over_real_positions(block: Block, plugin_files: Path) -> None:
    model, (source_bs, mask_bs, target_bt) = build(block, plugin_files), batch()
    memory, state = model.decoder.start(model.encode(source_bs, mask_bs))
    embedded_bm = model.target_embedding(target_bt[:, 0])
    weights_bs = model.decoder.step(embedded_bm, memory, state).weights_ns
    assert weights_bs is not None
    torch.testing.assert_close(weights_bs.sum(dim=1), torch.ones(3, dtype=torch.float64))
    assert (weights_bs >= 0).all()
    assert weights_bs[~mask_bs].abs().sum() == 0


@every_experiment
def test_padding_does_not_reach_the_output(block: Block, plugin_files: Path) -> None:
    model, (source_bs, mask_bs, target_bt) = build(block, plugin_files).eval(), batch()
    embedded_btm = model.target_embedding(target_bt)
    batched_btd = model.decoder(embedded_btm, model.encode(source_bs, mask_bs)).output_btd
    for row, length in enumerate(mask_bs.sum(dim=1).tolist()):
        alone = model.encode(source_bs[row : row + 1, :length], mask_bs[row : row + 1, :length])
        alone_1td = model.decoder(embedded_btm[row : row + 1], alone).output_btd
        torch.testing.assert_close(batched_btd[row : row + 1], alone_1td)


@every_experiment
def test_compiled_model_equals_step(block: Block, plugin_files: Path) -> None:
    model, (source_bs, mask_bs, target_bt) = build(block, plugin_files).float().eval(), batch()
    both: list[Seq2Seq | InferenceModel] = [model, compile_model(model)]
    with torch.inference_mode():
        memories, states = zip(*(each.start(source_bs, mask_bs) for each in both), strict=True)
        for tokens_b in target_bt.unbind(dim=1):
            rows = zip(both, memories, states, strict=True)
            expected, found = (each.step(tokens_b, memory, state) for each, memory, state in rows)
            torch.testing.assert_close(found.log_probs_nv, expected.log_probs_nv)
            torch.testing.assert_close(found.weights_ns, expected.weights_ns)
            states = (expected.state, found.state)


@pytest.mark.slow
@every_experiment
def test_example_trains_and_translates(block: Block, plugin_files: Path) -> None:
    file = write(block, plugin_files, steps=12, validate_every=6, log_every=1)
    checked = nmt_train(file, "--check")
    assert checked.code == 0, checked.err
    run = plugin_files / "run"
    trained = nmt_train(file, "--run", run)
    assert trained.code == 0, trained.err
    losses = [
        report["loss"]
        for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        if (report := yaml.safe_load(line))["kind"] == "train"
    ]
    assert losses[-1] < losses[0]
    translated = nmt_translate("-m", run, "--trust-plugins", given="Das ist gut.\nJa.\n")
    assert translated.code == 0, translated.err
    assert len(translated.lines) == 2
