"""Estimates of quality compared with their formulas, and their correlation with chrF."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sacrebleu.metrics.chrf import CHRF

from nmt.errors import UserError
from nmt.evaluation.quality import quality_correlations, quality_features
from nmt.evaluation.report.confidence import attention_confidence
from nmt.search.stepwise import step_entropies
from nmt.search.translation import Translation
from tests.commands import nmt_eval
from tests.search.tables import BOS, EOS, START, Table

SCORES = (-0.5, -1.25, -0.1)


def test_features_equal_their_formulas() -> None:
    weights_ts = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    one = Translation("a b", "c d", piece_scores=SCORES, attention=weights_ts)
    features = quality_features(replace(one, entropies=(0.3, 0.5, 1.0)))
    assert features == pytest.approx(
        {
            "probability": np.mean(SCORES),
            "deviation": np.std(SCORES),
            "entropy": 0.6,
            "attention": attention_confidence(weights_ts).percent,
        }
    )
    assert quality_features(replace(one, attention=None)) == pytest.approx(
        {"probability": np.mean(SCORES), "deviation": np.std(SCORES)}
    )
    assert quality_features(Translation("")) is None


def test_entropy_is_that_of_the_whole_distribution_at_each_step() -> None:
    table = Table(2, 3)
    table.log_probs[1][START[0]][START[1]] = [math.log(0.5), -math.inf, math.log(0.5), -math.inf]
    sequences = [[2, 3, EOS], [2]]
    found = step_entropies(table.step, *table.start(), sequences, bos=BOS, eos=EOS)
    for sentence, tokens in enumerate(sequences):
        assert len(found[sentence]) == len(tokens)
        for position, entropy in enumerate(found[sentence]):
            before, last = [*START, *tokens[:position]][-2:]
            logs = table.log_probs[sentence][before][last]
            expected = -sum(math.exp(one) * one for one in logs if one > -math.inf)
            assert entropy == pytest.approx(expected)
    assert found[1] == [pytest.approx(math.log(2))]


def _write(folder: Path, qualities: list[dict[str, float] | None]) -> tuple[Path, Path]:
    texts = ["the cat sat", "a dog", "", "two birds fly"]
    lines = [
        json.dumps({"translation": text, "quality": quality})
        for text, quality in zip(texts, qualities, strict=True)
    ]
    (folder / "out.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "reference").write_text("the cat sits\na cat\nnothing\ntwo birds flew away\n")
    return folder / "out.jsonl", folder / "reference"


def test_correlation_is_pearsons_with_chrf_of_sentences(tmp_path: Path) -> None:
    features = [{"probability": -0.2}, {"probability": -1.5}, None, {"probability": -0.9}]
    output, reference = _write(tmp_path, features)
    pairs = [("the cat sat", "the cat sits"), ("a dog", "a cat")]
    pairs.append(("two birds fly", "two birds flew away"))
    values = [CHRF().sentence_score(text, [other]).score for text, other in pairs]
    expected = np.corrcoef([-0.2, -1.5, -0.9], values)[0, 1]
    found = quality_correlations(output, reference)
    assert found == {"probability": pytest.approx(expected)}
    called = nmt_eval("--quality", output, reference, "--json")
    assert json.loads(called.out)["probability"]["score"] == pytest.approx(expected)
    refused = nmt_eval("--quality", output, reference, "--metrics", "bleu")
    assert "--quality requires one REFERENCE" in refused.complaint


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    output, reference = _write(tmp_path, [{"probability": -1.0}] * 4)
    with pytest.raises(UserError, match="is the same for all sentences"):
        quality_correlations(output, reference)
    (tmp_path / "short").write_text("one line\n")
    with pytest.raises(UserError, match=r"1 lines, but .* has 4"):
        quality_correlations(output, tmp_path / "short")
    with pytest.raises(UserError, match="reference:1: is not a translation with its quality"):
        quality_correlations(reference, reference)
    output, reference = _write(tmp_path, [{"probability": -1.0}, {"entropy": 1.0}, None, None])
    with pytest.raises(UserError, match="some translations have no probability"):
        quality_correlations(output, reference)
    for damaged in (
        '{"translation": 1, "quality": null}',
        '{"translation": "", "quality": {"p": []}}',
    ):
        (tmp_path / "damaged").write_text(f"{damaged}\n" * 4)
        with pytest.raises(UserError, match="damaged:1: is not a translation with its quality"):
            quality_correlations(tmp_path / "damaged", reference)
