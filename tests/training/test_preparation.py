"""What is told before training starts."""

from pathlib import Path
from typing import Any

import pytest

from nmt.config.load import load_experiment
from nmt.data.learning import VocabularyType
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.training.preparation import prepare
from tests.commands import PHRASES, lines_of, write_experiment


@pytest.mark.parametrize("type", ["bpe", "char"])
def test_a_ready_vocabulary_that_cannot_sample_is_told_at_the_start(
    type: VocabularyType, experiment: dict[str, Any], tmp_path: Path
) -> None:
    model = tmp_path / "ready.model"
    text = [line for side in ("de", "en") for line in lines_of(PHRASES.with_suffix(f".{side}"))]
    Vocabulary.train(text, size=80, type=type).save(model)
    experiment["data"]["vocabulary"] = {"model": str(model), "sampling": {"alpha": 0.2}}
    loaded = load_experiment(write_experiment(tmp_path / "one.yaml", experiment)).experiment
    with pytest.raises(UserError, match=r"data\.vocabulary\.sampling needs .* type unigram"):
        prepare(loaded, None)
