"""Bundles of a trained run: the same translations from one file, and nothing but the model."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from nmt.errors import UserError
from nmt.inference.saved_model import load_saved_model
from nmt.search.translator import Translator
from nmt.storage.bundle import read_bundle
from tests.commands import PHRASES, nmt_eval, nmt_export, nmt_translate

SOURCE = PHRASES.with_suffix(".de").read_text(encoding="utf-8").splitlines()[:12]


@pytest.fixture(scope="module")
def bundle(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the tiny run, written by nmt-export."""
    path = tmp_path_factory.mktemp("bundle") / "tiny.nmt"
    called = nmt_export(trained, path, "--license", "cc0-1.0")
    assert (called.code, called.out, called.err) == (0, "", "")
    return path


def texts(model: Path, **options: Any) -> list[tuple[str, float]]:
    translations = Translator.load(model, device="cpu", **options).translate(SOURCE)
    return [(one.text, one.score) for one in translations]


def test_bundle_translates_like_its_run(trained: Path, bundle: Path) -> None:
    assert texts(bundle) == texts(trained)
    assert texts(bundle, fast=True) == texts(trained, fast=True)
    given = "\n".join(SOURCE) + "\n"
    by_run, by_bundle = (nmt_translate("-m", one, given=given).out for one in (trained, bundle))
    assert by_bundle == by_run
    files = [PHRASES.with_suffix(suffix) for suffix in (".de", ".en")]
    assert nmt_eval("-m", bundle, *files).out == nmt_eval("-m", trained, *files).out
    # An ensemble of a run and its bundle is this run.
    assert nmt_translate("-m", bundle, "-m", trained, given=given).out == by_run


def test_bundle_in_int8_is_small_and_is_multiplied_in_int8(
    trained: Path, bundle: Path, tmp_path: Path
) -> None:
    small, half = tmp_path / "int8.nmt", tmp_path / "bf16.nmt"
    assert nmt_export(trained, small, "--precision", "int8").code == 0
    # Also from a bundle.
    assert nmt_export(bundle, half, "--precision", "bf16").code == 0
    full, halved, integers = (
        len(read_bundle(one).files["model.safetensors"]) for one in (bundle, half, small)
    )
    assert halved < 0.55 * full
    assert integers < 0.45 * full
    assert Translator.load(small, device="cpu").models[0].precision == "int8"
    assert Translator.load(small, bundle, device="cpu").models[0].precision == "fp32"
    assert Translator.load(half, device="cpu").models[0].precision == "fp32"
    same = [a == b for (a, _), (b, _) in zip(texts(small), texts(trained), strict=True)]
    assert sum(same) >= len(same) - 1
    assert texts(half, precision="int8") != texts(trained)


def test_bundle_of_a_bundle_is_the_same_model(trained: Path, tmp_path: Path) -> None:
    for precision in ("bf16", "int8"):
        first, second = tmp_path / f"{precision}.nmt", tmp_path / f"{precision}2.nmt"
        assert nmt_export(trained, first, "--precision", precision).code == 0
        assert nmt_export(first, second).code == 0
        one, other = read_bundle(first), read_bundle(second)
        for name in ("bundle.json", "model.safetensors"):
            assert one.files[name] == other.files[name]
        assert f"precision of the weights: {precision}" in other.files["README.md"].decode()


def test_model_is_not_overwritten(bundle: Path, trained: Path, tmp_path: Path) -> None:
    before = bundle.read_bytes()
    complaint = nmt_translate("-m", bundle, "-o", bundle, given="a\n").complaint
    assert complaint.startswith(f"nmt-translate: {bundle}: is both input and output")
    assert bundle.read_bytes() == before
    assert nmt_export(trained, "--hub", tmp_path / "hub").code == 0
    for name in ("model.safetensors", "bundle.json", "README.md", "vocabulary/joint.model"):
        file = tmp_path / "hub" / name
        assert "is part of" in nmt_translate("-m", trained, "-o", file, given="a\n").complaint


def test_bundle_contains_no_paths_of_the_machine(trained: Path, bundle: Path) -> None:
    files = read_bundle(bundle).files
    for name, content in files.items():
        assert str(trained.parent).encode() not in content, name
        assert str(PHRASES.parent).encode() not in content, name
    assert yaml.safe_load(files["config.yaml"])["data"]["valid"] == PHRASES.name


def test_card_states_data_model_scores_and_license(trained: Path, bundle: Path) -> None:
    _, metadata, body = read_bundle(bundle).files["README.md"].decode().split("---\n", 2)
    values = yaml.safe_load(metadata)
    assert values["license"] == "cc0-1.0"
    assert values["language"] == ["de", "en"]
    assert values["pipeline_tag"] == "translation"
    best = load_saved_model(trained).step
    reports = (trained / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    valid = next(r for r in map(json.loads, reports) if (r["kind"], r["step"]) == ("valid", best))
    metrics = values["model-index"][0]["results"][0]["metrics"]
    assert {one["type"]: one["value"] for one in metrics} == {
        name: round(valid[name], 2) for name in ("bleu", "chrf")
    }
    assert all("version:" in one["name"] for one in metrics)
    for part in ("60 pairs read, 60 kept", "encoder: bilstm", "precision of the weights: fp32"):
        assert part in body


def test_scores_of_a_test_set_take_the_place_of_those_of_the_validation(
    trained: Path, tmp_path: Path
) -> None:
    files = [PHRASES.with_suffix(suffix) for suffix in (".de", ".en")]
    scores = tmp_path / "phrases.json"
    scores.write_text(nmt_eval("-m", trained, *files, "--json").out, encoding="utf-8")
    assert nmt_export(trained, tmp_path / "a.nmt", "--scores", scores).code == 0
    card = read_bundle(tmp_path / "a.nmt").files["README.md"].decode()
    bleu = json.loads(scores.read_text(encoding="utf-8"))["bleu"]["score"]
    assert f"| phrases | bleu | {bleu:.2f} |" in card
    assert "validation | bleu" not in card
    missing = nmt_export(trained, tmp_path / "a.nmt", "--scores", tmp_path / "b.json")
    assert "b.json: not found" in missing.complaint
    scores.write_text("[]", encoding="utf-8")
    called = nmt_export(trained, tmp_path / "a.nmt", "--scores", scores)
    assert (
        "phrases.json: contains no scores; give the output of nmt-eval --json" in called.complaint
    )


def test_repository_for_the_hub_translates_like_its_run(trained: Path, tmp_path: Path) -> None:
    assert nmt_export(trained, "--hub", tmp_path / "hub").code == 0
    assert texts(tmp_path / "hub") == texts(trained)
    assert "already exists" in nmt_export(trained, "--hub", tmp_path / "hub").complaint


def test_minimal_copies_of_a_run_translate_like_it(trained: Path, tmp_path: Path) -> None:
    flat, nested = tmp_path / "flat", tmp_path / "nested"
    best = trained / "checkpoints" / "best"
    for copy, weights in ((flat, flat), (nested, nested / "checkpoints" / "7")):
        weights.mkdir(parents=True)
        shutil.copy(trained / "config.yaml", copy)
        shutil.copytree(trained / "vocabulary", copy / "vocabulary")
        shutil.copy(best / "model.safetensors", weights)
        assert texts(copy) == texts(trained)
        (warning,) = load_saved_model(copy).warnings
        assert "has no checksums, so damage of the copy would not be noticed" in warning
    shutil.copy(best / "SHA256SUMS", nested / "checkpoints" / "7")
    assert load_saved_model(nested).warnings == ()
    (nested / "checkpoints" / "7" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"model\.safetensors does not match its checksum"):
        load_saved_model(nested)


def test_model_that_requires_code_is_not_exported(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run", symlinks=True)
    config = yaml.safe_load((trained / "config.yaml").read_text(encoding="utf-8"))
    config["plugins"] = ["mine.py"]
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    complaint = nmt_export(tmp_path / "run", tmp_path / "a.nmt").complaint
    assert complaint.endswith("an exported model contains none")
    assert not (tmp_path / "a.nmt").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "an output is required: FILE.nmt, --hub, --ctranslate2 or --onnx"),
        (("a.zip",), "a.zip: the name of a bundle must end in .nmt"),
        (("--onnx", "a", "--license", "mit"), "--license: has no effect without FILE.nmt or --hub"),
        (("--onnx", "a", "--precision", "int8"), "--precision: has no effect with --onnx"),
        (("--ctranslate2", "a"), "requires the encoder and the decoder transformer"),
        (("a.nmt", "--hub", "a.nmt"), "is the output of both"),
        (("a.nmt", "--name", "a\n---"), "--name: expected one line of text"),
        (("a.nmt", "--license", " "), "--license: expected one line of text"),
    ],
)
def test_options_without_effect_are_refused(
    trained: Path, arguments: tuple[str, ...], message: str
) -> None:
    assert message in nmt_export(trained, *arguments).complaint


def test_checkpoint_of_a_bundle_cannot_be_chosen(bundle: Path) -> None:
    complaint = nmt_translate("-m", bundle, "--checkpoint", "last", given="ja\n").complaint
    assert "checkpoint 'last': a bundle has a single one; leave it out" in complaint
