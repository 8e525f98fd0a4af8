"""Vocabulary files of other toolkits, recognized by their content."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nmt.config.schema import VocabularyConfig
from nmt.data.vocabularies.files import load_given_vocabularies, load_vocabulary, read_codes
from nmt.data.vocabularies.hugging_face import HuggingFaceVocabulary
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabularies.subword_nmt import SubwordNmtVocabulary
from nmt.errors import UserError
from tests.data.vocabularies.conftest import CODES, TEXT

OWN = ["<pad>", "<s>", "</s>", "<unk>"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("joey.txt", "<unk>\n<pad>\n<s>\n</s>\nMann\nEin\n,\n"),
        ("joey-windows.txt", "\ufeff<unk>\r\nMann\r\nEin\r\n,\r\n"),
        ("onmt.vocab.src", "<blank>\t1\n<s>\t1\nMann\t17\nEin\t12\n,\t3\n"),
        ("dict.de.txt", "Mann 17\nEin 12\n, 3 #fairseq:overwrite\nmadeupword0000 0\n"),
        ("marian.yml", '"</s>": 0\n"<unk>": 1\nMann: 2\nEin: 3\n",": 4\n'),
        ("sockeye.json", '{"<pad>": 0, ",": 6, "Ein": 5, "Mann": 4, "</s>": 3}'),
    ],
)
def test_list_of_tokens_keeps_its_order(name: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode())
    vocabulary = load_vocabulary(path)
    assert vocabulary.tokens(range(len(vocabulary))) == [*OWN, "Mann", "Ein", ","]
    assert vocabulary.encode("Ein Mann , </s>") == [5, 4, 6, 3]


def test_tokens_may_look_like_other_values(tmp_path: Path) -> None:
    lines, mapping = tmp_path / "vocab.txt", tmp_path / "vocab.yml"
    lines.write_text("#\n3\n1.5 2\n\u2028\nnull\n")
    mapping.write_text("no: 1\n2026-01-01: 2\n3: 3\nnull: 0\nmodel: 4\n")
    assert load_vocabulary(lines).tokens(range(4, 8)) == ["#", "3", "1.5", "null"]
    assert load_vocabulary(mapping).tokens(range(4, 9)) == [
        "null",
        "no",
        "2026-01-01",
        "3",
        "model",
    ]
    other = tmp_path / "vocab.json"
    other.write_text('{"model": 0, "type": 1}')
    assert load_vocabulary(other).tokens([4, 5]) == ["model", "type"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "Ein\nMann liest\n", "a.txt:2: expected one token per line"),
        ("a.txt", "Ein\nMann\nEin\n", "a.txt:3: repeats the token 'Ein' of line 1"),
        ("a.txt", "", "a.txt: contains no token"),
        ("a.txt", "<unk>\n<s>\n", "a.txt: contains no token"),
        ("a.vocab", "<unk>\t0\n▁Ein\t-3.5\n", "a.vocab:2: has scores of a SentencePiece model"),
        ("a.txt", CODES, "a.txt: contains merge operations of BPE; give it as data.vocab"),
        ("a.yml", "- a\n- b\n", "a.yml: expected a mapping of tokens to ids"),
        ("a.yml", "a: [\n", "a.yml: expected a mapping of tokens to ids"),
        ("a.json", '{"a b": 1}', "a.json: expected tokens without white space"),
        ("a.json", '{"type": "word", "words": ["a", "a"]}', "a.json: is not a vocabulary, or is"),
        ("a.json", '{"type": "other"}', "a.json: is not a vocabulary, or is damaged"),
        ("a.model", "Ein\nMann\n", "a.model: is not a SentencePiece model"),
    ],
)
def test_other_file_raises_user_error_with_location(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UserError) as raised:
        load_vocabulary(path)
    assert str(raised.value).startswith(f"{tmp_path}/{message}")
    assert len(raised.value.lines) == 1


def test_codes_require_a_list_of_tokens(tmp_path: Path) -> None:
    codes, tokens, model = tmp_path / "codes", tmp_path / "vocab.txt", tmp_path / "a.model"
    codes.write_text(CODES)
    tokens.write_text("Ein\nMann\nM@@\na@@\n")
    SentencePieceVocabulary.train(TEXT, size=32).save(model)
    vocabulary = load_vocabulary(tokens, codes)
    assert isinstance(vocabulary, SubwordNmtVocabulary)
    assert vocabulary.tokens(vocabulary.encode("Ein Mann Ma")) == ["Ein", "Mann", "M@@", "<unk>"]
    with pytest.raises(UserError, match=r"a\.model: has its own segmentation"):
        load_vocabulary(model, codes)
    with pytest.raises(UserError, match=r"vocab\.txt:1: expected a pair of subwords; give"):
        read_codes(tokens)


def test_sides_share_files_or_have_their_own(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(f"{name}\n")
    first, second = tmp_path / "a", tmp_path / "b"
    joint = load_given_vocabularies(VocabularyConfig(model=first))
    assert joint[0] is joint[1]
    source, target = load_given_vocabularies(VocabularyConfig(model=[first, second]))
    assert source is not None and (source.tokens([4]), target.tokens([4])) == (["a"], ["b"])


def test_tokenizer_json_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"type": "BPE"}}))
    with pytest.raises(UserError, match=r"tokenizer\.json: .* run pip install .*nmt\[tokenizers\]"):
        load_vocabulary(path)


def test_damaged_tokenizer_json_raises_user_error(
    tokenizer_json: Callable[[str], Path], tmp_path: Path
) -> None:
    intact = tokenizer_json("unigram")
    assert isinstance(load_vocabulary(intact), HuggingFaceVocabulary)
    path = tmp_path / "tokenizer.json"
    for model in ({"type": "Frobnicate"}, {"type": "BPE", "vocab": 3}, {}):
        path.write_text(json.dumps(json.loads(intact.read_text()) | {"model": model}))
        with pytest.raises(UserError, match=r"is not a tokenizer\.json that this version reads"):
            load_vocabulary(path)
