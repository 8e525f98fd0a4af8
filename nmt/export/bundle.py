"""The files of a bundle, from a trained model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml
from torch import Tensor

from nmt.config.schema import Experiment
from nmt.data.vocabularies.saved import vocabulary_files
from nmt.data.vocabulary import Vocabulary
from nmt.inference.quantization import quantize_weights
from nmt.inference.saved_model import SavedModel
from nmt.model.seq2seq import Seq2Seq
from nmt.model.weights import weight_tensors
from nmt.storage.bundle import CARD, CONFIG, FORMAT, INFO, SHORTLIST, WEIGHTS, StoredPrecision
from nmt.version import VERSION


def bundle_files(saved: SavedModel, precision: StoredPrecision, card: str) -> dict[str, bytes]:
    """Return the content of each file of a bundle, without the checksums.

    Args:
        saved: the trained model
        precision: fp32 for the weights as they are; bf16 for half the size; int8 for about a
            quarter, see `nmt.inference.quantization`
        card: model card, in Markdown
    """
    weights, blocks = _weights(saved.model, precision)
    info = {"format": FORMAT, "nmt": VERSION, "precision": precision, "step": saved.step}
    source = saved.source if isinstance(saved.source, Vocabulary) else None
    vocabularies = vocabulary_files((source, saved.target_vocabulary))
    shortlist = {} if saved.shortlist is None else {SHORTLIST: saved.shortlist().to_bytes()}
    return {
        INFO: (json.dumps(info | {"blocks": blocks}, indent=1) + "\n").encode(),
        CONFIG: portable_config(saved.experiment).encode(),
        **{f"vocabulary/{name}": content for name, content in vocabularies.items()},
        **shortlist,
        WEIGHTS: safetensors.torch.save(weights, metadata={"format": "pt"}),
        CARD: card.encode(),
    }


def portable_config(experiment: Experiment) -> str:
    """Return an experiment as YAML with file names in place of paths, which another machine lacks.

    Paths also contain names of users and projects, which are private.
    """
    values = _without_folders(experiment.model_dump(), experiment.to_dict())
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
    return text


def _without_folders(value: Any, plain: Any) -> Any:
    """Return `plain`, the data of `value` for YAML, with the last part of each path."""
    if isinstance(value, Path):
        return value.name
    if isinstance(value, Mapping):
        return {name: _without_folders(value[name], plain[name]) for name in value}
    if isinstance(value, list | tuple):
        return [_without_folders(*pair) for pair in zip(value, plain, strict=True)]
    return plain


def _weights(
    model: Seq2Seq, precision: StoredPrecision
) -> tuple[dict[str, Tensor], dict[str, list[int]]]:
    """Return the weights of a bundle, and the column blocks of its matrices of integers."""
    if precision == "int8":
        weights, blocks = quantize_weights(model)
    else:
        weights, blocks = weight_tensors(model), {}
        if precision == "bf16":
            weights = {name: tensor.to(torch.bfloat16) for name, tensor in weights.items()}
    return {name: t.detach().contiguous() for name, t in sorted(weights.items())}, blocks
