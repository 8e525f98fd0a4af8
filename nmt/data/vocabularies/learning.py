"""Learning of the vocabularies of an experiment from its training text."""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from nmt.config.schema import VocabularyConfig
from nmt.data.corpus import Corpus
from nmt.data.line_sampling import sample_lines
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabularies.sentencepiece_training import (
    IDENTITY,
    SizeError,
    make_normalizer,
    train_sentencepiece,
)
from nmt.data.vocabulary import Vocabularies
from nmt.errors import OptionError, option_errors
from nmt.parallel import map_in_order

log = logging.getLogger("nmt")


def learn_vocabularies(config: VocabularyConfig, train: Corpus) -> Vocabularies:
    """Learn the vocabularies of a training text; the same object twice if they are joint.

    Raises:
        UserError: if the text cannot be read, or does not suit the options
    """
    options: dict[str, Any] = {
        "size": config.size,
        "type": config.type,
        "byte_fallback": config.byte_fallback,
        "character_coverage": config.character_coverage,
        "user_defined_symbols": config.user_defined_symbols,
        "split_digits": config.split_digits,
    }
    rules = config.normalization.source, config.normalization.target

    def learn(text: Iterable[str], rule: str) -> SentencePieceVocabulary:
        lines, total = sample_lines(text, config.lines)
        if not any(lines):
            raise OptionError("the training text is empty; give files with text", "data.train")
        job: Callable[[list[str]], bytes] = partial(
            train_sentencepiece, normalization=rule, **options
        )
        # The text has been read, so that only an option can be wrong.
        with option_errors("data.vocabulary"), option_errors("data.vocabulary.size", SizeError):
            if len(lines) == total:
                return SentencePieceVocabulary(job(lines))
            log.info("the vocabulary is learned from %d lines drawn from %d", len(lines), total)
            # SentencePiece needs ten times the memory of the text, which only returns to the
            # system when the process exits.
            (model,) = map_in_order(job, [lines], processes=1)
            return SentencePieceVocabulary(model)

    if train.images:
        return None, learn((target for _, target in train.pairs()), rules[1])
    if not config.joint:
        return (
            learn((source for source, _ in train.pairs()), rules[0]),
            learn((target for _, target in train.pairs()), rules[1]),
        )
    if rules[0] == rules[1]:
        joint = learn((line for pair in train.pairs() for line in pair), rules[0])
        return joint, joint
    # The tokens are learned from the text of each side as its own rule leaves it.
    source, target = map(make_normalizer, rules)
    pairs = ((source(pair[0]), target(pair[1])) for pair in train.pairs())
    joint = learn((line for pair in pairs for line in pair), IDENTITY)
    return joint.with_normalization(rules[0]), joint.with_normalization(rules[1])
