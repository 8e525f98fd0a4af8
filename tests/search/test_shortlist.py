"""Search with shortlists, against exhaustive search and against search without one."""

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nmt.data.shortlist import Shortlist
from nmt.errors import UserError
from nmt.export.bundle import bundle_files
from nmt.inference.saved_model import SavedModel, load_saved_model
from nmt.model.interfaces import OutputTokens, Prediction
from nmt.search.ensemble import ensemble
from nmt.search.stepwise import sample
from nmt.search.translation import Translation
from nmt.search.translator import Translator

from .searching import assert_same, search
from .shortlists import random_shortlist
from .tables import BOS, EOS, TOKENS, Table, every_string, unpenalized

CANDIDATES = [[0, 1, 3], [1, 2], [0, 1, 2, 3]]


def limited(table: Table) -> Table:
    """Return the table of the distributions over the candidates of each sentence."""
    other = Table(len(table.log_probs), 0)
    other.weights = table.weights
    for sentence, own in enumerate(CANDIDATES):
        for before in range(TOKENS):
            for last in range(TOKENS):
                row = table.log_probs[sentence][before][last]
                norm = math.log(sum(math.exp(row[token]) for token in own))
                other.log_probs[sentence][before][last] = [
                    row[token] - norm if token in own else -math.inf for token in range(TOKENS)
                ]
    return other


def selecting(table: Table) -> Callable[[Tensor, Any, Any], Prediction]:
    """Return the step of a table that predicts the candidates alone, as a compiled model does.

    The third entry of the memory numbers the sentences, of which search drops those that are done.
    """
    tokens = torch.tensor([own + own[-1:] * (4 - len(own)) for own in CANDIDATES])
    is_padding = torch.tensor([[i >= len(own) for i in range(4)] for own in CANDIDATES])

    def step(tokens_n: Tensor, memory: Any, state: Any) -> Prediction:
        log_probs_bxxv, _, sentence_b = memory
        prediction = table.step(tokens_n, memory, state)
        rows_n = sentence_b.repeat_interleave(len(tokens_n) // len(log_probs_bxxv))
        log_probs_nv = prediction.log_probs_nv.gather(1, tokens[rows_n])
        log_probs_nv = log_probs_nv.masked_fill(is_padding[rows_n], -math.inf).log_softmax(-1)
        outputs = OutputTokens(tokens[sentence_b], TOKENS)
        return prediction._replace(log_probs_nv=log_probs_nv, outputs=outputs)

    return step


class NumberedTable(Table):
    """A table whose memory numbers its sentences."""

    def start(self, order: Any = None) -> tuple[Any, Any]:
        (log_probs, weights, _), state = super().start(order)
        return (log_probs, weights, torch.arange(len(self.log_probs))), state


@pytest.mark.parametrize("options", [{}, {"block_ngram": 6}], ids=["outputs", "vocabulary"])
@pytest.mark.parametrize("models", [1, 2])
def test_search_of_candidates_equals_exhaustive_search(
    options: dict[str, Any], models: int
) -> None:
    table, max_lengths = NumberedTable(3, 5), [4, 3, 2]
    step: Any = selecting(table)
    if models == 2:
        two = ensemble([step, step])

        def step(tokens_n: Tensor, memory: Any, state: Any) -> Prediction:
            prediction = two(tokens_n, (memory, memory), (state, state))
            (state, _), log_probs_nv = prediction.state, prediction.log_probs_nv.double()  # type: ignore[misc]
            return prediction._replace(log_probs_nv=log_probs_nv, state=state)

    found = search(table, step=step, beam_size=120, max_lengths_b=max_lengths, n_best=5, **options)
    expected = limited(table)
    for sentence, max_length in enumerate(max_lengths):
        every = every_string(expected, sentence, max_length)
        possible = [one for one in every if one.log_prob > -math.inf]
        strings = sorted(possible, key=lambda one: (not one.finished, -one.log_prob))[:5]
        if models == 1:
            assert_same(found[sentence], strings, unpenalized)
        else:
            tokens = [tuple(one.tokens) for one in found[sentence]]
            assert tokens == [one.tokens for one in strings]


def test_samples_are_candidates() -> None:
    table = NumberedTable(3, 6)
    found = sample(
        selecting(table),
        *table.start(),
        bos=BOS,
        eos=EOS,
        max_lengths_b=[20] * 3,
        seeds_b=[1, 2, 3],
    )
    for one, own in zip(found, CANDIDATES, strict=True):
        assert set(one.tokens) <= set(own)


@pytest.fixture(scope="module")
def saved(trained: Path) -> SavedModel:
    return load_saved_model(trained)


def whole(saved: SavedModel) -> Shortlist:
    """A shortlist that holds the whole vocabulary."""
    size = len(saved.target_vocabulary)
    nothing = np.zeros(len(saved.source) + 1, np.int32)
    return Shortlist(nothing, np.zeros(0, np.int32), np.arange(size, dtype=np.int32), size)


def narrow(saved: SavedModel) -> Shortlist:
    return random_shortlist(len(saved.source), saved.target_vocabulary)


def translator_with(
    saved: SavedModel, shortlist: Shortlist, *others: SavedModel, **options: Any
) -> Translator:
    return Translator.from_saved([replace(saved, shortlist=lambda: shortlist), *others], **options)


@pytest.fixture(scope="module")
def limited_translator(saved: SavedModel) -> Translator:
    return translator_with(saved, narrow(saved))


def bits(translation: Translation) -> tuple[object, ...]:
    assert translation.attention is not None
    scores, weights = translation.piece_scores, translation.attention.tolist()
    return translation.pieces, translation.score, scores, weights


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_shortlist_of_the_whole_vocabulary_changes_no_bit(
    saved: SavedModel, sources: list[str], precision: str
) -> None:
    translator = translator_with(saved, whole(saved), precision=precision)
    plain, found = (
        translator.translate(sources[:15], shortlist=shortlist) for shortlist in (False, True)
    )
    assert list(map(bits, found)) == list(map(bits, plain))


def test_translations_are_in_the_shortlists(
    saved: SavedModel, limited_translator: Translator, sources: list[str]
) -> None:
    shortlist, pieces_of = narrow(saved), saved.target_vocabulary.tokens
    changed = 0
    plain = limited_translator.translate(sources[:15])
    modes: list[dict[str, Any]] = [{}, {"sampling": {}}, {"block_ngram_repeat": 2}]
    for options in modes:
        found = limited_translator.translate(sources[:15], shortlist=True, **options)
        for one, other in zip(found, plain, strict=True):
            ids = saved.source.encode(one.source)  # type: ignore[union-attr]
            assert {*one.pieces} <= {*pieces_of(shortlist.candidates(ids).tolist())}
            changed += one.text != other.text
    assert changed > 15


def test_ensemble_uses_the_shortlist_of_the_first_model(
    saved: SavedModel, limited_translator: Translator, sources: list[str]
) -> None:
    twice = translator_with(saved, narrow(saved), saved).translate(sources[:8], shortlist=True)
    once = limited_translator.translate(sources[:8], shortlist=True)
    assert [one.text for one in twice] == [one.text for one in once]


def test_constraints_and_interventions_add_their_tokens(
    limited_translator: Translator, sources: list[str]
) -> None:
    options: dict[str, Any] = {"terms": "window", "prefix": "the gar", "shortlist": True}
    together = limited_translator.translate(sources[:6], **options)
    for one in together:
        assert one.text.startswith("the gar")
        assert "window" in one.text
    alone = limited_translator.translate(sources[0], **options)
    assert bits(alone[0]) == bits(together[0])
    pieces = limited_translator.target_vocabulary.tokens([30, 40])
    found = limited_translator.intervene(sources[0], pieces=pieces, shortlist=True)
    assert list(found.pieces[:2]) == pieces
    weights = [1.0] * (len(found.source_pieces) + 1)
    limited_translator.intervene(sources[0], attention={0: weights}, shortlist=True)


def test_targets_to_score_are_not_limited(
    limited_translator: Translator, sources: list[str]
) -> None:
    targets = ["the window is open"] * 5
    plain, found = (
        limited_translator.score(sources[:5], targets, shortlist=shortlist)
        for shortlist in (False, True)
    )
    assert list(map(bits, found)) == list(map(bits, plain))


def test_model_without_shortlist_is_a_user_error(saved: SavedModel) -> None:
    without = replace(saved, shortlist=None)
    translator = Translator.from_saved([without])
    error = f"{saved.location}: shortlist: the model has none; run nmt-train again"
    with pytest.raises(UserError, match=error):
        translator.translate("x", shortlist=True)
    with pytest.raises(UserError, match=error):
        Translator.from_saved([without], fast=True)


def test_damaged_shortlist_is_an_error_only_where_it_is_used(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run, symlinks=True)
    (run / "shortlist.safetensors").write_bytes(b"damaged")
    damaged = load_saved_model(run)
    translator = Translator.from_saved([damaged])
    assert translator.translate("das Fenster")[0].text
    for use in (
        lambda: translator.change_options({"shortlist": True}),
        lambda: bundle_files(damaged, "fp32", ""),
    ):
        with pytest.raises(UserError, match=r"shortlist.safetensors: cannot be read: .*; remove"):
            use()


def test_fast_is_int8_with_a_shortlist(saved: SavedModel, sources: list[str]) -> None:
    fast = translator_with(saved, narrow(saved), fast=True)
    assert fast.options.shortlist
    assert fast.models[0].precision == "int8"
    with pytest.raises(UserError, match="precision fp32: has no effect with fast"):
        Translator.from_saved([saved], fast=True, precision="fp32")
