"""A shortlist of random tokens, by which most translations change."""

import numpy as np

from nmt.data.shortlist import Shortlist
from nmt.data.vocabulary import Vocabulary


def random_shortlist(source_size: int, vocabulary: Vocabulary) -> Shortlist:
    """Return a shortlist of 8 tokens per source token, `</s>` and the unknown token."""
    tokens = np.random.default_rng(2).integers(4, len(vocabulary), 8 * source_size)
    offsets = np.arange(0, len(tokens) + 1, 8, dtype=np.int32)
    frequent = np.array([vocabulary.eos, vocabulary.unk], np.int32)
    return Shortlist(offsets, tokens.astype(np.int32), frequent, len(vocabulary))
