"""Vocabularies: training, models from elsewhere, the cuts of a word."""

import hashlib
import io
import math
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sentencepiece as spm

from nmt.data.learning import VocabularyType
from nmt.data.vocabulary import Specials, Vocabulary
from nmt.errors import UserError

PEOPLE = ("Ein Mann", "Eine Frau", "Ein Mädchen", "Der Hund", "Der Lehrer")
DEEDS = ("liest", "läuft schnell", "schläft", "wartet")
PLACES = ("im Garten", "auf der Straße", "heute", "am Fluss")
TEXT = [f"{who} {does} {where}." for who, does, where in product(PEOPLE, DEEDS, PLACES)]


def foreign_model(**options: Any) -> bytes:
    """A model with SentencePiece's own ids: no padding, unknown 0, begin 1, end 2."""
    model = io.BytesIO()
    options = {"vocab_size": 40, **options}
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT), model_writer=model, minloglevel=3, **options
    )
    return model.getvalue()


@pytest.mark.parametrize("type", ["unigram", "bpe", "char"])
def test_text_survives_encoding_and_decoding(type: VocabularyType) -> None:
    vocabulary = Vocabulary.train(TEXT, size=40, type=type)
    for text in TEXT[:3]:
        assert vocabulary.decode(vocabulary.encode(text)) == text


def test_special_ids_and_pieces(vocabulary: Vocabulary) -> None:
    assert (vocabulary.pad, vocabulary.bos, vocabulary.eos, vocabulary.unk) == (0, 1, 2, 3)
    assert vocabulary.pieces([0, 1, 2, 3]) == ["<pad>", "<s>", "</s>", "<unk>"]
    assert vocabulary.specials == Specials(pad=0, bos=1, eos=2)
    assert len(vocabulary) == 60


def test_text_that_looks_like_a_special_piece_is_text(vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode("<s> </s> <pad>")
    assert not {vocabulary.pad, vocabulary.bos, vocabulary.eos} & set(ids)


def test_specials_are_silent_in_decoding(vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode("Ein Mann")
    assert vocabulary.decode([1, *ids, 2, 0, 0]) == "Ein Mann"


def test_encoding_many_is_encoding_each(vocabulary: Vocabulary) -> None:
    texts = ["Ein Mann", "", "Eine Frau liest."]
    assert vocabulary.encode_all(texts) == [vocabulary.encode(text) for text in texts]
    assert vocabulary.encode_all([]) == []


def test_training_is_repeatable_to_the_byte(tmp_path: Path) -> None:
    first, second = (Vocabulary.train(iter(TEXT), size=40) for _ in range(2))
    first.save(tmp_path / "folder" / "a.model")
    assert first.fingerprint == second.fingerprint
    saved = (tmp_path / "folder" / "a.model").read_bytes()
    assert hashlib.sha256(saved).hexdigest() == first.fingerprint
    assert Vocabulary.load(tmp_path / "folder" / "a.model").fingerprint == first.fingerprint
    assert Vocabulary.train(TEXT, size=41).fingerprint != first.fingerprint


def test_bytes_carry_what_the_vocabulary_lacks() -> None:
    vocabulary = Vocabulary.train(TEXT, size=300, type="bpe", byte_fallback=True)
    ids = vocabulary.encode("漢字 😀")
    assert vocabulary.unk not in ids
    assert "<0xE6>" in vocabulary.pieces(ids)
    assert vocabulary.decode(ids) == "漢字 😀"
    assert vocabulary.decode(ids[:-1]).startswith("漢字 \ufffd")


def test_normalization_is_the_one_asked_for() -> None:
    text = ["ﬁne ﬁre"] * 5
    composed = Vocabulary.train(text, size=100, type="char")
    untouched = Vocabulary.train(text, size=100, type="char", normalization="identity")
    assert composed.decode(composed.encode("ﬁne")) == "fine"
    assert untouched.decode(untouched.encode("ﬁne")) == "ﬁne"


def test_a_char_vocabulary_takes_its_size_as_a_bound() -> None:
    # Four specials, the mark of a space, and a, b, c.
    assert len(Vocabulary.train(["ab", "ac"], size=10_000, type="char")) == 8
    assert len(Vocabulary.train(["ab", "ac"], size=7, type="char")) == 7


def test_a_very_long_line_and_reserved_characters_are_learned_from() -> None:
    text = ["a" + " ab" * 5000 + " xyz", "q \u2585 q"]
    vocabulary = Vocabulary.train(text, size=100, type="char")
    assert vocabulary.unk not in vocabulary.encode("xyz q")


@pytest.mark.parametrize(("size", "number"), [(10_000, "or fewer"), (6, "or more")])
@pytest.mark.parametrize("type", ["unigram", "bpe"])
def test_a_size_that_does_not_suit_names_one_that_does(
    type: VocabularyType, size: int, number: str
) -> None:
    with pytest.raises(UserError, match=rf"of {size} pieces .*; use (\d+) {number}") as raised:
        Vocabulary.train(TEXT, size=size, type=type)
    named = int(str(raised.value).split("; use ")[1].split()[0])
    assert len(Vocabulary.train(TEXT, size=named, type=type)) == named
    with pytest.raises(UserError):
        Vocabulary.train(TEXT, size=named + (1 if size > named else -1), type=type)


@pytest.mark.parametrize("size", [0, 4])
def test_a_size_without_room_for_text_is_an_error(size: int) -> None:
    with pytest.raises(UserError, match="use more than 4"):
        Vocabulary.train(TEXT, size=size, type="char")


@pytest.mark.parametrize("text", [[], ["", ""]])
def test_no_text_is_an_error(text: list[str]) -> None:
    with pytest.raises(UserError, match="no text"):
        Vocabulary.train(text, size=40)


def test_an_unknown_normalization_is_an_error_of_one_line() -> None:
    with pytest.raises(UserError, match="frobnicate") as raised:
        Vocabulary.train(TEXT, size=40, normalization="frobnicate")
    assert "\n" not in str(raised.value)


def test_a_failure_of_the_text_comes_through_as_it_is() -> None:
    def failing() -> Iterator[str]:
        yield "Ein Mann"
        raise UserError("byte 7 is not UTF-8", "train.de:2")

    with pytest.raises(UserError, match=r"^train\.de:2: byte 7 is not UTF-8$"):
        Vocabulary.train(failing(), size=40)


def test_training_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    Vocabulary.train(TEXT, size=40)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_model_made_elsewhere_gets_the_specials_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "foreign.model"
    path.write_bytes(foreign_model())
    vocabulary = Vocabulary.load(path)
    assert (vocabulary.unk, vocabulary.bos, vocabulary.eos, vocabulary.pad) == (0, 1, 2, 40)
    assert len(vocabulary) == 41
    assert vocabulary.pieces([40, 1, 2]) == ["<pad>", "<s>", "</s>"]
    ids = vocabulary.encode("Ein Mann liest.")
    assert vocabulary.decode([1, *ids, 2, 40, 40]) == "Ein Mann liest."


def test_a_model_without_any_special_gets_all_three(tmp_path: Path) -> None:
    path = tmp_path / "foreign.model"
    path.write_bytes(foreign_model(bos_id=-1, eos_id=-1))
    vocabulary = Vocabulary.load(path)
    assert (vocabulary.pad, vocabulary.bos, vocabulary.eos, vocabulary.unk) == (40, 41, 42, 0)
    assert len(vocabulary) == 43
    assert vocabulary.pieces([40, 41, 42]) == ["<pad>", "<s>", "</s>"]
    ids = vocabulary.encode("Ein Mann")
    assert vocabulary.decode([41, *ids, 42]) == "Ein Mann"
    vocabulary.save(tmp_path / "again.model")
    assert (tmp_path / "again.model").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"Ein Mann liest.\n" * 20, b"\0" * 64])
def test_a_file_that_is_no_model_is_named(
    tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "text.model"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not a SentencePiece model") as raised:
        Vocabulary.load(path)
    assert raised.value.place == str(path)
    assert capfd.readouterr().err == ""


def test_a_model_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.model: cannot read the vocabulary"):
        Vocabulary.load(tmp_path / "none.model")


@pytest.mark.parametrize(("type", "samples"), [("unigram", True), ("bpe", False), ("char", False)])
def test_only_unigram_pieces_have_probabilities_to_sample_by(
    type: VocabularyType, samples: bool
) -> None:
    assert Vocabulary.train(TEXT, size=40, type=type).samples == samples


def test_the_likeliest_cuts_of_a_word_begin_with_the_one_that_stands_in_the_text(
    vocabulary: Vocabulary,
) -> None:
    ids = vocabulary.encode("Mann")
    cuts = vocabulary.cuts(ids, 3)
    log_probs = vocabulary.log_probs()
    sums = [sum(log_probs[i] for i in cut) for cut in cuts]
    assert cuts[0] == ids
    assert len(set(map(tuple, cuts))) == 3
    assert sums == sorted(sums, reverse=True)
    assert {vocabulary.decode(cut) for cut in cuts} == {"Mann"}


def test_pieces_without_text_of_their_own_have_no_probability(tmp_path: Path) -> None:
    path = tmp_path / "foreign.model"
    path.write_bytes(foreign_model(vocab_size=300, byte_fallback=True))
    vocabulary = Vocabulary.load(path)
    without = [i for i, value in enumerate(vocabulary.log_probs()) if value == -math.inf]
    assert without == [0, 1, 2, *range(3, 3 + 256), vocabulary.pad]
