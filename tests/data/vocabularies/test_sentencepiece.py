"""SentencePiece vocabularies: training, foreign models, segmentations."""

import hashlib
import io
import math
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sentencepiece as spm

from nmt.data.special_tokens import SpecialTokens
from nmt.data.vocabularies.protobuf import (
    KIND,
    NORMAL,
    PIECE,
    PIECES,
    TRAINER_SPEC,
    USER_DEFINED,
    read_fields,
    write_field,
)
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabularies.sentencepiece_training import SizeError, VocabularyType, make_normalizer
from nmt.errors import UserError

PEOPLE = ("Ein Mann", "Eine Frau", "Ein Mädchen", "Der Hund", "Der Lehrer")
DEEDS = ("liest", "läuft schnell", "schläft", "wartet")
PLACES = ("im Garten", "auf der Straße", "heute", "am Fluss")
TEXT = [f"{who} {does} {where}." for who, does, where in product(PEOPLE, DEEDS, PLACES)]


def foreign_model(**options: Any) -> bytes:
    """Train a model with SentencePiece's default ids: unknown 0, begin 1, end 2, no padding."""
    model = io.BytesIO()
    options = {"vocab_size": 40, **options}
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT), model_writer=model, minloglevel=3, **options
    )
    return model.getvalue()


@pytest.mark.parametrize("type", ["unigram", "bpe", "char"])
def test_decoding_inverts_encoding(type: VocabularyType) -> None:
    vocabulary = SentencePieceVocabulary.train(TEXT, size=40, type=type)
    for text in TEXT[:3]:
        assert vocabulary.decode(vocabulary.encode(text)) == text


def test_special_tokens_have_the_first_ids(vocabulary: SentencePieceVocabulary) -> None:
    assert (vocabulary.pad, vocabulary.bos, vocabulary.eos, vocabulary.unk) == (0, 1, 2, 3)
    assert vocabulary.tokens([0, 1, 2, 3]) == ["<pad>", "<s>", "</s>", "<unk>"]
    assert vocabulary.special_tokens == SpecialTokens(pad=0, bos=1, eos=2)
    assert len(vocabulary) == 60


def test_special_tokens_in_text_are_encoded_as_text(vocabulary: SentencePieceVocabulary) -> None:
    ids = vocabulary.encode("<s> </s> <pad>")
    assert not {vocabulary.pad, vocabulary.bos, vocabulary.eos} & set(ids)


def test_special_tokens_are_omitted_in_decoding(vocabulary: SentencePieceVocabulary) -> None:
    ids = vocabulary.encode("Ein Mann")
    assert vocabulary.decode([1, *ids, 2, 0, 0]) == "Ein Mann"


def test_encode_batch_equals_encode(vocabulary: SentencePieceVocabulary) -> None:
    texts = ["Ein Mann", "", "Eine Frau liest."]
    assert vocabulary.encode_batch(texts) == [vocabulary.encode(text) for text in texts]
    assert vocabulary.encode_batch([]) == []


def test_training_is_deterministic(tmp_path: Path) -> None:
    first, second = (SentencePieceVocabulary.train(iter(TEXT), size=40) for _ in range(2))
    first.save(tmp_path / "new" / "a.model")
    assert first.fingerprint == second.fingerprint
    saved = (tmp_path / "new" / "a.model").read_bytes()
    assert hashlib.sha256(saved).hexdigest() == first.fingerprint
    assert (
        SentencePieceVocabulary.load(tmp_path / "new" / "a.model").fingerprint == first.fingerprint
    )
    assert SentencePieceVocabulary.train(TEXT, size=41).fingerprint != first.fingerprint


def test_byte_fallback_encodes_unknown_characters() -> None:
    vocabulary = SentencePieceVocabulary.train(TEXT, size=300, type="bpe", byte_fallback=True)
    ids = vocabulary.encode("漢字 😀")
    assert vocabulary.unk not in ids
    assert "<0xE6>" in vocabulary.tokens(ids)
    assert vocabulary.decode(ids) == "漢字 😀"
    assert vocabulary.decode(ids[:-1]).startswith("漢字 \ufffd")


def test_normalization_option_is_used() -> None:
    text = ["ﬁne ﬁre"] * 5
    normalized = SentencePieceVocabulary.train(text, size=100, type="char")
    identity = SentencePieceVocabulary.train(text, size=100, type="char", normalization="identity")
    assert normalized.decode(normalized.encode("ﬁne")) == "fine"
    assert identity.decode(identity.encode("ﬁne")) == "ﬁne"


def test_rules_of_both_sides_share_tokens() -> None:
    text = ["ﬁne ﬁre ½", "  a\u200cb\u00a0c  "] * 5
    identity = SentencePieceVocabulary.train(text, size=100, type="char", normalization="identity")
    source = identity.with_normalization("nmt_nfkc")
    assert source.has_same_tokens(identity) and source.fingerprint != identity.fingerprint
    assert not identity.has_same_tokens(SentencePieceVocabulary.train(TEXT, size=41))
    for line in [*text, "ﬁ", "", " "]:
        normalized = make_normalizer("nmt_nfkc")(line)
        assert source.encode(line) == identity.encode(normalized)
        assert identity.decode(identity.encode(line)) == " ".join(w for w in line.split(" ") if w)
    assert identity.with_normalization("identity") is identity
    # The same as a model that is trained with the rule.
    trained = SentencePieceVocabulary.train(text, size=100, type="char", normalization="nmt_nfkc")
    learned = SentencePieceVocabulary.train(
        map(make_normalizer("nmt_nfkc"), text), size=100, type="char", normalization="identity"
    )
    same = learned.with_normalization("nmt_nfkc")
    assert same.has_same_tokens(trained) and same.log_probs() == trained.log_probs()
    assert [same.spans(line) for line in text] == [trained.spans(line) for line in text]


def test_symbols_are_tokens_and_digits_are_split() -> None:
    text = ["a ⟦1⟧ {name} 2026", "b ⟦2⟧ 1999"] * 20
    vocabulary = SentencePieceVocabulary.train(
        text, size=18, user_defined_symbols=["⟦1⟧", "{name}"], split_digits=True, type="bpe"
    )
    tokens = vocabulary.tokens(vocabulary.encode("x⟦1⟧{name} 2026"))
    assert {"⟦1⟧", "{name}", "2", "0", "6"} <= set(tokens)
    assert vocabulary.decode(vocabulary.encode("a ⟦1⟧ {name} 2026")) == "a ⟦1⟧ {name} 2026"


def test_size_is_upper_bound_of_char_vocabulary() -> None:
    # Four special tokens, '▁', a, b and c.
    assert len(SentencePieceVocabulary.train(["ab", "ac"], size=10_000, type="char")) == 8
    assert len(SentencePieceVocabulary.train(["ab", "ac"], size=7, type="char")) == 7


def test_long_lines_and_reserved_characters_are_used_in_training() -> None:
    text = ["a" + " ab" * 5000 + " xyz", "q \u2585 q"]
    vocabulary = SentencePieceVocabulary.train(text, size=100, type="char")
    assert vocabulary.unk not in vocabulary.encode("xyz q")


@pytest.mark.parametrize(
    ("size", "bound"),
    [(10_000, r"large for .* \(at most (\d+)\)"), (6, r"small .* use (\d+) or more")],
)
@pytest.mark.parametrize("type", ["unigram", "bpe"])
def test_unsuitable_size_error_names_nearest_suitable_size(
    type: VocabularyType, size: int, bound: str
) -> None:
    with pytest.raises(SizeError, match=f"size {size} is too ") as raised:
        SentencePieceVocabulary.train(TEXT, size=size, type=type)
    nearest = re.search(bound, str(raised.value))
    assert nearest
    suitable = int(nearest[1])
    assert len(SentencePieceVocabulary.train(TEXT, size=suitable, type=type)) == suitable
    with pytest.raises(UserError):
        SentencePieceVocabulary.train(
            TEXT, size=suitable + (1 if size > suitable else -1), type=type
        )


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        # A tenth of the lines; more than the characters; the maximum, if that is less.
        ([f"{one:04} {one * 7:05}" for one in range(2_345)], "use 200 (at most "),
        ([f"{one:04} {one * 7:05}" for one in range(123)], "use 30 (at most "),
        (["ab", "ac"], "use 9 (at most 9)"),
    ],
)
def test_error_of_too_large_a_size_suggests_a_tenth_of_the_lines(
    text: list[str], advice: str
) -> None:
    with pytest.raises(SizeError) as raised:
        SentencePieceVocabulary.train(text, size=60_000)
    assert advice in str(raised.value)
    SentencePieceVocabulary.train(text, size=int(advice.split()[1]))


@pytest.mark.parametrize("size", [0, 4])
def test_size_of_special_tokens_only_raises_user_error(size: int) -> None:
    with pytest.raises(UserError, match="use more than 4"):
        SentencePieceVocabulary.train(TEXT, size=size, type="char")


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("Resource temporarily unavailable")], ids=repr
)
def test_want_of_memory_is_named(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**options: object) -> None:
        raise error

    monkeypatch.setattr("sentencepiece.SentencePieceTrainer.train", fail)
    with pytest.raises(UserError, match="out of memory; lower"):
        SentencePieceVocabulary.train(["a"], size=10)


@pytest.mark.parametrize("text", [[], ["", ""]])
def test_empty_text_raises_user_error(text: list[str]) -> None:
    with pytest.raises(UserError, match="is empty"):
        SentencePieceVocabulary.train(text, size=40)


def test_unknown_normalization_raises_one_line_user_error() -> None:
    with pytest.raises(UserError, match="frobnicate") as raised:
        SentencePieceVocabulary.train(TEXT, size=40, normalization="frobnicate")
    assert "\n" not in str(raised.value)


def test_error_of_the_text_is_raised_unchanged() -> None:
    def failing() -> Iterator[str]:
        yield "Ein Mann"
        raise UserError("byte 7 is not UTF-8", "train.de:2")

    with pytest.raises(UserError, match=r"^train\.de:2: byte 7 is not UTF-8$"):
        SentencePieceVocabulary.train(failing(), size=40)


def test_training_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    SentencePieceVocabulary.train(TEXT, size=40)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_foreign_model_gets_missing_padding_token(tmp_path: Path) -> None:
    path = tmp_path / "foreign.model"
    path.write_bytes(foreign_model())
    vocabulary = SentencePieceVocabulary.load(path)
    assert (vocabulary.unk, vocabulary.bos, vocabulary.eos, vocabulary.pad) == (0, 1, 2, 40)
    assert len(vocabulary) == 41
    assert vocabulary.tokens([40, 1, 2]) == ["<pad>", "<s>", "</s>"]
    ids = vocabulary.encode("Ein Mann liest.")
    assert vocabulary.decode([1, *ids, 2, 40, 40]) == "Ein Mann liest."


def test_foreign_model_without_special_tokens_gets_all_three(tmp_path: Path) -> None:
    path = tmp_path / "foreign.model"
    path.write_bytes(foreign_model(bos_id=-1, eos_id=-1))
    vocabulary = SentencePieceVocabulary.load(path)
    assert (vocabulary.pad, vocabulary.bos, vocabulary.eos, vocabulary.unk) == (40, 41, 42, 0)
    assert len(vocabulary) == 43
    assert vocabulary.tokens([40, 41, 42]) == ["<pad>", "<s>", "</s>"]
    ids = vocabulary.encode("Ein Mann")
    assert vocabulary.decode([41, *ids, 42]) == "Ein Mann"
    vocabulary.save(tmp_path / "again.model")
    assert (tmp_path / "again.model").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"Ein Mann liest.\n" * 20, b"\0" * 64])
def test_file_that_is_not_a_model_raises_user_error(
    tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "text.model"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not a SentencePiece model") as raised:
        SentencePieceVocabulary.load(path)
    assert raised.value.location == str(path)
    assert capfd.readouterr().err == ""


def _token_field(text: bytes, kind: int) -> bytes:
    return write_field(PIECES, write_field(PIECE, text) + write_field(KIND, kind))


CONTROL = 3
UNK_SURFACE, BOS_PIECE, EOS_PIECE, PAD_PIECE = 44, 46, 47, 48
NOT_UTF8 = "has a token that is not UTF-8; give the file that SentencePiece has written"
EQUAL = "has one token as two of <pad>, <s>, </s> and <unk>; train it with different ones"


def test_fields_of_a_message_are_read_as_they_are_written() -> None:
    fields: list[tuple[int, int | bytes]] = [
        (1, b"x" * 300),
        (16, 127),
        (44, 128),
        (2, 1 << 40),
        (3, b""),
    ]
    message = b"".join(write_field(*field) for field in fields)
    assert list(read_fields(message + write_field(2, 1.0))) == [*fields, (2, b"\0\0\x80?")]


def test_symbols_of_a_model_are_found_by_their_kind() -> None:
    trained = SentencePieceVocabulary.train(TEXT, size=40, user_defined_symbols=["<a>", "<b>"])
    assert trained.user_defined_symbols == ["<a>", "<b>"]
    # Text whose bytes are those of a kind.
    addition = _token_field(b"\x18\x04", NORMAL) + _token_field(b"<c>", USER_DEFINED)
    longer = SentencePieceVocabulary(trained.serialized + addition)
    assert longer.user_defined_symbols == ["<a>", "<b>", "<c>"]
    assert longer.tokens([40, 41]) == ["\x18\x04", "<c>"]


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        (_token_field(b"\xff\xfe", NORMAL), NOT_UTF8),
        (_token_field("ü".encode()[:1], NORMAL), NOT_UTF8),
        (_token_field(b"\xff", CONTROL), NOT_UTF8),
        (write_field(TRAINER_SPEC, write_field(UNK_SURFACE, b"\xff")), NOT_UTF8),
        (write_field(TRAINER_SPEC, write_field(EOS_PIECE, b"<s>")), EQUAL),
        (write_field(TRAINER_SPEC, write_field(PAD_PIECE, b"</s>")), EQUAL),
        (write_field(TRAINER_SPEC, write_field(BOS_PIECE, b"<pad>")), EQUAL),
    ],
)
def test_unusable_model_raises_user_error(addition: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.model"
    path.write_bytes(SentencePieceVocabulary.train(TEXT, size=40).serialized + addition)
    with pytest.raises(UserError) as raised:
        SentencePieceVocabulary.load(path)
    assert str(raised.value) == f"{path}: {message}"


def test_special_tokens_are_control_tokens_within_the_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "odd.model"
    # A word as <s>, and ids out of range: SentencePiece finds special tokens by name and kind.
    ids = b"".join(write_field(number, 127) for number in (40, 41, 42, 43))
    word = write_field(BOS_PIECE, "\u2581".encode())
    path.write_bytes(
        SentencePieceVocabulary.train(TEXT, size=40).serialized
        + write_field(TRAINER_SPEC, ids + word)
    )
    vocabulary = SentencePieceVocabulary.load(path)
    assert (vocabulary.pad, vocabulary.eos, vocabulary.unk) == (0, 2, 3)
    assert (vocabulary.bos, len(vocabulary)) == (40, 41)


def _loaded(path: Path) -> SentencePieceVocabulary | UserError:
    try:
        return SentencePieceVocabulary.load(path)
    except UserError as error:
        return error


def test_mutated_model_is_usable_or_raises_user_error(tmp_path: Path) -> None:
    model, random = SentencePieceVocabulary.train(TEXT, size=40).serialized, Random(1)
    path = tmp_path / "odd.model"
    refused = 0
    for _ in range(300):
        # Mostly among the tokens, before the table of the normalization.
        start = random.randrange(800 if random.random() < 0.8 else len(model))
        path.write_bytes(model[:start] + random.randbytes(1) + model[start + 1 :])
        vocabulary = _loaded(path)
        if isinstance(vocabulary, UserError):
            assert vocabulary.location == str(path)
            assert len(vocabulary.lines) == 1
            refused += 1
            continue
        ids = vocabulary.encode(TEXT[0])
        assert max([*ids, *vocabulary.special_tokens]) < len(vocabulary)
        assert len(vocabulary.log_probs()) == len(vocabulary)
        vocabulary.decode_with_spans(range(len(vocabulary)))
    assert 20 < refused < 280


def test_missing_model_raises_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.model: not found"):
        SentencePieceVocabulary.load(tmp_path / "none.model")


@pytest.mark.parametrize(("type", "kind"), [("unigram", "unigram"), ("bpe", "bpe"), ("char", None)])
def test_sampling_depends_on_the_type_of_the_model(type: VocabularyType, kind: str | None) -> None:
    assert SentencePieceVocabulary.train(TEXT, size=40, type=type).sampling == kind


def test_segmentations_start_with_the_encoding_and_descend_in_probability(
    vocabulary: SentencePieceVocabulary,
) -> None:
    ids = vocabulary.encode("Mann")
    segmentations = vocabulary.segmentations(ids, 3)
    log_probs = vocabulary.log_probs()
    sums = [sum(log_probs[i] for i in segmentation) for segmentation in segmentations]
    assert segmentations[0] == ids
    assert len(set(map(tuple, segmentations))) == 3
    assert sums == sorted(sums, reverse=True)
    assert {vocabulary.decode(segmentation) for segmentation in segmentations} == {"Mann"}


def test_special_and_byte_tokens_have_no_probability(tmp_path: Path) -> None:
    path = tmp_path / "foreign.model"
    path.write_bytes(foreign_model(vocab_size=300, byte_fallback=True))
    vocabulary = SentencePieceVocabulary.load(path)
    without_probability = [
        i for i, value in enumerate(vocabulary.log_probs()) if value == -math.inf
    ]
    assert without_probability == [0, 1, 2, *range(3, 3 + 256), vocabulary.pad]
