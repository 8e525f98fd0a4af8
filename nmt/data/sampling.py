"""Subword regularisation: the words of an encoded corpus cut in other ways (Kudo 2018).

The unigram model cuts no piece across a space, so the probability of a sentence's cut is the
product over its words, and each word is cut by itself:

    P(cut) = P_unigram(cut)**alpha / sum over the word's n best cuts of P_unigram**alpha   (eq. 8)

Words are found in the ids, no text is read. SentencePiece only lists the cuts; the draws are
NumPy's, since SentencePiece's own are different in every process.
"""

import hashlib
import json
from dataclasses import replace
from functools import lru_cache
from itertools import chain, islice, pairwise

import numpy as np

from nmt.data.encoded import Array, Arrays, EncodedCorpus
from nmt.data.vocabulary import Vocabulary

SPACE = "▁"
# Cuts of a word that stand for all: at alpha 0.1 a sentence of Multi30k gets 30.8 pieces by these,
# 31.8 by all.
MANY = 64
# A draw is a whole number below 2**BITS, so that a word's place among the words rounds nothing.
BITS = 32
# Pairs whose words are looked at together.
CHUNK = 10_000


def sample_corpus(
    encoded: EncodedCorpus,
    source_vocabulary: Vocabulary | None,
    target_vocabulary: Vocabulary,
    *,
    alpha: float,
    nbest: int,
    seed: int,
) -> EncodedCorpus:
    """The pairs of `encoded`, in its order, with other cuts of their words, in memory.

    Which pairs stand in it does not depend on the cuts, which may exceed `max_length`. A pure
    function of its arguments: for new cuts each epoch, give a seed of that epoch. Words with
    unknown or byte pieces, or that SentencePiece would read otherwise, stay as they are. The cuts
    of a word are looked up once in a process.

    Args:
        encoded: what was encoded with these vocabularies, both unigram; pictures have none
        alpha: near 0 all cuts of a word are alike, a large one leaves only the likeliest
        nbest: the likeliest cuts of a word to choose among, 2 to 512; -1 for 64
        seed: not negative
    """
    assert source_vocabulary is None or source_vocabulary.samples
    assert target_vocabulary.samples
    arrays = encoded.arrays
    sides = (
        (source_vocabulary, arrays.source_tokens, arrays.source_offsets),
        (target_vocabulary, arrays.target_tokens, arrays.target_offsets),
    )
    seeds = np.random.SeedSequence(seed).spawn(2)
    sampled = [
        (tokens, offsets)
        if vocabulary is None
        else _sample(
            tokens, offsets, _cuts(vocabulary, alpha, nbest), np.random.default_rng(own_seed)
        )
        for (vocabulary, tokens, offsets), own_seed in zip(sides, seeds, strict=True)
    ]
    key = json.dumps([encoded.fingerprint, alpha, nbest, seed])
    return replace(
        encoded,
        arrays=Arrays(*sampled[0], *sampled[1], arrays.lines),
        fingerprint=hashlib.sha256(key.encode()).hexdigest(),
    )


def _sample(
    tokens: Array, offsets: Array, cuts: "_Cuts", generator: np.random.Generator
) -> tuple[Array, Array]:
    """Tokens and offsets of one side, cut anew."""
    starts = range(0, len(offsets) - 1, CHUNK)
    chunks = [cuts.words(tokens, offsets[start : start + CHUNK + 1]) for start in starts]
    cuts.learn()
    drawn = []
    lengths = [np.zeros(1, offsets.dtype)]
    for words, sentences in chunks:
        ids, ends = cuts.draw(words, generator)
        drawn.append(ids.astype(tokens.dtype))
        lengths.append(np.diff(ends[sentences]))
    return np.concatenate(drawn), np.cumsum(np.concatenate(lengths))


@lru_cache(maxsize=2)
def _cuts(vocabulary: Vocabulary, alpha: float, nbest: int) -> "_Cuts":
    return _Cuts(vocabulary, alpha, MANY if nbest == -1 else nbest)


class _Cuts:
    """The best cuts of all words met so far, and how likely each is drawn.

    Words have numbers, and their cuts stand one after another in that order. `bounds` grows over
    all cuts: the draws of word w are w * 2**BITS and more, those of its cut c are below
    `bounds[c]` and not below the one before.
    """

    def __init__(self, vocabulary: Vocabulary, alpha: float, count: int) -> None:
        self.vocabulary, self.alpha, self.count = vocabulary, alpha, count
        pieces = vocabulary.pieces(range(len(vocabulary)))
        self.opens = np.array([piece.startswith(SPACE) for piece in pieces])
        self.blank = np.array([not piece.strip(SPACE) for piece in pieces])
        self.log_probs = np.array(vocabulary.log_probs())
        self.numbers: dict[bytes, int] = {}  # by the ids of the cut that stood in the text
        self.learned = 0
        self.ids = np.zeros(0, np.int32)
        self.starts = self.lengths = self.bounds = np.zeros(0, np.int64)

    def words(self, tokens: Array, offsets: Array) -> tuple[Array, Array]:
        """The number of each word, and the place of each sentence (and the end) among the words.

        A word starts with a sentence, and at each piece that begins with '▁'; but a lone '▁'
        belongs to what follows it.
        """
        ids = tokens[offsets[0] : offsets[-1]].astype(np.int32)
        places = offsets - offsets[0]
        is_start = np.ones(len(ids) + 1, bool)
        is_start[1:-1] = self.opens[ids[1:]] & ~self.blank[ids[:-1]]
        is_start[places] = True
        starts = np.flatnonzero(is_start)
        text, known = ids.tobytes(), self.numbers
        words = [
            known.setdefault(text[start:end], len(known))
            for start, end in pairwise((starts * ids.itemsize).tolist())
        ]
        # In 32 bits: the words of all sentences are kept until the new ones among them are learned.
        return np.array(words, np.int32), np.searchsorted(starts, places)

    def learn(self) -> None:
        """Look up the cuts of the words that are new."""
        ids, lengths, bounds = [self.ids], [self.lengths], [self.bounds]
        for number, word in enumerate(islice(self.numbers, self.learned, None), self.learned):
            cuts = self._cuts_of(np.frombuffer(word, np.int32))
            counts = np.fromiter(map(len, cuts), np.int64, len(cuts))
            ids.append(np.fromiter(chain.from_iterable(cuts), np.int32, counts.sum()))
            lengths.append(counts)
            bounds.append(self._shares(ids[-1], counts) + (number << BITS))
        self.learned = len(self.numbers)
        self.ids, self.lengths = np.concatenate(ids), np.concatenate(lengths)
        self.bounds = np.concatenate(bounds)
        self.starts = np.cumsum(self.lengths) - self.lengths

    def _cuts_of(self, word: Array) -> list[list[int]]:
        is_known = np.isfinite(self.log_probs[word]).all()
        return self.vocabulary.cuts(word.tolist(), self.count) if is_known else [word.tolist()]

    def _shares(self, ids: Array, counts: Array) -> Array:
        """Where each cut's part of the draws ends, from 0 to 2**BITS."""
        if len(counts) == 1:
            return np.array([1 << BITS])
        log_probs = np.add.reduceat(self.log_probs[ids], np.cumsum(counts) - counts)
        sums = np.cumsum(np.exp(self.alpha * (log_probs - log_probs.max())))
        return np.floor(sums / sums[-1] * (1 << BITS)).astype(np.int64)

    def draw(self, words: Array, generator: np.random.Generator) -> tuple[Array, Array]:
        """Ids of a cut of each word, and where each word begins among them (and the end)."""
        draws = (words.astype(np.int64) << BITS) + generator.integers(1 << BITS, size=len(words))
        chosen = np.searchsorted(self.bounds, draws, side="right")
        lengths = self.lengths[chosen]
        begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        shift = np.repeat(self.starts[chosen] - begins[:-1], lengths)
        return self.ids[shift + np.arange(begins[-1])], begins
