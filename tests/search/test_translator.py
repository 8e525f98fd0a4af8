"""Text in, text out with a small trained model: what neighbours, beams and options change."""

import os
import random
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from nmt.errors import UserError
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import Choice
from nmt.search.options import Sampling
from nmt.search.translation import Translation
from nmt.search.translator import Translator

DATA = os.environ.get("NMT_DATA")
LINE_ENDS = "Guten Morgen!\u2028Gute Nacht, schlaf gut!"


def _assert_equal(one: Sequence[Translation], other: Sequence[Translation]) -> None:
    """The same translations; numbers within the rounding of float32."""
    assert [t.text for t in one] == [t.text for t in other]
    assert [t.pieces for t in one] == [t.pieces for t in other]
    for left, right in zip(one, other, strict=True):
        assert left.score == pytest.approx(right.score, rel=1e-5, abs=1e-6), left.source
        assert left.piece_scores == pytest.approx(right.piece_scores, rel=1e-4, abs=1e-5)
        assert [t.text for t in left.n_best] == [t.text for t in right.n_best]
        if left.attention is None or right.attention is None:
            assert left.attention is right.attention
        else:
            torch.testing.assert_close(left.attention, right.attention, rtol=1e-4, atol=1e-5)


def _shuffled(translator: Translator, texts: list[str], **options: Any) -> list[Translation]:
    """Translations of shuffled texts, put back in order."""
    order = list(range(len(texts)))
    random.Random(5).shuffle(order)
    found = translator.translate([texts[row] for row in order], **options)
    return [found[order.index(row)] for row in range(len(texts))]


def _assert_neighbours_change_nothing(translator: Translator, texts: list[str], **o: Any) -> None:
    alone = translator.translate(texts, batch_sentences=1, **o)
    for sentences in (7, 64):
        _assert_equal(translator.translate(texts, batch_sentences=sentences, **o), alone)
        _assert_equal(_shuffled(translator, texts, batch_sentences=sentences, **o), alone)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_neighbours_change_no_translation(
    beam_size: int, translator: Translator, sources: list[str]
) -> None:
    texts = [*sources[:20], "", " ".join(sources[:3]), LINE_ENDS, "안녕하세요?", "x" * 40]
    _assert_neighbours_change_nothing(translator, texts, beam_size=beam_size, n_best=2)


def test_neighbours_change_no_given_translations_score(
    translator: Translator, sources: list[str]
) -> None:
    texts, targets = sources[:30], sources[30:]
    alone = translator.score(texts, targets, batch_sentences=1)
    for sentences in (7, 64):
        _assert_equal(translator.score(texts, targets, batch_sentences=sentences), alone)


@pytest.mark.slow
@pytest.mark.skipif(DATA is None, reason="NMT_DATA names no folder with multi30k/")
def test_neighbours_change_no_translation_of_a_caption(translator: Translator) -> None:
    file = Path(str(DATA)) / "multi30k" / "test_2016_flickr.de"
    texts = file.read_text(encoding="utf-8").split("\n")[:300]
    _assert_neighbours_change_nothing(translator, texts, beam_size=2, max_length=30)


def test_sentences_keep_their_order_and_empty_ones_stay_empty(
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


def test_windows_are_translated_as_one_text(translator: Translator, sources: list[str]) -> None:
    whole = translator.translate(sources[:20])
    parts = list(translator.stream([sources[:3], [], sources[3:13], sources[13:20]]))
    _assert_equal(parts, whole)


def _greedy(translator: Translator, text: str) -> tuple[list[int], list[float]]:
    """The likeliest piece at each step, by the model alone."""
    (model,) = translator.models
    vocabulary = translator.target_vocabulary
    ids = [*translator.source_vocabulary.encode(text), translator.source_vocabulary.eos]
    source_bs = torch.tensor([ids])
    tokens = [vocabulary.bos]
    scores: list[float] = []
    with torch.inference_mode():
        memory, state = model.start(source_bs, torch.ones_like(source_bs, dtype=torch.bool))
        while tokens[-1] != vocabulary.eos and len(scores) < 2 * (len(ids) - 1) + 20:
            log_probs_nv, _, state = model.step(torch.tensor(tokens[-1:]), memory, state)
            scores.append(float(log_probs_nv.max()))
            tokens.append(int(log_probs_nv.argmax()))
    return tokens[1:], scores


def test_a_beam_of_one_is_greedy(translator: Translator, sources: list[str]) -> None:
    for found in translator.translate(sources[:12], beam_size=1):
        tokens, scores = _greedy(translator, found.source)
        ids = tokens[:-1] if found.finished else tokens
        assert list(found.pieces) == translator.target_vocabulary.pieces(ids)
        assert found.text == translator.target_vocabulary.decode(ids)
        assert found.piece_scores == pytest.approx(scores, abs=1e-5)
        assert found.score == pytest.approx(sum(scores) / len(scores), abs=1e-5)


def test_forcing_its_own_output_gives_the_scores_of_search(
    translator: Translator, sources: list[str]
) -> None:
    found = translator.translate(sources)
    finished = [t for t in found if t.finished and _recut(translator, t)]
    assert len(finished) > 40
    forced = translator.score([t.source for t in finished], [t.text for t in finished])
    for one, other in zip(forced, finished, strict=True):
        assert one.pieces == other.pieces
        assert one.score == pytest.approx(other.score, abs=1e-6)
        assert one.piece_scores == pytest.approx(other.piece_scores, abs=1e-6)
        assert one.attention is not None and other.attention is not None
        torch.testing.assert_close(one.attention, other.attention)


def _recut(translator: Translator, translation: Translation) -> bool:
    """Whether the text is cut again into the pieces that search chose."""
    vocabulary = translator.target_vocabulary
    return tuple(vocabulary.pieces(vocabulary.encode(translation.text))) == translation.pieces


def test_forcing_needs_a_target_for_each_source(translator: Translator) -> None:
    with pytest.raises(UserError, match="2 sentences, but 1 translations"):
        translator.score(["a", "b"], ["c"])


def test_n_best_are_different_and_in_order(translator: Translator, sources: list[str]) -> None:
    for found in translator.translate(sources[:15], n_best=4):
        assert found.n_best[0].text == found.text
        assert len(found.n_best) == 4
        scores = [one.score for one in found.n_best]
        assert scores == sorted(scores, reverse=True)
        assert len({one.pieces for one in found.n_best}) == 4


def test_drawing_repeats_with_its_seed_whatever_stands_beside(
    translator: Translator, sources: list[str]
) -> None:
    def draw(seed: int, **options: Any) -> list[Translation]:
        return translator.translate(sources[:20], sampling=Sampling(seed=seed), **options)

    first = draw(1)
    _assert_equal(draw(1), first)
    _assert_equal(draw(1, batch_sentences=1), first)
    changed = ["", *sources[1:10], *["Gute Nacht, schlaf gut!"] * 9]
    other = translator.translate(changed, sampling=Sampling(seed=1))
    _assert_equal(other[1:10], first[1:10])
    assert [t.text for t in draw(2)] != [t.text for t in first]
    best = translator.translate(sources[:20], beam_size=1)
    boldest = translator.translate(sources[:20], sampling=Sampling(top_k=1))
    assert [t.text for t in boldest] == [t.text for t in best]


def test_an_ensemble_of_a_model_with_itself_is_the_model(
    trained: Path, translator: Translator, sources: list[str]
) -> None:
    twice = Translator.load(trained, trained, threads=1)
    for one, two in zip(
        translator.translate(sources[:20]), twice.translate(sources[:20]), strict=True
    ):
        assert one.text == two.text
        assert one.score == pytest.approx(two.score, abs=1e-5)


def test_an_ensemble_has_the_mean_of_its_models_probabilities(
    trained: Path, second: Path, translator: Translator, sources: list[str]
) -> None:
    both = Translator.load(trained, second, threads=1)
    other = Translator.load(second, threads=1)
    targets = [t.text for t in both.translate(sources[:10])]
    parts = zip(
        *(one.score(sources[:10], targets) for one in (both, translator, other)), strict=True
    )
    for joint, one, two in parts:
        pairs = zip(one.piece_scores, two.piece_scores, strict=True)
        mean = [float(torch.tensor(p).double().exp().mean().log()) for p in pairs]
        assert list(joint.piece_scores) == pytest.approx(mean, abs=1e-5)
        assert joint.attention is not None
        weights = [t.attention for t in (one, two) if t.attention is not None]
        torch.testing.assert_close(joint.attention, torch.stack(weights).mean(0))


def test_runs_of_other_vocabularies_are_no_ensemble(
    trained: Path, second: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(second, tmp_path / "other", symlinks=True)
    from nmt.data.vocabulary import Vocabulary

    lines = ["Ein Mann", "a man", "Das Haus", "the house"] * 3
    Vocabulary.train(lines, size=20, type="char").save(
        tmp_path / "other" / "vocabulary" / "joint.model"
    )
    with pytest.raises(UserError, match="another"):
        Translator.load(trained, tmp_path / "other")


def test_no_run_is_an_error() -> None:
    with pytest.raises(UserError, match="no run is given"):
        Translator.load()


def test_int8_gives_nearly_the_same(
    trained: Path, translator: Translator, sources: list[str]
) -> None:
    rounded = Translator.load(trained, precision="int8", threads=1)
    found, exact = rounded.translate(sources), translator.translate(sources)
    same = sum(one.text == two.text for one, two in zip(found, exact, strict=True))
    assert same >= 0.8 * len(sources)
    targets = [t.text for t in exact]
    scores = (t.score(sources, targets) for t in (rounded, translator))
    for one, two in zip(*scores, strict=True):
        assert one.score == pytest.approx(two.score, abs=0.05)


def test_bf16_gives_nearly_the_same_scores(
    trained: Path, translator: Translator, sources: list[str]
) -> None:
    half = Translator.load(trained, precision="bf16", threads=1)
    targets = [t.text for t in translator.translate(sources[:8])]
    scores = (t.score(sources[:8], targets) for t in (half, translator))
    for one, two in zip(*scores, strict=True):
        assert one.score == pytest.approx(two.score, abs=0.1)
    assert len(half.translate(sources[:8])) == 8


def test_fp16_needs_a_gpu(trained: Path) -> None:
    with pytest.raises(UserError, match="precision fp16 needs a GPU"):
        Translator.load(trained, precision="fp16", device="cpu")


def test_no_translation_is_longer_than_allowed(translator: Translator, sources: list[str]) -> None:
    for found in translator.translate(sources, max_length=4):
        assert len(found.piece_scores) <= 4
        assert len(found.pieces) == len(found.piece_scores) - found.finished
    assert not all(t.finished for t in translator.translate(sources, max_length=2))


def test_no_pair_of_pieces_comes_twice_when_that_is_forbidden(
    translator: Translator, sources: list[str]
) -> None:
    def repeats(translation: Translation) -> bool:
        pairs = list(zip(translation.pieces, translation.pieces[1:], strict=False))
        return len(set(pairs)) < len(pairs)

    assert any(map(repeats, translator.translate(sources)))
    assert not any(map(repeats, translator.translate(sources, block_ngram_repeat=2)))


def test_a_penalty_changes_the_score_by_its_formula(
    translator: Translator, sources: list[str]
) -> None:
    targets = sources[:6]
    plain = translator.score(sources[:6], targets, length_penalty=Choice("none"))
    wu = Choice("gnmt", {"alpha": 0.7})
    other = translator.score(sources[:6], targets, length_penalty=wu)
    for one, two in zip(plain, other, strict=True):
        assert one.score == pytest.approx(sum(one.piece_scores), rel=1e-6)
        length = len(two.piece_scores)
        assert two.score == pytest.approx(one.score / ((5 + length) / 6) ** 0.7, rel=1e-6)


def test_attention_has_a_row_a_piece_and_sums_to_one(
    translator: Translator, sources: list[str]
) -> None:
    for found in translator.translate(sources[:20]):
        assert found.attention is not None
        rows, columns = found.attention.shape
        assert rows == len(found.piece_scores) == len(found.pieces) + found.finished
        assert columns == len(found.source_pieces) + 1
        torch.testing.assert_close(found.attention.sum(1), torch.ones(rows))


def test_alignments_stay_within_the_words_of_both_sides(
    translator: Translator, sources: list[str]
) -> None:
    texts = [*sources, LINE_ENDS, "ein  Wort\tund noch eins ", "한국어 문장 하나"]
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


def test_the_model_is_not_changed_by_translating(translator: Translator) -> None:
    (model,) = translator.models
    assert isinstance(model, Seq2Seq)
    before = {name: p.clone() for name, p in model.named_parameters()}
    translator.translate(["Guten Morgen!"])
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
    assert not model.training


def test_a_very_long_sentence_is_translated_whole(
    translator: Translator, sources: list[str]
) -> None:
    text = " ".join(chain.from_iterable([sources] * 3))
    (found,) = translator.translate([text], max_length=12, batch_tokens=50)
    assert len(found.source_pieces) > 1000
    assert found.attention is not None
    assert found.attention.size(1) == len(found.source_pieces) + 1
