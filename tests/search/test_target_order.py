"""Models that generate from right to left, and reranking, against exhaustive enumeration."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nmt.config.loader import load_experiment
from nmt.config.schema import ModelConfig
from nmt.config.search_options import SearchOptions
from nmt.data.loader import make_batch
from nmt.data.vocabularies.words import BOS, EOS, PAD, UNK, WordVocabulary
from nmt.errors import UserError
from nmt.inference.saved_model import load_saved_model
from nmt.model.build import build_model
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import ComponentConfig
from nmt.search.translator import Translator
from nmt.storage.run_dir import RunDir
from nmt.training.batch_loss import batch_loss
from nmt.training.datasets import prepare_datasets
from tests.commands import PHRASES, lines_of, nmt_train, write_experiment

SOURCE = WordVocabulary.make(["x", "y", "z"])
ALL = [" ".join(words) for length in range(4) for words in product("abc", repeat=length)]
"""All translations of at most three words; those of three do not end before the maximum length."""
TEXTS = [text for text in ALL if len(text.split()) < 3]
SENTENCES = ["z", "y y z x"]


def make(seed: int, words: str = "abc", *, right_to_left: bool = False) -> Translator:
    """Return an untrained translator that never generates special tokens but `</s>`."""
    torch.manual_seed(seed)
    config = ModelConfig(
        embedding_size=8,
        encoder=ComponentConfig("bilstm", {"hidden_size": 8}),
        decoder=ComponentConfig("bahdanau", {"hidden_size": 8}),
        attention=ComponentConfig("global"),
        score=ComponentConfig("additive"),
    )
    vocabulary = WordVocabulary.make(words)
    model = build_model(config, len(SOURCE), len(vocabulary)).eval().requires_grad_(False)
    model.output_layer.weight *= 4
    model.output_layer.bias[[PAD, BOS, UNK]] = float("-inf")
    translator = Translator(
        [model],
        SOURCE,
        vocabulary,
        SearchOptions(),
        device=torch.device("cpu"),
        right_to_left=right_to_left,
    )
    setattr(translator, "trained", model)  # noqa: B010 (mypy forbids the assignment)
    return translator


def steps_of(translator: Translator, sentence: str, tokens: Sequence[int]) -> list[Any]:
    """Return the predictions of the model that generates tokens one after another."""
    model: Seq2Seq = getattr(translator, "trained")  # noqa: B009
    source = torch.tensor([[*SOURCE.encode(sentence), EOS]])
    memory, state = model.start(source, torch.ones_like(source, dtype=torch.bool))
    predictions = []
    for token in [BOS, *tokens]:
        predictions.append(model.step(torch.tensor([token]), memory, state))
        state = predictions[-1].state
    return predictions


def token_log_probs(translator: Translator, sentence: str, text: str) -> list[float]:
    """Return log p of each token of a text in the order of generation, that of `</s>` last."""
    tokens = translator.target_vocabulary.encode(text)
    tokens = tokens[::-1] if translator.is_right_to_left else tokens
    predictions = steps_of(translator, sentence, tokens)
    return [
        float(one.log_probs_nv[0, token])
        for one, token in zip(predictions, [*tokens, EOS], strict=True)
    ]


@pytest.fixture(scope="module")
def reversed_translator() -> Translator:
    return make(1, right_to_left=True)


def test_score_is_that_of_the_reversed_tokens(reversed_translator: Translator) -> None:
    (found,) = reversed_translator.score("y y z x", "a b c", quality=True, alternatives=2)
    expected = token_log_probs(reversed_translator, "y y z x", "a b c")
    assert found.log_prob == pytest.approx(sum(expected), rel=1e-5)
    # Results are in the order of the text: the model has generated c, b, a and </s>.
    order = [2, 1, 0, 3]
    assert found.pieces == ("a", "b", "c")
    assert [found.text[start:end] for start, end in found.spans] == ["a", "b", "c"]
    assert found.piece_scores == pytest.approx([expected[step] for step in order], rel=1e-4)
    tokens = reversed_translator.target_vocabulary.encode("c b a")
    predictions = steps_of(reversed_translator, "y y z x", tokens)
    assert found.attention is not None
    for row, step in enumerate(order):
        prediction = predictions[step]
        torch.testing.assert_close(found.attention[row], prediction.weights_ns[0])
        probs_v = prediction.log_probs_nv[0].double().exp()
        entropy = -(probs_v * probs_v.clamp_min(1e-300).log()).sum().item()
        assert found.entropies[row] == pytest.approx(entropy, rel=1e-4)
        best = prediction.log_probs_nv[0].topk(3).values.tolist()
        given = found.piece_scores[row]
        others = sorted((one for one in best if one != pytest.approx(given)), reverse=True)[:2]
        assert [one.score for one in found.alternatives[row]] == pytest.approx(others, rel=1e-4)
    (views,) = reversed_translator.attention_views([found], ["own"], SearchOptions())
    assert views["own"].attention is not None
    torch.testing.assert_close(views["own"].attention, found.attention)


def test_search_from_right_to_left_is_exhaustive_with_a_wide_beam(
    reversed_translator: Translator,
) -> None:
    options: dict[str, Any] = {"beam_size": len(ALL), "n_best": len(TEXTS), "max_length": 3}
    found = reversed_translator.translate(SENTENCES, length_penalty="none", **options)
    for one in found:
        scores = {t: sum(token_log_probs(reversed_translator, one.source, t)) for t in TEXTS}
        ranked = sorted(TEXTS, key=lambda text: -scores[text])
        assert [other.text for other in one.n_best] == ranked
        assert one.score == pytest.approx(max(scores.values()), rel=1e-5)


def test_reranking_chooses_the_best_weighted_mean_of_all_translations() -> None:
    translator, other, third = make(2), make(3, "cba", right_to_left=True), make(4, "bca")
    translator.add_reranker(other, 0.7)
    translator.add_reranker(third, 0.7)
    options: dict[str, Any] = {"beam_size": len(ALL), "max_length": 3}
    found = translator.translate(SENTENCES, n_best=len(ALL), **options)
    changed = 0
    for one in found[-1:]:

        def scores(text: str, sentence: str = one.source) -> list[float]:
            models = (translator, other, third)
            own, *others = (token_log_probs(one, sentence, text) for one in models)
            own = own if text in TEXTS else own[:-1]
            return [sum(log_probs) / len(log_probs) for log_probs in (own, *others)]

        by_text = {text: scores(text) for text in ALL}
        means = {t: (s[0] + 0.7 * s[1] + 0.7 * s[2]) / 2.4 for t, s in by_text.items()}
        assert {t.text for t in one.n_best} == set(ALL)
        found_scores = [t.score for t in one.n_best]
        assert found_scores == sorted(found_scores, reverse=True)
        assert one.text == max(ALL, key=lambda t: means[t])
        for t in one.n_best:
            assert t.score == pytest.approx(means[t.text], rel=1e-4)
            assert t.model_scores == pytest.approx(by_text[t.text], rel=1e-4)
        changed += one.text != max(ALL, key=lambda text: by_text[text][0])
        entries: Any = one.to_dict()["n_best"]
        assert entries[0]["model_scores"] == list(one.model_scores)
    assert changed
    # A given translation is scored by all models.
    ended = next(one for one in found[0].n_best if one.finished)
    (given,) = translator.score(SENTENCES[0], ended.text)
    assert given.score == pytest.approx(ended.score, rel=1e-5)
    assert given.model_scores == pytest.approx(ended.model_scores, rel=1e-5)
    alone = translator.translate(SENTENCES, batch_sentences=1, **options)
    assert [(t.text, t.score) for t in alone] == [(t.text, t.score) for t in found]


def test_options_that_exclude_reranking_or_reversed_targets_are_errors(
    reversed_translator: Translator,
) -> None:
    translator = make(2)
    for weight in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UserError, match="rerank_weight must be above 0"):
            translator.add_reranker(reversed_translator, weight)
    translator.add_reranker(reversed_translator)
    cases: dict[str, dict[str, Any]] = {
        "sampling is not possible with rerank": {"sampling": {}},
        "mbr is not possible with rerank": {"mbr": "chrf"},
        "rerank requires several hypotheses": {"beam_size": 1},
    }
    for message, options in cases.items():
        with pytest.raises(UserError, match=message):
            translator.translate("x", **options)
    with pytest.raises(UserError, match=r"constraints are not possible with data\.target_order"):
        reversed_translator.translate("x", terms="a")
    with pytest.raises(UserError, match=r"interventions are not possible with data\.target_order"):
        reversed_translator.intervene("x", pieces=["a"])


def test_models_of_different_orders_form_no_ensemble(trained: Any) -> None:
    saved = load_saved_model(trained)
    data = saved.experiment.data.model_copy(update={"target_order": "right_to_left"})
    other = replace(saved, experiment=saved.experiment.model_copy(update={"data": data}))
    assert saved.ensemble_difference(other) == "another data.target_order"
    assert Translator.from_saved([other]).is_right_to_left


def test_trained_run_generates_from_right_to_left(
    experiment: dict[str, Any], tmp_path: Path
) -> None:
    experiment["data"]["target_order"] = "right_to_left"
    experiment["training"] |= {"epochs": None, "steps": 2}
    experiment["search"] = {"beam_size": 2, "max_length": 6}
    experiment["evaluation"] = {"samples": 0, "pictures": 0}
    path, run = write_experiment(tmp_path / "a.yaml", experiment), tmp_path / "run"
    called = nmt_train(path, "--run", run)
    assert called.code == 0, called.err
    corpus = prepare_datasets(load_experiment(path).experiment, RunDir(run)).train
    translator = Translator.load(run)
    special = translator.target_vocabulary.special_tokens
    batch = make_batch(corpus, np.array([3]), (special, special))
    assert batch.target_out_bt[0].tolist() == [*corpus[3][1][::-1], special.eos]
    # The training loss of a pair is its score in search.
    model = load_saved_model(run).model
    _, nll = batch_loss(model, batch, smoothing=0.0, chunk=64)
    text, target = (lines_of(PHRASES.with_suffix(f".{side}"))[3] for side in ("de", "en"))
    assert translator.score(text, target)[0].log_prob == pytest.approx(-float(nll), rel=1e-4)
