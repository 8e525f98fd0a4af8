"""Translation and scoring with a small trained model, and the effects of search options."""

import copy
import pickle
from itertools import chain
from pathlib import Path

import pytest
import torch

from nmt.config.search_options import SearchOptions
from nmt.data.placeholders import Placeholders
from nmt.data.preparation import Preparation
from nmt.errors import UserError
from nmt.inference.saved_model import load_saved_model
from nmt.registry import ComponentConfig
from nmt.search.alignment import END
from nmt.search.batch_planning import plan_batches
from nmt.search.source_reader import TextReader
from nmt.search.translation import Translation
from nmt.search.translator import Translator

from .translations import LINE_SEPARATOR


def test_translations_are_in_order_and_empty_for_empty_texts(
    translator: Translator, sources: list[str]
) -> None:
    texts = ["", sources[0], " \t ", sources[6], "\u00a0", sources[1], ""]
    found = translator.translate(texts)
    assert [t.source for t in found] == texts
    assert [bool(t.text) for t in found] == [False, True, False, True, False, True, False]
    empty = found[0]
    assert (empty.score, empty.pieces, empty.attention, empty.n_best) == (0.0, (), None, ())
    assert empty.alignment == []
    assert translator.translate([]) == []


def _greedy(translator: Translator, text: str) -> tuple[list[int], list[float]]:
    """Return the most likely token at every step of the model, and its log-probability."""
    (model,) = translator.models
    vocabulary = translator.target_vocabulary
    assert isinstance(translator.reader, TextReader)
    source = translator.reader.vocabulary
    ids = [*source.encode(text), source.eos]
    source_bs = torch.tensor([ids])
    tokens = [vocabulary.bos]
    scores: list[float] = []
    with torch.inference_mode():
        memory, state = model.start(source_bs, torch.ones_like(source_bs, dtype=torch.bool))
        while tokens[-1] != vocabulary.eos and len(scores) < 2 * (len(ids) - 1) + 20:
            log_probs_nv, _, state, *_ = model.step(torch.tensor(tokens[-1:]), memory, state)
            scores.append(float(log_probs_nv.max()))
            tokens.append(int(log_probs_nv.argmax()))
    return tokens[1:], scores


def test_beam_size_one_equals_greedy_search(translator: Translator, sources: list[str]) -> None:
    for found in translator.translate(sources[:12], beam_size=1):
        tokens, scores = _greedy(translator, found.source)
        ids = tokens[:-1] if found.finished else tokens
        assert list(found.pieces) == translator.target_vocabulary.tokens(ids)
        assert found.text == translator.target_vocabulary.decode(ids)
        assert found.piece_scores == pytest.approx(scores, abs=1e-5)
        assert found.score == pytest.approx(sum(scores) / len(scores), abs=1e-5)


def test_scoring_its_own_translations_gives_the_scores_of_search(
    translator: Translator, sources: list[str]
) -> None:
    found = translator.translate(sources)
    finished = [t for t in found if t.finished and _encodes_to_its_pieces(translator, t)]
    assert len(finished) > 40
    forced = translator.score([t.source for t in finished], [t.text for t in finished])
    for one, other in zip(forced, finished, strict=True):
        assert one.pieces == other.pieces
        # A few units in the last place: one row per sentence is computed by other kernels than
        # the rows of a beam.
        assert one.score == pytest.approx(other.score, rel=1e-5, abs=1e-5)
        assert one.piece_scores == pytest.approx(other.piece_scores, rel=1e-5, abs=1e-5)
        assert one.attention is not None and other.attention is not None
        torch.testing.assert_close(one.attention, other.attention)


def _encodes_to_its_pieces(translator: Translator, translation: Translation) -> bool:
    """Return whether the vocabulary encodes the text as the pieces of the translation."""
    vocabulary = translator.target_vocabulary
    return tuple(vocabulary.tokens(vocabulary.encode(translation.text))) == translation.pieces


def test_scoring_requires_one_target_per_text(translator: Translator) -> None:
    with pytest.raises(UserError, match="2 sentences, but 1 translations"):
        translator.score(["a", "b"], ["c"])


def test_n_best_translations_differ_and_are_ordered_by_score(
    translator: Translator, sources: list[str]
) -> None:
    for found in translator.translate(sources[:15], n_best=4):
        assert found.n_best[0].text == found.text
        assert len(found.n_best) == 4
        scores = [one.score for one in found.n_best]
        assert scores == sorted(scores, reverse=True)
        assert len({one.text for one in found.n_best}) == 4


def test_alternatives_are_the_first_tokens_of_forced_translations(
    translator: Translator, sources: list[str]
) -> None:
    texts = ["", *sources[:4]]
    found = translator.translate(texts, alternatives=2, n_best=2)
    assert (found[0].alternatives, found[1].n_best[1].alternatives) == ((), ())
    vocabulary = translator.target_vocabulary
    for one, plain in zip(found[1:], translator.translate(sources[:4]), strict=True):
        assert (one.text, one.score) == (plain.text, plain.score)
        assert [len(others) for others in one.alternatives] == [2] * len(one.piece_scores)
        # log p(y_1) of another first piece, by scoring a translation that begins with it.
        other, score = next(o for o in one.alternatives[0] if o.piece.strip("▁") not in ("", END))
        text = vocabulary.decode([vocabulary.tokens(range(len(vocabulary))).index(other)])
        (forced,) = translator.score([one.source], [text])
        assert forced.pieces[0] == other
        assert score == pytest.approx(forced.piece_scores[0], rel=1e-5)


def test_load_without_a_run_raises() -> None:
    with pytest.raises(UserError, match="no run directory is given"):
        Translator.load()


def test_max_length_bounds_every_translation(translator: Translator, sources: list[str]) -> None:
    for found in translator.translate(sources, max_length=4):
        assert len(found.piece_scores) <= 4
        assert len(found.pieces) == len(found.piece_scores) - found.finished
    assert not all(t.finished for t in translator.translate(sources, max_length=2))


def test_blocked_bigrams_do_not_repeat(translator: Translator, sources: list[str]) -> None:
    def repeats(translation: Translation) -> bool:
        pairs = list(zip(translation.pieces, translation.pieces[1:], strict=False))
        return len(set(pairs)) < len(pairs)

    assert any(map(repeats, translator.translate(sources)))
    assert not any(map(repeats, translator.translate(sources, block_ngram_repeat=2)))


def test_length_penalty_changes_the_score_by_its_formula(
    translator: Translator, sources: list[str]
) -> None:
    targets = sources[:6]
    plain = translator.score(sources[:6], targets, length_penalty=ComponentConfig("none"))
    wu = ComponentConfig("gnmt", {"alpha": 0.7})
    other = translator.score(sources[:6], targets, length_penalty=wu)
    for one, two in zip(plain, other, strict=True):
        assert one.score == pytest.approx(sum(one.piece_scores), rel=1e-6)
        length = len(two.piece_scores)
        assert two.score == pytest.approx(one.score / ((5 + length) / 6) ** 0.7, rel=1e-6)


def test_attention_has_one_row_per_piece_that_sums_to_one(
    translator: Translator, sources: list[str]
) -> None:
    for found in translator.translate(sources[:20]):
        assert found.attention is not None
        rows, columns = found.attention.shape
        assert rows == len(found.piece_scores) == len(found.pieces) + found.finished
        assert columns == len(found.source_pieces) + 1
        torch.testing.assert_close(found.attention.sum(1), torch.ones(rows))


def test_alignments_are_within_both_sentences(translator: Translator, sources: list[str]) -> None:
    texts = [*sources, LINE_SEPARATOR, "ein  Wort\tund noch eins ", "한국어 문장 하나"]
    for found in translator.translate(texts):
        for source, target in found.alignment:
            assert source < len(found.source.split())
            assert target < len(found.text.split())
        assert [target for _, target in found.alignment] == sorted(
            {target for _, target in found.alignment}
        )
        for source, target in found.piece_alignment:
            assert source < len(found.source_pieces)
            assert target < len(found.pieces)


def test_translation_leaves_the_trained_module_unchanged(trained: Path, sources: list[str]) -> None:
    saved = load_saved_model(trained)
    before = {name: tensor.clone() for name, tensor in saved.model.state_dict().items()}
    vocabularies = (saved.source, saved.target_vocabulary)
    translator = Translator(
        [saved.model], *vocabularies, saved.experiment.search, device=torch.device("cpu")
    )
    translator.translate(sources[:3])
    after = saved.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert pickle.loads(pickle.dumps(saved.model)).state_dict().keys() == before.keys()
    assert copy.deepcopy(saved.model).double().output_layer.weight.dtype == torch.float64


def test_very_long_sentence_is_translated_as_one(
    translator: Translator, sources: list[str]
) -> None:
    text = " ".join(chain.from_iterable([sources] * 3))
    (found,) = translator.translate([text], max_length=12, batch_tokens=50)
    assert len(found.source_pieces) > 1000
    assert found.attention is not None
    assert found.attention.size(1) == len(found.source_pieces) + 1


def test_batches_are_smaller_on_a_cpu_than_on_a_gpu_by_default() -> None:
    lengths = [9] * 1000
    sizes = {
        name: len(next(plan_batches(lengths, SearchOptions(), torch.device(name))))
        for name in ("cpu", "cuda")
    }
    assert sizes == {"cpu": 150, "cuda": 400}


def test_restored_translations_of_a_sentence_are_distinct(
    translator: Translator, sources: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Letters as masks, which are removed, since the sources have no placeholder.
    removed = Preparation(placeholders=Placeholders(("⟦x⟧",), tuple("aeinorst")))
    monkeypatch.setattr(translator, "preparation", removed)
    for found in translator.translate(sources[:15], n_best=4):
        texts = [translation.text for translation in found.n_best]
        assert texts[0] == found.text and len(texts) == len(set(texts))
