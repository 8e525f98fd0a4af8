"""Loading the trained model of a run."""

from pathlib import Path

import pytest
import torch

from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.inference.saved_model import load_saved_model
from nmt.model.weights import load_weights
from nmt.storage.checkpoint import read_weights


def test_average_is_the_mean_of_the_kept_checkpoints(trained: Path) -> None:
    mean = load_saved_model(trained, "average").model.state_dict()
    parts = [read_weights(trained / "checkpoints" / s) for s in ("100", "150")]
    for name, tensor in parts[0].items():
        exact = (tensor.double() + parts[1][name].double()) / 2
        assert torch.equal(mean[name], exact.float())


def test_a_loaded_model_is_in_evaluation_mode_without_gradients(trained: Path) -> None:
    saved = load_saved_model(trained)
    assert not saved.model.training
    assert not any(parameter.requires_grad for parameter in saved.model.parameters())
    # A joint vocabulary: the same subwords, with another normalization of the source.
    assert isinstance(saved.source, Vocabulary)
    assert saved.source.fingerprint != saved.target_vocabulary.fingerprint
    assert len(saved.source) == len(saved.target_vocabulary)
    assert saved.warnings == ()


def test_weights_of_another_model_are_a_user_error(trained: Path) -> None:
    model = load_saved_model(trained).model
    weights = {name: p.clone() for name, p in model.named_parameters()}
    bias = weights.pop("output_layer.bias")
    with pytest.raises(
        UserError, match=r"here: holds weights of another model \(output_layer.bias"
    ):
        load_weights(model, weights, "here")
    with pytest.raises(UserError, match=r"output_layer\.bias does not fit"):
        load_weights(model, weights | {"output_layer.bias": bias[1:]}, "here")
    with pytest.raises(UserError, match="odd does not fit"):
        load_weights(model, weights | {"output_layer.bias": bias, "odd": bias}, "here")


def test_a_directory_without_a_run_is_a_user_error(tmp_path: Path) -> None:
    empty, absent = "is not a run: it has no config.yaml", "not found; give a run or a bundle"
    for folder, message in ((tmp_path, empty), (tmp_path / "nowhere", absent)):
        with pytest.raises(UserError, match=f"{folder}: {message}$"):
            load_saved_model(folder)
