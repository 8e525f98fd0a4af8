"""Subword regularization: sampling other segmentations of a tokenized corpus (Kudo 2018).

In the unigram model no token crosses a space, so the probability of a sentence's segmentation is
the product over its words, and each word is segmented independently:

    P(segmentation) = P_unigram(segmentation)**alpha / sum over the n best of P_unigram**alpha
                                                                                        (eq. 8)

Words are found in the token ids, so no text is read. SentencePiece only lists the segmentations.
NumPy draws among them, because SentencePiece's own samples differ between processes.
"""

import hashlib
import json
from dataclasses import replace
from functools import lru_cache
from itertools import chain, islice, pairwise

import numpy as np

from nmt.data.token_corpus import Array, TokenArrays, TokenCorpus
from nmt.data.vocabularies.sentencepiece import SPACE, SentencePieceVocabulary
from nmt.data.vocabulary import Vocabulary

# Number of segmentations of a word that approximates all of them: with alpha 0.1, sentences of
# Multi30k have 30.8 tokens on average, and 31.8 with all segmentations.
DEFAULT_NBEST = 64
# A draw is an integer below 2**DRAW_BITS; word number * 2**DRAW_BITS + draw is exact in int64.
DRAW_BITS = 32
# Pairs whose words are looked up together.
CHUNK_PAIRS = 10_000


def sample_segmentations(
    corpus: TokenCorpus,
    source_vocabulary: Vocabulary | None,
    target_vocabulary: Vocabulary,
    *,
    alpha: float,
    nbest: int,
    seed: int,
) -> TokenCorpus:
    """Sample another segmentation of every word, in memory; pairs and their order are unchanged.

    The result depends only on the arguments: to sample again in each epoch, give each epoch its own
    seed. Sentences may become longer than `max_length` and are kept. Words are unchanged if they
    contain unknown or byte tokens, or if SentencePiece would normalize their text. The
    segmentations of a word are computed once per process.

    Args:
        corpus: a corpus that was tokenized with these vocabularies
        source_vocabulary: a unigram vocabulary; None if the source is images
        target_vocabulary: a unigram vocabulary
        alpha: smoothing of the distribution; near 0 it is uniform, and a large value leaves only
            the most probable segmentation
        nbest: number of segmentations of a word to sample from, 2 to 512; -1 for 64
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
            _segmentation_table(_sampled(vocabulary), alpha, nbest),
            np.random.default_rng(side_seed),
        )
        for (vocabulary, tokens, offsets), side_seed in zip(sides, seeds, strict=True)
    ]
    key = json.dumps([corpus.fingerprint, alpha, nbest, seed])
    return replace(
        corpus,
        arrays=TokenArrays(*sampled[0], *sampled[1], arrays.lines),
        fingerprint=hashlib.sha256(key.encode()).hexdigest(),
    )


def _sampled(vocabulary: Vocabulary) -> SentencePieceVocabulary:
    assert isinstance(vocabulary, SentencePieceVocabulary) and vocabulary.supports_sampling
    return vocabulary


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


# Two tables: one for each side. The words of a corpus are segmented in the first epoch only.
@lru_cache(maxsize=2)
def _segmentation_table(
    vocabulary: SentencePieceVocabulary, alpha: float, nbest: int
) -> "_SegmentationTable":
    return _SegmentationTable(vocabulary, alpha, DEFAULT_NBEST if nbest == -1 else nbest)


class _SegmentationTable:
    """The best segmentations of all words found so far, and their sampling distributions.

    Words are numbered, and the segmentations of all words are concatenated in this order. `bounds`
    is a cumulative distribution function over all of them: the draws of word w lie in
    [w * 2**DRAW_BITS, (w + 1) * 2**DRAW_BITS), and those of its segmentation c lie below bounds[c]
    and not below bounds[c - 1]. One binary search then samples for every word.
    """

    def __init__(self, vocabulary: SentencePieceVocabulary, alpha: float, nbest: int) -> None:
        self.vocabulary, self.alpha, self.nbest = vocabulary, alpha, nbest
        tokens = vocabulary.tokens(range(len(vocabulary)))
        self.has_space = np.array([token.startswith(SPACE) for token in tokens])
        self.is_space = np.array([not token.strip(SPACE) for token in tokens])
        self.log_probs = np.array(vocabulary.log_probs())
        # Number of each word, by the bytes of its token ids in the text.
        self.numbers: dict[bytes, int] = {}
        self.num_segmented = 0
        self.ids = np.zeros(0, np.int32)
        self.starts = self.lengths = self.bounds = np.zeros(0, np.int64)

    def find_words(self, tokens: Array, offsets: Array) -> tuple[Array, Array]:
        """Return the number of each word, and the index of each sentence's first word.

        A word starts at the start of a sentence and at each token that starts with '▁'. A token
        that consists of '▁' alone belongs to the following token. The indices have one more entry
        for the end.
        """
        ids = tokens[offsets[0] : offsets[-1]].astype(np.int32)
        sentence_starts = offsets - offsets[0]
        is_start = np.ones(len(ids) + 1, bool)
        is_start[1:-1] = self.has_space[ids[1:]] & ~self.is_space[ids[:-1]]
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
            segmentations = self._segment(np.frombuffer(word, np.int32))
            counts = np.fromiter(map(len, segmentations), np.int64, len(segmentations))
            ids.append(np.fromiter(chain.from_iterable(segmentations), np.int32, counts.sum()))
            lengths.append(counts)
            bounds.append(self._cumulative(ids[-1], counts) + (number << DRAW_BITS))
        self.num_segmented = len(self.numbers)
        self.ids, self.lengths = np.concatenate(ids), np.concatenate(lengths)
        self.bounds = np.concatenate(bounds)
        self.starts = np.cumsum(self.lengths) - self.lengths

    def _segment(self, word: Array) -> list[list[int]]:
        # Unknown and byte tokens have no probability.
        can_sample = np.isfinite(self.log_probs[word]).all()
        ids = word.tolist()
        return self.vocabulary.segmentations(ids, self.nbest) if can_sample else [ids]

    def _cumulative(self, ids: Array, counts: Array) -> Array:
        """Return the cumulative distribution of a word's segmentations, scaled to 2**DRAW_BITS."""
        if len(counts) == 1:
            return np.array([1 << DRAW_BITS])
        log_probs = np.add.reduceat(self.log_probs[ids], np.cumsum(counts) - counts)
        # The greatest log probability is subtracted to avoid underflow with a large alpha.
        sums = np.cumsum(np.exp(self.alpha * (log_probs - log_probs.max())))
        return np.floor(sums / sums[-1] * (1 << DRAW_BITS)).astype(np.int64)

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
