"""Shortlists: the target tokens that may translate each source token, learned from a corpus.

The output layer is most of the work of search. A translation consists of tokens that translate its
source tokens, and of frequent ones, so that the layer is computed for these alone; Jean et al.
2015, section 3.3, and L'Hostis et al. 2016.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from nmt.data.token_corpus import Array, TokenCorpus
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError

FREQUENT_TOKENS = 200
TRANSLATIONS = 50  # per source token
MIN_PROBABILITY = 1e-4  # of a translation
ITERATIONS = 4
MAX_LINKS = 30_000_000  # possible links of the pairs to learn from, which take about 10 seconds
CHUNK_LINKS = 1_000_000
REMEDY = "remove it, and nmt-train learns it again"


class Shortlist(NamedTuple):
    """Target tokens that may translate each source token.

    The translations of source token i are `tokens[offsets[i] : offsets[i + 1]]`.

    Attributes:
        offsets: int32, one more than source tokens
        tokens: int32, target tokens
        frequent: int32, target tokens that may occur in any translation
        vocabulary: number of target tokens
    """

    offsets: Array
    tokens: Array
    frequent: Array
    vocabulary: int

    def candidates(self, source: Iterable[int], others: Sequence[int] = ()) -> Array:
        """Return the target tokens of the translation of a sentence, in ascending order.

        Args:
            source: token ids of the sentence
            others: further target tokens
        """
        own = [self.tokens[self.offsets[i] : self.offsets[i + 1]] for i in set(source)]
        return np.unique(np.concatenate([self.frequent, np.array(others, np.int32), *own]))

    def to_bytes(self) -> bytes:
        """Return the content of the file of a shortlist."""
        arrays = {"offsets": self.offsets, "tokens": self.tokens, "frequent": self.frequent}
        serialized: bytes = safetensors.numpy.save(arrays)
        return serialized

    @classmethod
    def from_bytes(cls, content: bytes, sizes: tuple[int, int], location: str) -> "Shortlist":
        """Read the content of a file, which may come from an unknown source.

        Args:
            content: content of the file
            sizes: numbers of source and of target tokens
            location: name of the file for error messages

        Raises:
            UserError: if it is not a shortlist of these vocabularies
        """
        try:
            arrays = safetensors.numpy.load(content)
        # safetensors raises KeyError for types that NumPy lacks.
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"cannot be read: {error}; {REMEDY}", location) from None
        if not _is_valid(arrays, *sizes):
            raise UserError(f"is not a shortlist of these vocabularies; {REMEDY}", location)
        return cls(arrays["offsets"], arrays["tokens"], arrays["frequent"], sizes[1])


ReadShortlist = Callable[[], Shortlist]
"""Function that reads a shortlist when it is used; raises UserError for a damaged file."""


def _is_valid(arrays: Mapping[str, Array], source_size: int, target_size: int) -> bool:
    if arrays.keys() != {"offsets", "tokens", "frequent"}:
        return False
    if any(one.dtype != np.int32 or one.ndim != 1 for one in arrays.values()):
        return False
    offsets, tokens = arrays["offsets"], np.concatenate([arrays["tokens"], arrays["frequent"]])
    return bool(
        len(offsets) == source_size + 1
        and offsets[0] == 0
        and offsets[-1] == len(arrays["tokens"])
        and (np.diff(offsets) >= 0).all()
        and ((tokens >= 0) & (tokens < target_size)).all()
        and len(arrays["frequent"])
    )


def learn_shortlist(corpus: TokenCorpus, source: Vocabulary, target: Vocabulary) -> Shortlist:
    """Learn a shortlist from sentence pairs.

    It contains the most frequent target tokens, `</s>`, the unknown token and byte tokens, and per
    source token its most probable translations by IBM model 1, and the target token with the same
    text: names are often copied.

    Args:
        corpus: the pairs
        source: source vocabulary
        target: target vocabulary
    """
    counts_v = np.bincount(corpus.arrays.target_tokens, minlength=len(target))
    most = np.argsort(-counts_v, kind="stable")[:FREQUENT_TOKENS]
    names = target.tokens(range(len(target)))
    byte_tokens = [token for token, name in enumerate(names) if _is_byte(name)]
    special = [target.eos, target.unk, *byte_tokens]
    frequent = np.unique(np.concatenate([most[counts_v[most] > 0], special]))
    translations = translation_probabilities(corpus, len(source), len(target), frequent)
    token_of = {name: token for token, name in enumerate(names)}
    same = [token_of.get(name, -1) for name in source.tokens(range(len(source)))]
    lists = _most_probable(translations, same)
    return Shortlist(
        np.cumsum([0, *map(len, lists)], dtype=np.int32),
        np.concatenate(lists).astype(np.int32),
        frequent.astype(np.int32),
        len(target),
    )


def _is_byte(name: str) -> bool:
    """Return whether a token is a byte of SentencePiece, such as <0x0A>."""
    return len(name) == 6 and name.startswith("<0x") and name.endswith(">")


class Translations(NamedTuple):
    """Translation probabilities above zero, ordered by source token, then by target token.

    Attributes:
        sources: source token of each
        targets: target token of each
        probabilities: p(target | source)
    """

    sources: Array
    targets: Array
    probabilities: Array


def _most_probable(translations: Translations, same: Sequence[int]) -> list[Array]:
    """Return the most probable translations of each source token, and the token that is the same.

    Args:
        translations: the probabilities
        same: target token with the text of each source token; -1 for none
    """
    bounds = np.searchsorted(translations.sources, np.arange(len(same) + 1))
    lists = []
    for token, (first, end) in enumerate(pairwise(bounds)):
        probabilities = translations.probabilities[first:end]
        order = np.argsort(-probabilities, kind="stable")[:TRANSLATIONS]
        order = order[probabilities[order] > MIN_PROBABILITY]
        own = translations.targets[first:end][order]
        lists.append(np.unique(np.append(own, same[token])) if same[token] >= 0 else own)
    return lists


def translation_probabilities(
    corpus: TokenCorpus, source_size: int, target_size: int, excluded: Array
) -> Translations:
    """Estimate p(target | source) by IBM model 1. Brown et al. 1993, section 4.1.

    Each target token is a translation of one of the source tokens of its sentence or of an empty
    word. The E step computes the probability of each of these links; the M step sets p to the
    expected numbers of links, divided by their sum per source token.

    Args:
        corpus: sentence pairs; of large corpora, an evenly spaced selection of them
        source_size: number of source tokens, which is the number of the empty word
        target_size: number of target tokens
        excluded: target tokens that are left out
    """
    is_included_v = np.ones(target_size, np.bool_)
    is_included_v[excluded] = False
    pairs = _select_pairs(corpus)
    chunks = [
        (source * target_size + target, starts)
        for source, target, starts in _possible_links(corpus, pairs, source_size, is_included_v)
    ]
    keys = np.unique(np.concatenate([np.zeros(0, np.int64), *(np.unique(k) for k, _ in chunks)]))
    # Number of each link's pair of tokens, in 32 bits, because these arrays are the largest.
    numbered = [(np.searchsorted(keys, own).astype(np.int32), starts) for own, starts in chunks]
    del chunks
    sources = keys // target_size
    probabilities = np.ones(len(keys))
    for _ in range(ITERATIONS):
        expected = np.zeros(len(keys))
        for numbers, starts in numbered:
            links = probabilities[numbers]
            sums = np.add.reduceat(links, starts)
            links /= np.repeat(sums, np.diff(starts, append=len(links)))
            expected += np.bincount(numbers, links, len(keys))
        totals = np.bincount(sources, expected, source_size + 1)
        probabilities = expected / totals[sources]
    return Translations(sources, keys % target_size, probabilities)


def _select_pairs(corpus: TokenCorpus) -> Array:
    links = int(corpus.source_lengths.astype(np.int64) @ corpus.target_lengths.astype(np.int64))
    step = max(1, -(-links // MAX_LINKS))
    return np.arange(0, len(corpus), step)


def _possible_links(
    corpus: TokenCorpus, pairs: Array, empty_word: int, is_included_v: Array
) -> Iterator[tuple[Array, Array, Array]]:
    """Yield source tokens and target tokens of all possible links, in chunks.

    Yields:
        source and target token of each link, ordered by target position, and the first link of each
        target position
    """
    arrays = corpus.arrays
    links = np.cumsum(
        (corpus.source_lengths[pairs] + 1) * corpus.target_lengths[pairs].astype(np.int64)
    )
    bounds = np.searchsorted(links, np.arange(0, links[-1] if len(links) else 0, CHUNK_LINKS))
    for first, end in zip(bounds, [*bounds[1:], len(pairs)], strict=True):
        own = pairs[first:end]
        source, lengths = _tokens(arrays.source_tokens, arrays.source_offsets, own)
        # The empty word comes first in every sentence.
        firsts = np.cumsum([0, *lengths[:-1]])
        source = np.insert(source, firsts, empty_word)
        firsts, lengths = firsts + np.arange(len(own)), lengths + 1
        target, target_lengths = _tokens(arrays.target_tokens, arrays.target_offsets, own)
        pair_of = np.repeat(np.arange(len(own)), target_lengths)
        kept = is_included_v[target]
        target, pair_of = target[kept], pair_of[kept]
        if not len(target):
            continue
        sizes = lengths[pair_of]
        starts = np.cumsum(sizes) - sizes
        position = np.arange(sizes.sum()) - np.repeat(starts - firsts[pair_of], sizes)
        yield source[position], np.repeat(target, sizes), starts


def _tokens(tokens: Array, offsets: Array, rows: Array) -> tuple[Array, Array]:
    """Return the concatenated tokens of some sentences in 64 bits, and the sentences' lengths."""
    firsts = offsets[rows].astype(np.int64)
    lengths = offsets[rows + 1].astype(np.int64) - firsts
    starts = np.cumsum(lengths) - lengths
    position = np.arange(lengths.sum()) + np.repeat(firsts - starts, lengths)
    return np.asarray(tokens[position], np.int64), lengths
