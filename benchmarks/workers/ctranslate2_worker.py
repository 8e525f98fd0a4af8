"""Worker for CTranslate2, with the Transformer that the worker of this toolkit has.

The model is written as by `nmt-export --ctranslate2`, so its Python needs this toolkit's
requirements too. It only translates.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ctranslate2
import torch

from nmt.config.loader import load_values
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.export.ctranslate2 import write_ctranslate2
from nmt.inference.saved_model import SavedModel
from nmt.model.build import build_model
from workers.ids import Array
from workers.nmt_worker import model_config
from workers.serve import Worker, main

COMPUTE_TYPES = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}


class Ctranslate2Worker(Worker):
    """Worker for CTranslate2; the task `prepare` has the options of `NmtWorker`.

    The option `vocabulary` is the SentencePiece model of the ids.
    """

    packages = ("ctranslate2",)
    tasks = ("prepare", "translate")

    def build(self, dtype: str, device: str, options: dict[str, Any]) -> tuple[int, str]:
        config, size = model_config(self.sizes, options["model"]), self.ids.vocabulary
        model = build_model(config, size, size).eval().requires_grad_(False)
        vocabulary = SentencePieceVocabulary.load(options["vocabulary"])
        data = {"train": "a", "valid": "b", "source": "a", "target": "b"}
        experiment = load_values({"data": data}, {"training.epochs": 1}).experiment
        saved = SavedModel(model, vocabulary, vocabulary, experiment, ())
        with TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            write_ctranslate2(folder, saved)
            self.engine = ctranslate2.Translator(
                str(folder),
                device=device,
                compute_type=COMPUTE_TYPES[dtype],
                inter_threads=1,
                intra_threads=torch.get_num_threads(),
            )
        self.tokens = vocabulary.tokens(range(len(vocabulary)))
        self.numbers = {token: number for number, token in enumerate(self.tokens)}
        return sum(parameter.numel() for parameter in model.parameters()), ""

    def update(self, number: int) -> float:
        raise NotImplementedError("CTranslate2 does not train")

    def search(self, sentences: list[Array], beam: int, length: int | None) -> list[list[int]]:
        found = self.engine.translate_batch(
            [[self.tokens[token] for token in sentence] for sentence in sentences],
            beam_size=beam,
            length_penalty=1,
            min_decoding_length=length or 1,
            max_decoding_length=length or 2 * max(map(len, sentences)) + 20,
        )
        return [[self.numbers[token] for token in best.hypotheses[0]] for best in found]

    def parameters(self) -> Any:
        raise NotImplementedError("the engine has no parameters of torch")


if __name__ == "__main__":
    main(Ctranslate2Worker())
