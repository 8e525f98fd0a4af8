"""The worker of CTranslate2 translates by the model of the worker of this toolkit."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.text import save_ids
from nmt.data.batch import pad
from nmt.data.corpus import find_corpus
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.inference.compile import compile_model
from nmt.model.build import build_model
from nmt.registry import COVERAGE_PENALTIES, LENGTH_PENALTIES, ComponentConfig
from nmt.search.beam import beam_search
from tests.commands import PHRASES
from workers.ids import Sizes
from workers.nmt_worker import model_config

SIZES = replace(Sizes(), embedding=32, layers=2, readout=48)


def test_translations_are_those_of_the_same_transformer(tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2")
    from workers.ctranslate2_worker import Ctranslate2Worker

    lines = [line for pair in find_corpus(PHRASES, "de", "en").pairs() for line in pair]
    vocabulary, file = SentencePieceVocabulary.train(lines, size=180), tmp_path / "a.model"
    vocabulary.save(file)
    sources = vocabulary.encode_batch(lines[:6])
    special = vocabulary.special_tokens
    ids = save_ids(tmp_path / "ids.npz", 180, [[4]], [[4]], sources, np.zeros((1, 1), np.int64))
    worker = Ctranslate2Worker()
    worker.prepare(
        asdict(SIZES), str(ids), "fp32", 1, "cpu", model="transformer", vocabulary=str(file)
    )
    found = worker.translate(beam=1, sentences=3, first=0, count=6, length=None)["ids"]
    torch.manual_seed(1)
    model = build_model(model_config(SIZES, "transformer"), 180, 180).eval()
    source, mask = map(torch.from_numpy, pad([np.array(one) for one in sources], special))
    with torch.inference_mode():
        compiled = compile_model(model, precision="fp32", device=torch.device("cpu"))
        expected = beam_search(
            compiled.step,
            *compiled.start(source, mask),
            bos=special.bos,
            eos=special.eos,
            beam_size=1,
            max_lengths_b=[len(one) for one in found],
            length_penalty=LENGTH_PENALTIES.build(ComponentConfig("average")),
            coverage_penalty=COVERAGE_PENALTIES.build(ComponentConfig("none")),
            source_mask_bs=mask,
        )
    assert [list(best[0].tokens) for best in expected] == found
