"""Contract of all kinds of vocabularies."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from nmt.data.vocabularies.files import load_own, load_vocabulary
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabularies.subword_nmt import Codes, SubwordNmtVocabulary
from nmt.data.vocabularies.words import WordVocabulary
from nmt.data.vocabulary import Vocabulary
from tests.data.vocabularies.conftest import CODES, TEXT

KINDS = ("sentencepiece", "word", "normalized", "subword_nmt", "byte-level", "unigram", "wordpiece")


@pytest.fixture(params=KINDS)
def kind(request: Any) -> str:
    """Return the name of a kind."""
    name: str = request.param
    return name


@pytest.fixture
def vocabulary(kind: str, request: Any) -> Vocabulary:
    """Make a vocabulary of each kind."""
    words = list(dict.fromkeys(word for line in TEXT for word in line.split()))
    match kind:
        case "sentencepiece":
            return SentencePieceVocabulary.train(TEXT, size=32)
        case "word":
            return WordVocabulary.make(words)
        case "normalized":
            return WordVocabulary.make(words, "nmt_nfkc")
        case "subword_nmt":
            subwords = dict.fromkeys(part for word in words for part in Codes(CODES).split(word))
            return SubwordNmtVocabulary.make(subwords, codes=CODES, symbols=[])
    return load_vocabulary(request.getfixturevalue("tokenizer_json")(kind))


def test_decoding_inverts_encoding(vocabulary: Vocabulary) -> None:
    for text in TEXT[:2]:
        assert vocabulary.decode(vocabulary.encode(text)) == text
        assert vocabulary.normalize(text).strip() == text
    assert vocabulary.encode_batch(TEXT) == [vocabulary.encode(text) for text in TEXT]
    assert vocabulary.encode_batch([]) == [] and vocabulary.encode_batch([""]) == [[]]


def test_text_never_yields_special_tokens(vocabulary: Vocabulary) -> None:
    special = vocabulary.special_tokens
    assert len({*special, vocabulary.unk}) == 4 and max(special) < len(vocabulary)
    names = [*vocabulary.tokens(special), "</s>", "<s>", "<pad>", "[CLS]", "<|endoftext|>"]
    for text in (*names, " ".join(names), f"Ein {names[2]} Mann"):
        assert not {*special} & {*vocabulary.encode(text)}, text


def test_special_tokens_produce_no_text(vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode(TEXT[0])
    padded = [vocabulary.bos, *ids, vocabulary.eos, vocabulary.pad, vocabulary.pad]
    assert vocabulary.decode(padded) == TEXT[0]
    text, spans = vocabulary.decode_with_spans(padded)
    assert text == TEXT[0] and len(spans) == len(padded)
    assert [end - start for start, end in (spans[0], *spans[-3:])] == [0] * 4


def test_texts_of_tokens_join_to_the_decoded_text(vocabulary: Vocabulary) -> None:
    texts = vocabulary.token_texts()
    assert len(texts) == len(vocabulary)
    for text in TEXT[:2]:
        ids = [vocabulary.bos, *vocabulary.encode(text), vocabulary.eos]
        parts = [
            one if isinstance(one, bytes) else one.encode() for one in map(texts.__getitem__, ids)
        ]
        assert b"".join(parts).decode().strip() == vocabulary.decode(ids)


@pytest.mark.parametrize(
    "text", [*TEXT[:3], " Ein   ﬁne ½ Männ😀 liest. ", "\u2028a\u00a0b", "", " "]
)
def test_spans_cover_text_in_order(vocabulary: Vocabulary, text: str) -> None:
    ids, spans = vocabulary.encode(text), vocabulary.spans(text)
    assert len(ids) == len(spans)
    _check_spans(spans, text)
    decoded, spans = vocabulary.decode_with_spans(ids)
    assert decoded == vocabulary.decode(ids) and len(spans) == len(ids)
    _check_spans(spans, decoded)


def _check_spans(spans: list[tuple[int, int]], text: str) -> None:
    """Check that spans ascend, and that no visible character lies outside of them."""
    covered = {i for start, end in spans for i in range(start, end)}
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert spans == sorted(spans)
    assert "".join(c for i, c in enumerate(text) if i not in covered).strip() == ""


def test_saved_and_pickled_vocabulary_is_the_same(vocabulary: Vocabulary, tmp_path: Path) -> None:
    path = tmp_path / f"new/joint{vocabulary.suffix}"
    vocabulary.save(path)
    for same in (load_own(path), load_vocabulary(path), pickle.loads(pickle.dumps(vocabulary))):
        assert type(same) is type(vocabulary) and same.fingerprint == vocabulary.fingerprint
        assert same.has_same_tokens(vocabulary)
        assert same.encode_batch(TEXT) == vocabulary.encode_batch(TEXT)


def test_unknown_text_is_unknown_or_decodes_to_itself(vocabulary: Vocabulary, kind: str) -> None:
    ids = vocabulary.encode("漢字")
    if kind == "byte-level":
        assert vocabulary.unk not in ids and vocabulary.decode(ids) == "漢字"
        assert vocabulary.decode_with_spans(ids[:-1])[0].startswith("漢")
    else:
        assert vocabulary.unk in ids
