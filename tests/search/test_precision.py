"""Translation in other number formats."""

from pathlib import Path

import pytest

from nmt.errors import UserError
from nmt.search.translator import Translator


def test_int8_translations_are_nearly_those_of_fp32(
    trained: Path, translator: Translator, sources: list[str]
) -> None:
    rounded = Translator.load(trained, precision="int8")
    found, exact = rounded.translate(sources), translator.translate(sources)
    same = sum(one.text == two.text for one, two in zip(found, exact, strict=True))
    assert same >= 0.8 * len(sources)
    targets = [t.text for t in exact]
    scores = (t.score(sources, targets) for t in (rounded, translator))
    for one, two in zip(*scores, strict=True):
        assert one.score == pytest.approx(two.score, abs=0.05)


def test_bf16_scores_are_nearly_those_of_fp32(
    trained: Path, translator: Translator, sources: list[str]
) -> None:
    half = Translator.load(trained, precision="bf16")
    targets = [t.text for t in translator.translate(sources[:8])]
    scores = (t.score(sources[:8], targets) for t in (half, translator))
    for one, two in zip(*scores, strict=True):
        assert one.score == pytest.approx(two.score, abs=0.1)
    assert len(half.translate(sources[:8])) == 8


@pytest.mark.parametrize("precision", ["fp16", "tf32"])
def test_precisions_of_a_gpu_are_refused_on_a_cpu(precision: str, trained: Path) -> None:
    with pytest.raises(UserError, match=f"precision {precision} requires a GPU; use bf16 or fp32"):
        Translator.load(trained, precision=precision, device="cpu")
