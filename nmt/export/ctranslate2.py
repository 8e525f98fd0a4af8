"""Folders with a model of CTranslate2, its vocabularies and an example without nmt."""

from pathlib import Path

from nmt.data.vocabulary import Vocabulary
from nmt.export.engines import check_text_model, write_companions
from nmt.inference.ctranslate2 import build_spec, write_spec
from nmt.inference.saved_model import SavedModel
from nmt.storage.atomic import publish_dir, staging_dir
from nmt.storage.bundle import StoredPrecision

QUANTIZATION = {"fp32": None, "bf16": "bfloat16", "int8": "int8"}


def write_ctranslate2(folder: Path, saved: SavedModel, precision: StoredPrecision = "fp32") -> None:
    """Write a Transformer as a model of CTranslate2, with its vocabularies and an example.

    Args:
        folder: a new folder
        saved: the trained model
        precision: number format of the weights

    Raises:
        UserError: ctranslate2 is not installed, or the model is no Transformer
    """
    check_text_model(saved, "ctranslate2")
    spec = build_spec(saved.model, "--ctranslate2", "write FILE.nmt or --onnx")
    source, target = saved.source, saved.target_vocabulary
    assert isinstance(source, Vocabulary)
    tokens = source.tokens(range(len(source))), target.tokens(range(len(target)))
    spec.config.add_source_eos = True
    with staging_dir(folder.parent, folder.name) as staging:
        write_spec(staging, spec, tokens, target, quantization=QUANTIZATION[precision])
        write_companions(staging, saved, "translate_ctranslate2.py")
        publish_dir(staging, folder)
