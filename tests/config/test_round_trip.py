"""The resolved experiment, written and read, is the same experiment."""

from pathlib import Path

import pytest
import yaml

from nmt.config.loader import load_experiment, load_resolved
from nmt.registry import DECODERS
from tests.config.conftest import NEEDED, Write
from tests.model.blind import BlindDecoder

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
VARIANTS = {
    "defaults": [],
    "no clipping": ["training.clip_norm=null"],
    "a vocabulary made elsewhere": ["data.vocabulary.model=some.model"],
    "two made elsewhere": [
        "data.vocabulary.model=[source.model, target.model]",
        "data.vocabulary.joint=false",
    ],
    "other parts": [
        "model.decoder={type: luong, initial_state: last, hidden_size: 512}",
        "model.score={type: location, max_length: 50}",
        "training.schedule={type: cosine, steps: 10}",
        "search.coverage_penalty=gnmt",
    ],
    "several files": ["data.train=[a, b]", "data.vocabulary.sampling.nbest=4"],
    "small numbers": ["training.optimizer.learning_rate=1e-7", "training.ema=0.9999"],
}


def _resolved(write: Write, file: Path, *overrides: str) -> None:
    experiment = load_experiment(file, overrides).experiment
    text = yaml.safe_dump(experiment.to_dict(), allow_unicode=True)
    again = load_resolved(write(text, "elsewhere/config.yaml"))
    assert again == experiment
    assert again.to_dict() == experiment.to_dict()


@pytest.mark.parametrize("overrides", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_resolved_experiment_is_read_as_the_same_one(write: Write, overrides: list[str]) -> None:
    _resolved(write, write(NEEDED), *overrides)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda file: file.stem)
def test_the_configs_of_the_house_are_read_as_the_same(write: Write, config: Path) -> None:
    _resolved(write, config)


def test_a_model_without_attention_is_read_as_the_same(write: Write, own_parts: Path) -> None:
    DECODERS.register("blind")(BlindDecoder)
    _resolved(write, write(NEEDED), "model.decoder=blind")


def test_the_tree_holds_defaults_and_only_plain_data(write: Write, tmp_path: Path) -> None:
    tree = load_experiment(write(NEEDED)).experiment.to_dict()
    assert tree["data"]["train"] == str(tmp_path / "train")
    assert tree["training"]["optimizer"]["learning_rate"] == 0.001
    assert tree["model"]["score"] == {"type": "additive", "hidden_size": None}
    assert tree["search"]["length_penalty"] == {"type": "average", "alpha": 1.0}
    yaml.safe_dump(tree)
