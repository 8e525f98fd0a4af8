"""Word alignments as links between tokens: their positions, faulty files and the cache."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nmt.data import alignments
from nmt.data.alignments import link_tokens
from nmt.data.batch import collate
from nmt.data.corpus import Corpus
from nmt.data.loader import make_batch
from nmt.data.preparation import Preparation
from nmt.data.token_corpus import TokenCorpus, TokenLinks
from nmt.data.tokenization import tokenize_corpus
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from tests.data.corpora import Pairs, Write

Align = Callable[[Sequence[str]], TokenLinks]


@pytest.fixture
def corpus(write: Write, pairs: Pairs) -> Corpus:
    """Three pairs, of which the second is not tokenized."""
    return write([pairs[0], (pairs[1][0], ""), pairs[5]])


@pytest.fixture
def tokens(corpus: Corpus, vocabulary: Vocabulary) -> TokenCorpus:
    """The corpus, tokenized."""
    return tokenize_corpus(corpus, vocabulary, vocabulary, max_length=60, cache_dir=None)


@pytest.fixture
def align(corpus: Corpus, tokens: TokenCorpus, vocabulary: Vocabulary, tmp_path: Path) -> Align:
    """Return a function that links the tokens by the lines of an alignment file."""

    def link(lines: Sequence[str], **options: Any) -> TokenLinks:
        file = tmp_path / "links"
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        options = {"cache_dir": None} | options
        return link_tokens(corpus, tokens, [file], (vocabulary, vocabulary), **options)

    return link


def _positions(text: str, vocabulary: Vocabulary) -> list[range]:
    """Return the positions of the tokens of each word: no token crosses a space."""
    lengths = [len(vocabulary.encode(word)) for word in text.split()]
    ends = np.cumsum(lengths).tolist()
    return [range(end - length, end) for end, length in zip(ends, lengths, strict=True)]


def test_all_tokens_of_linked_words_are_linked(
    align: Align, pairs: Pairs, vocabulary: Vocabulary
) -> None:
    assert pairs[0] == ("Ein Mann liest im Garten.", "A man reads in the garden.")
    links = align(["0-0 1p1 4-5", "0-0 9-9", "0-0"])
    source, target = (_positions(text, vocabulary) for text in pairs[0])
    found = {(int(links.source[x]), int(links.target[x])) for x in range(links.offsets[1])}
    assert found == {
        (s, t) for i, j in [(0, 0), (1, 1), (4, 5)] for s in source[i] for t in target[j]
    }
    # The second pair was left out when the text was tokenized, whatever its line is.
    assert len(links.offsets) == 3 and links.offsets[2] == len(links.source)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["0-0", "", "0-0 3-4"], "links:3: link 3-4, but the target has 4 words"),
        (["0-0", "", "4-0"], "links:3: link 4-0, but the source has 4 words"),
        (["0-0 1:1", "", ""], "links:1: '1:1' is not a link"),
        (["0-0", ""], "has 2 lines of alignments, but the training text has 3 pairs"),
        (["0-0", "", "", "", ""], "has 5 lines of alignments, but the training text has 3 pairs"),
        (["", "", ""], "has no link"),
    ],
)
def test_faulty_alignments_are_refused(align: Align, lines: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        align(lines)


def test_links_are_cached_until_the_alignments_change(
    align: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = {"cache_dir": tmp_path / "cache"}
    first = align(["0-0", "", "1-1"], **cached)
    with monkeypatch.context() as patch:
        patch.setattr(alignments, "_link", None)
        again = align(["0-0", "", "1-1"], **cached)
    assert all(map(np.array_equal, again[:3], first[:3]))
    assert again.text_fingerprint == first.text_fingerprint
    other = align(["0-0", "", "1-2"], **cached)
    assert other.text_fingerprint != first.text_fingerprint
    assert not np.array_equal(other.target, first.target)


def test_several_files_continue_each_other_and_workers_change_nothing(
    tokens: TokenCorpus,
    vocabulary: Vocabulary,
    tmp_path: Path,
    align: Align,
    corpus: Corpus,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = align(["0-0", "", "1-1"])
    for name, text in (("one", "0-0\n"), ("two", "\n1-1\n")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(alignments, "MAX_SERIAL_BLOCKS", 0)
    found = link_tokens(
        corpus,
        tokens,
        [tmp_path / "one", tmp_path / "two"],
        (vocabulary, vocabulary),
        cache_dir=None,
        processes=2,
    )
    assert all(map(np.array_equal, found[:3], expected[:3]))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([2, 4], r"/0: has 2 lines of alignments, but .*train has 3 pairs"),
        ([1, 3, 2], "end between the pairs of a corpus; give one file per corpus"),
        ([3, 3], None),
        ([1, 2, 3], None),
        ([6], None),
    ],
)
def test_files_of_alignments_end_where_corpora_end(
    counts: list[int],
    message: str | None,
    corpus: Corpus,
    vocabulary: Vocabulary,
    tmp_path: Path,
) -> None:
    both = Corpus((*corpus.parts, *corpus.parts))
    tokens = tokenize_corpus(both, vocabulary, vocabulary, max_length=60, cache_dir=None)
    files = [tmp_path / str(number) for number in range(len(counts))]
    for file, count in zip(files, counts, strict=True):
        file.write_text("0-0\n" * count)
    vocabularies = vocabulary, vocabulary
    if message is None:
        links = link_tokens(both, tokens, files, vocabularies, cache_dir=None)
        assert len(links.offsets) == len(tokens) + 1
        return
    with pytest.raises(UserError, match=message):
        link_tokens(both, tokens, files, vocabularies, cache_dir=None)


@pytest.mark.parametrize("reverses", [False, True])
def test_batch_alignment_is_the_matrix_of_normalized_rows(
    align: Align, tokens: TokenCorpus, vocabulary: Vocabulary, reverses: bool
) -> None:
    links, rows = align(["0-0 1-0 4-5", "", "2-3"]), np.array([1, 0])
    tokens = replace(tokens, links=links, reverses_targets=reverses)
    pairs = [tokens[row] for row in rows.tolist()]
    special = vocabulary.special_tokens
    targets = [target[::-1] if reverses else target for _, target in pairs]
    expected_batch = collate([source for source, _ in pairs], targets, special, special)
    batch = make_batch(tokens, rows, (special, special))
    assert torch.equal(batch.target_in_bt, expected_batch.target_in_bt)
    assert torch.equal(batch.target_out_bt, expected_batch.target_out_bt)
    alignment = batch.alignment
    assert alignment is not None
    expected = np.zeros((2, *batch.target_in_bt.shape[1:], *batch.source_mask_bs.shape[1:]))
    for place, row in enumerate(rows):
        for x in range(links.offsets[row], links.offsets[row + 1]):
            position = links.target[x]
            position = len(pairs[place][1]) - 1 - position if reverses else position
            expected[place, position, links.source[x]] = 1
    expected /= expected.sum(axis=2, keepdims=True).clip(1)
    found = np.zeros(expected.size)
    found[alignment.indices_x.numpy()] = alignment.shares_x.numpy()
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-6)
    assert set(expected.sum(axis=2).round(6).flatten()) == {0.0, 1.0}
    assert batch.without_targets().alignment is None


def test_limited_corpora_with_tags_use_the_lines_of_their_own_pairs(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    (part,) = write(pairs[:4]).parts
    tagged = replace(part, tag="<x>")
    corpus = Corpus((part, tagged)).limited(4)
    tokens = tokenize_corpus(corpus, vocabulary, vocabulary, max_length=60, cache_dir=None)
    (tmp_path / "links").write_text("0-0\n" * 4 + "1-1\n" * 4)
    both = (vocabulary, vocabulary)
    links = link_tokens(corpus, tokens, [tmp_path / "links"], both, cache_dir=None)
    counts = np.diff(links.offsets)
    assert len(counts) == 4
    # Word 1 of the file is word 2 of the source, after the tag.
    text = f"<x> {pairs[0][0]}"
    word = _positions(text, vocabulary)[2]
    own = slice(links.offsets[2], links.offsets[3])
    assert set(links.source[own].tolist()) == set(word)
    assert set(links.source[: links.offsets[1]].tolist()) == set(
        _positions(pairs[0][0], vocabulary)[0]
    )
    # A limit that no corpus reaches skips no line.
    whole = Corpus((part, tagged)).limited(100)
    tokens = tokenize_corpus(whole, vocabulary, vocabulary, max_length=60, cache_dir=None)
    links = link_tokens(whole, tokens, [tmp_path / "links"], both, cache_dir=None)
    assert len(links.offsets) == 9


def test_links_count_the_words_of_the_files_where_text_is_tokenized_before_the_vocabulary(
    write: Write, pairs: Pairs, vocabulary: Vocabulary, tmp_path: Path, monkeypatch: Any
) -> None:
    def split(text: str) -> str:
        return text.replace(".", " .")

    monkeypatch.setattr(Preparation, "_tokenize", lambda self, text, language: split(text))
    corpus, preparation = write(pairs[:1]), Preparation(pre="moses")
    tokens = tokenize_corpus(
        corpus, vocabulary, vocabulary, max_length=60, cache_dir=None, preparation=preparation
    )
    (tmp_path / "links").write_text("4-5\n")
    both = (vocabulary, vocabulary)
    links = link_tokens(corpus, tokens, [tmp_path / "links"], both, preparation, cache_dir=None)
    # The last word of each file is two words of the prepared text.
    for found, text in ((links.source, pairs[0][0]), (links.target, pairs[0][1])):
        *_, word, period = _positions(split(text), vocabulary)
        assert set(found.tolist()) == {*word, *period}
