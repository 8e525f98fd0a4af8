"""Constraints on the translations of a small trained model."""

from pathlib import Path

import pytest

from nmt.data.placeholders import Placeholders
from nmt.data.preparation import Preparation
from nmt.errors import UserError
from nmt.search.constraints.line_constraints import prepare
from nmt.search.source_line import SourceLine
from nmt.search.translator import Translator
from tests.search.translations import assert_equal

from .lettered import occurrences


@pytest.fixture(scope="module")
def plain(translator: Translator, sources: list[str]) -> list[str]:
    """Translations without constraints."""
    return [one.text for one in translator.translate(sources[:20])]


def test_translation_continues_any_prefix_of_its_text(
    translator: Translator, sources: list[str], plain: list[str]
) -> None:
    cuts = [text[: 3 + 2 * number] for number, text in enumerate(plain)]
    found = translator.translate(sources[:20], prefix=cuts)
    for one, cut in zip(found, cuts, strict=True):
        assert f"{one.text} ".startswith(cut)
    whole = translator.translate(sources[:20], prefix=plain, beam_size=1)
    assert [one.text[: len(text)] for one, text in zip(whole, plain, strict=True)] == plain
    # A prefix that the model begins with changes nothing.
    words = [text.split()[0] + " " for text in plain]
    again = translator.translate(sources[:20], prefix=words)
    assert sum(one.text == text for one, text in zip(again, plain, strict=True)) >= 18


def test_space_after_a_prefix_ends_its_word(translator: Translator, sources: list[str]) -> None:
    for one in translator.translate(sources[:10], prefix="th "):
        assert one.text == "th" or one.text.startswith("th ")


@pytest.mark.parametrize("beam_size", [2, 4])
def test_terms_occur_exactly_as_often_as_requested(
    translator: Translator, sources: list[str], plain: list[str], beam_size: int
) -> None:
    terms = [
        [[], ["window"], ["the", "the"], ["good evening", "morning"]][i % 4] for i in range(20)
    ]
    found = translator.translate(
        sources[:20], terms=terms, forbid=["is"], beam_size=beam_size, n_best=2
    )
    for one, own in zip(found, terms, strict=True):
        for text in (other.text for other in one.n_best):
            assert {term: occurrences(term, text) for term in own} == {
                term: own.count(term) for term in own
            }
            assert not occurrences("is", text)
    # Without terms, translations are those of a search without constraints.
    for i in range(0, 20, 4):
        if not occurrences("is", plain[i]):
            assert found[i].text == plain[i] or beam_size != 4


def test_constrained_translations_do_not_depend_on_the_batch(
    trained: Path, second: Path, sources: list[str]
) -> None:
    both = Translator.load(trained, second)
    terms = [["window"] * (i % 2) for i in range(4)]
    together = both.translate(sources[:4], terms=terms, forbid="the", prefix="a")
    for one, text, own in zip(together, sources, terms, strict=False):
        (alone,) = both.translate(text, terms=own, forbid="the", prefix="a")
        assert_equal([one], [alone])
        assert one.text.startswith("a")


def test_samples_satisfy_prefix_and_forbidden_phrases(
    translator: Translator, sources: list[str]
) -> None:
    forbid, sampling = ["the", "is"], {"temperature": 2.0}
    found = translator.translate(sources[:20], prefix="He", forbid=forbid, sampling=sampling)
    for one in found:
        assert one.text.startswith("He")
        assert not any(occurrences(phrase, one.text) for phrase in forbid)
    assert len({one.text for one in found}) > 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"terms": ["가"]}, "term '가': the target vocabulary lacks 가; remove it"),
        ({"prefix": "가"}, "prefix '가': the target vocabulary lacks 가"),
        ({"terms": [" "]}, "term ' ' is empty; remove it"),
        ({"terms": ["a b"], "forbid": ["b"]}, "term 'a b' contains 'b', which is forbidden"),
        ({"prefix": "a b", "forbid": ["b"]}, "prefix contains 'b': forbidden"),
        ({"prefix": "a a", "terms": ["a"]}, "prefix contains 'a': 2 times, but it is required 1"),
        ({"terms": ["a"], "beam_size": 1}, "terms require a beam of at least 2"),
        ({"terms": ["a"], "sampling": {}}, "terms require beam search; remove sampling"),
        ({"terms": ["a"], "block_ngram_repeat": 2}, "remove block_ngram_repeat"),
        ({"forbid": ["a"], "replace_unknown": True}, "replace_unknown could copy"),
        ({"terms": ["a"], "max_length": 1}, "its constraints require 1 tokens and an end"),
        ({"prefix": ["a", "b"]}, "prefix: 2 for 1 sentences"),
        ({"terms": [["a"], ["b"]]}, "terms: 2 lists for 1 sentences"),
        ({"forbid": [["a"], "b"]}, "forbid: contains both phrases and lists"),
    ],
)
def test_impossible_constraint_is_one_clear_error(
    options: dict[str, object], message: str, translator: Translator
) -> None:
    with pytest.raises(UserError, match=message):
        translator.translate("Guten Morgen!", **options)  # type: ignore[arg-type]


def test_tagged_text_is_copied_and_its_tags_are_removed(translator: Translator) -> None:
    text = "Das <x>Fenster</x> ist <x>offen</x>."
    (found,) = translator.translate(text, keep_tag="x")
    assert found.source == "Das Fenster ist offen."
    assert [occurrences(word, found.text) for word in ("Fenster", "offen")] == [1, 1]
    for wrong in ("a <x>b", "a b</x>", "</x>a<x>", "<x>a<x>b</x></x>"):
        with pytest.raises(UserError, match="has no partner; write <x>text</x>"):
            translator.translate(wrong, keep_tag="x")
    with pytest.raises(UserError, match="is not the name of a tag"):
        translator.translate(text, keep_tag="<x>")
    assert translator.translate([], keep_tag="x") == []


def test_empty_sentence_with_constraints_is_an_error(translator: Translator) -> None:
    with pytest.raises(UserError, match="is empty; remove the constraints"):
        translator.translate(["Hallo", ""], terms=[[], ["a"]])


@pytest.mark.parametrize("patterns", [(r"⟦\w⟧",), ()])
def test_constraints_hold_for_text_with_placeholders(
    patterns: tuple[str, ...], translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two signs that the vocabulary contains are the masks, or placeholders themselves.
    preparation = Preparation(placeholders=Placeholders(patterns, ("!", "?")))
    monkeypatch.setattr(translator, "preparation", preparation)
    x, y = ("⟦x⟧", "⟦y⟧") if patterns else ("!", "?")
    source = f"Das {x} Fenster {y} ist offen."
    (found,) = translator.translate(
        source, prefix="My ", terms=[f"window {y}", x], forbid=["is", f"{x} window"], n_best=4
    )
    assert len(found.n_best) > 1
    for text in (one.text for one in found.n_best):
        assert text.startswith("My ")
        assert (text.count(f"window {y}"), text.count(x), text.count(y)) == (1, 1, 1)
        assert not occurrences("is", text)
        assert f"{x} window" not in text
    (found,) = translator.translate(source, prefix=f"{y} My{x}")
    assert found.text.startswith(f"{y} My{x}")
    assert (found.text.count(x), found.text.count(y)) == (1, 1)


def test_constraints_that_contradict_placeholders_are_errors() -> None:
    preparation = Preparation(placeholders=Placeholders((r"⟦\w⟧",), ("!", "?")))
    line = SourceLine(0, "Das ⟦x⟧ Fenster ⟦x⟧ ⟦y⟧.")
    with pytest.raises(UserError, match="forbid '⟦y⟧' is a placeholder of the sentence, which its"):
        prepare(line.with_constraints(forbid=("a", "⟦y⟧")), preparation, "")
    for terms in (("a ⟦y⟧", "a ⟦y⟧"), ("⟦y⟧ ⟦y⟧",)):
        message = "require a placeholder 2 times, but the sentence contains it 1 times"
        with pytest.raises(UserError, match=message):
            prepare(line.with_constraints(terms=terms), preparation, "")


def test_constraints_are_tokenized_as_the_text_is(monkeypatch: pytest.MonkeyPatch) -> None:
    # The tokenizer of Moses is an extra.
    spaced = lambda text, language, **_: f"{text.replace('!', ' !').strip()}"  # noqa: E731
    monkeypatch.setattr("nmt.data.preparation.tokenize", spaced)
    line = SourceLine(0, "Halt!").with_constraints("Stop! ", ("Stop!",), ("now!",))
    prepared, limits = prepare(line, Preparation(pre="moses"), "")
    assert (prepared, dict(limits)) == (("Stop ! ", ("Stop !",), ("now !",)), {})
    line = SourceLine(0, "Halt!").with_constraints("Stop!")
    assert prepare(line, Preparation(pre="moses"), "")[0].prefix == "Stop !"
