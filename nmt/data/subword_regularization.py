"""Subword regularization: sampling other segmentations of the words of a tokenized corpus.

By the probabilities of a unigram model, in which no token crosses a space, so that the words of a
sentence are independent; Kudo 2018, equation 8:

    P(segmentation) = P_unigram(segmentation)**alpha / sum over the n best of P_unigram**alpha

By BPE dropout, which drops each possible merge of a step with probability p; Provilkov et al. 2020,
algorithm 1. This distribution has no closed form, so a word has a number of segmentations that are
drawn once, and each of its occurrences draws one of these.

Words are found in the token ids, so no text is read. SentencePiece only lists the segmentations.
NumPy draws among them, because SentencePiece's own samples differ between processes.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from itertools import chain, islice, pairwise
from random import Random

import numpy as np

from nmt.data.token_corpus import Array, TokenArrays, TokenCorpus
from nmt.data.vocabularies.sentencepiece import SPACE, SentencePieceVocabulary
from nmt.data.vocabularies.subword_nmt import SEPARATOR, SubwordNmtVocabulary
from nmt.data.vocabulary import Vocabulary

# Number of segmentations of a word that approximates all of them: with alpha 0.1, sentences of
# Multi30k have 30.8 tokens on average, and 31.8 with all segmentations.
DEFAULT_NBEST = 64
# Segmentations of a word that BPE dropout draws.
DROPOUT_DRAWS = 32
# A draw is an integer below 2**DRAW_BITS; word number * 2**DRAW_BITS + draw is exact in int64.
DRAW_BITS = 32
# Number of pairs whose words are found at a time, which bounds the memory.
CHUNK_PAIRS = 10_000

Segmentations = tuple[list[list[int]], Array]
"""Different segmentations of a word, and a weight of each, which need not sum to one."""


def sample_segmentations(
    corpus: TokenCorpus,
    source_vocabulary: Vocabulary | None,
    target_vocabulary: Vocabulary | None,
    *,
    alpha: float = 1.0,
    nbest: int = -1,
    dropout: float = 0.1,
    seed: int,
) -> TokenCorpus:
    """Sample another segmentation of every word, in memory; pairs and their order are unchanged.

    The result depends only on the arguments: to sample again in each epoch, give each epoch its own
    seed. Sentences may become longer than `max_length` and are kept. Words are unchanged if they
    contain unknown or byte tokens, or if SentencePiece would normalize their text. The
    segmentations of a word are computed once per process.

    Args:
        corpus: a corpus that was tokenized with these vocabularies
        source_vocabulary, target_vocabulary: vocabularies whose `sampling` is not None; None for a
            side that is left as it is
        alpha: of a unigram vocabulary, smoothing of the distribution; near 0 it is uniform, and a
            large value leaves only the most probable segmentation
        nbest: of a unigram vocabulary, number of segmentations of a word to sample from, 2 to 512;
            -1 for 64
        dropout: of BPE, probability that a merge is dropped
        seed: seed, not negative
    """
    arrays = corpus.arrays
    sides = (
        (source_vocabulary, arrays.source_tokens, arrays.source_offsets),
        (target_vocabulary, arrays.target_tokens, arrays.target_offsets),
    )
    seeds = np.random.SeedSequence(seed).spawn(2)
    sampled = [
        (tokens, offsets)
        if vocabulary is None
        else _sample_side(
            tokens,
            offsets,
            _segmentation_table(vocabulary, alpha, nbest, dropout),
            np.random.default_rng(side_seed),
        )
        for (vocabulary, tokens, offsets), side_seed in zip(sides, seeds, strict=True)
    ]
    sampled_sides = [
        None if vocabulary is None else vocabulary.sampling for vocabulary, *_ in sides
    ]
    key = json.dumps([corpus.fingerprint, alpha, nbest, dropout, sampled_sides, seed])
    return replace(
        corpus,
        arrays=TokenArrays(*sampled[0], *sampled[1], arrays.lines),
        fingerprint=hashlib.sha256(key.encode()).hexdigest(),
    )


def _sample_side(
    tokens: Array, offsets: Array, table: "_SegmentationTable", generator: np.random.Generator
) -> tuple[Array, Array]:
    """Return the tokens and offsets of one side with sampled segmentations."""
    # All words are found before any is sampled, so that new ones enter the table at once.
    starts = range(0, len(offsets) - 1, CHUNK_PAIRS)
    chunks = [
        table.find_words(tokens, offsets[start : start + CHUNK_PAIRS + 1]) for start in starts
    ]
    table.add_segmentations()
    sampled = []
    lengths = [np.zeros(1, offsets.dtype)]
    for words, sentences in chunks:
        ids, word_offsets = table.sample(words, generator)
        sampled.append(ids.astype(tokens.dtype))
        lengths.append(np.diff(word_offsets[sentences]))
    return np.concatenate(sampled), np.cumsum(np.concatenate(lengths))


class _UnigramSegmenter:
    """Lists the most probable segmentations of a word, weighted by P(segmentation)**alpha."""

    def __init__(self, vocabulary: SentencePieceVocabulary, alpha: float, nbest: int) -> None:
        self._vocabulary, self._alpha = vocabulary, alpha
        self._nbest = DEFAULT_NBEST if nbest == -1 else nbest
        self._log_probs = np.array(vocabulary.log_probs())

    def __call__(self, word: list[int]) -> Segmentations:
        # Unknown and byte tokens have no probability.
        if not np.isfinite(self._log_probs[word]).all():
            return [word], np.ones(1)
        found = self._vocabulary.segmentations(word, self._nbest)
        if len(found) == 1:
            return found, np.ones(1)
        counts = np.fromiter(map(len, found), np.int64, len(found))
        ids = np.fromiter(chain.from_iterable(found), np.int32, counts.sum())
        log_probs = np.add.reduceat(self._log_probs[ids], np.cumsum(counts) - counts)
        # The greatest log probability is subtracted to avoid underflow with a large alpha.
        return found, np.exp(self._alpha * (log_probs - log_probs.max()))


class _BpeSegmenter:
    """Draws segmentations of a word by BPE dropout, weighted by their numbers."""

    def __init__(
        self, vocabulary: SentencePieceVocabulary | SubwordNmtVocabulary, dropout: float
    ) -> None:
        self._vocabulary, self._dropout = vocabulary, dropout

    def __call__(self, word: list[int]) -> Segmentations:
        # By the word, so that the result depends on no other word.
        random = Random(f"{word} {self._dropout}").random
        drawn = self._vocabulary.drop_merges(word, lambda: random() < self._dropout, DROPOUT_DRAWS)
        found = Counter(map(tuple, drawn))
        return list(map(list, found)), np.fromiter(found.values(), np.float64, len(found))


def _word_starts(vocabulary: Vocabulary) -> Callable[[Array], Array]:
    """Return the function from token ids to whether each but the first one starts a word."""
    tokens = vocabulary.tokens(range(len(vocabulary)))
    if isinstance(vocabulary, SubwordNmtVocabulary):
        is_last = np.array([not token.endswith(SEPARATOR) for token in tokens])
        return lambda ids: is_last[ids[:-1]]
    # A token that consists of '▁' alone belongs to the following token.
    has_space = np.array([token.startswith(SPACE) for token in tokens])
    is_space = np.array([not token.strip(SPACE) for token in tokens])
    return lambda ids: has_space[ids[1:]] & ~is_space[ids[:-1]]


# Two tables: one for each side. The words of a corpus are segmented in the first epoch only.
@lru_cache(maxsize=2)
def _segmentation_table(
    vocabulary: Vocabulary, alpha: float, nbest: int, dropout: float
) -> "_SegmentationTable":
    segment: Callable[[list[int]], Segmentations]
    if vocabulary.sampling == "bpe":
        assert isinstance(vocabulary, SentencePieceVocabulary | SubwordNmtVocabulary)
        segment = _BpeSegmenter(vocabulary, dropout)
    else:
        assert isinstance(vocabulary, SentencePieceVocabulary) and vocabulary.sampling
        segment = _UnigramSegmenter(vocabulary, alpha, nbest)
    return _SegmentationTable(_word_starts(vocabulary), segment)


class _SegmentationTable:
    """The segmentations of all words found so far, and their sampling distributions.

    Words are numbered, and the segmentations of all words are concatenated in this order. `bounds`
    is a cumulative distribution function over all of them: the draws of word w lie in
    [w * 2**DRAW_BITS, (w + 1) * 2**DRAW_BITS), and those of its segmentation c lie below bounds[c]
    and not below bounds[c - 1]. One binary search then samples for every word.

    Args:
        starts_words: see `_word_starts`
        segment: returns the segmentations of a word
    """

    def __init__(
        self, starts_words: Callable[[Array], Array], segment: Callable[[list[int]], Segmentations]
    ) -> None:
        self._starts_words, self._segment = starts_words, segment
        # Number of each word, by the bytes of its token ids in the text.
        self.numbers: dict[bytes, int] = {}
        self.num_segmented = 0
        self.ids = np.zeros(0, np.int32)
        self.starts = self.lengths = self.bounds = np.zeros(0, np.int64)

    def find_words(self, tokens: Array, offsets: Array) -> tuple[Array, Array]:
        """Return the number of each word, and the index of each sentence's first word.

        A word starts at the start of a sentence and where `starts_words` is True. The indices have
        one more entry for the end.
        """
        ids = tokens[offsets[0] : offsets[-1]].astype(np.int32)
        sentence_starts = offsets - offsets[0]
        is_start = np.ones(len(ids) + 1, bool)
        is_start[1:-1] = self._starts_words(ids)
        is_start[sentence_starts] = True
        starts = np.flatnonzero(is_start)
        # Slices of bytes are hashable, unlike slices of arrays, and faster to make than tuples.
        text, numbers = ids.tobytes(), self.numbers
        words = [
            numbers.setdefault(text[start:end], len(numbers))
            for start, end in pairwise((starts * ids.itemsize).tolist())
        ]
        # int32, since the words of all chunks are in memory until new words are segmented.
        return np.array(words, np.int32), np.searchsorted(starts, sentence_starts)

    def add_segmentations(self) -> None:
        """Compute the segmentations of the words that have none yet."""
        ids, lengths, bounds = [self.ids], [self.lengths], [self.bounds]
        new = islice(self.numbers, self.num_segmented, None)
        for number, word in enumerate(new, start=self.num_segmented):
            segmentations, weights = self._segment(np.frombuffer(word, np.int32).tolist())
            counts = np.fromiter(map(len, segmentations), np.int64, len(segmentations))
            ids.append(np.fromiter(chain.from_iterable(segmentations), np.int32, counts.sum()))
            lengths.append(counts)
            bounds.append(_scaled_cumulative(weights) + (number << DRAW_BITS))
        self.num_segmented = len(self.numbers)
        self.ids, self.lengths = np.concatenate(ids), np.concatenate(lengths)
        self.bounds = np.concatenate(bounds)
        self.starts = np.cumsum(self.lengths) - self.lengths

    def sample(self, words: Array, generator: np.random.Generator) -> tuple[Array, Array]:
        """Return the token ids of a sampled segmentation per word, and the offsets of the words."""
        uniform = generator.integers(1 << DRAW_BITS, size=len(words))
        draws = (words.astype(np.int64) << DRAW_BITS) + uniform
        # The first bound above the draw belongs to the sampled segmentation.
        chosen = np.searchsorted(self.bounds, draws, side="right")
        lengths = self.lengths[chosen]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        # Gather ids[start : start + length] of every chosen segmentation at once.
        shift = np.repeat(self.starts[chosen] - offsets[:-1], lengths)
        return self.ids[shift + np.arange(offsets[-1])], offsets


def _scaled_cumulative(weights: Array) -> Array:
    """Return the cumulative distribution of weights, scaled to 2**DRAW_BITS."""
    sums = np.cumsum(weights)
    return np.floor(sums / sums[-1] * (1 << DRAW_BITS)).astype(np.int64)
