"""Learning of the vocabularies of an experiment from its training text."""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from nmt.config.schema import DataConfig, VocabularyConfig
from nmt.data.corpus import Corpus
from nmt.data.line_sampling import sample_lines
from nmt.data.preparation import Preparation
from nmt.data.vocabularies.files import read_codes
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabularies.sentencepiece_training import (
    IDENTITY,
    NUM_SPECIAL_TOKENS,
    SizeError,
    check_size,
    make_normalizer,
    train_sentencepiece,
)
from nmt.data.vocabularies.subword_nmt import Codes, SubwordNmtVocabulary
from nmt.data.vocabularies.words import WordVocabulary, by_frequency
from nmt.data.vocabulary import Vocabularies
from nmt.errors import OptionError, option_errors
from nmt.parallel import map_in_order

log = logging.getLogger("nmt")

LearnedVocabulary = SentencePieceVocabulary | WordVocabulary
Learner = Callable[[list[str], str], LearnedVocabulary]
"""Learns a vocabulary from lines, and gives it a rule by which text is normalized."""


def learn_vocabularies(data: DataConfig, train: Corpus) -> Vocabularies:
    """Learn the vocabularies of a training text; the same object twice if they are joint.

    Raises:
        UserError: if the text cannot be read, or does not suit the options
    """
    config, preparation = data.vocabulary, Preparation.for_learning(data)
    rules = config.normalization.source, config.normalization.target
    symbols = _unite(config.user_defined_symbols, preparation.masks)
    source_symbols = _unite(data.tags, symbols)
    source_learner = _learner(config, source_symbols, 0)
    target_learner = _learner(config, symbols, 1)

    def pairs() -> Iterator[tuple[str, str]]:
        return train.pairs() if train.images else preparation.pairs(train.pairs())

    def learn(text: Iterable[str], rule: str, learner: Learner) -> LearnedVocabulary:
        lines, total = sample_lines(text, config.lines)
        if not any(lines):
            raise OptionError("the training text is empty; give files with text", "data.train")
        if len(lines) < total:
            log.info("the vocabulary is learned from %d lines drawn from %d", len(lines), total)
        # The text has been read, so that only an option can be wrong.
        with option_errors("data.vocabulary"), option_errors("data.vocabulary.size", SizeError):
            return learner(lines, rule)

    if train.images:
        return None, learn((target for _, target in pairs()), rules[1], target_learner)
    if not config.is_joint:
        return (
            learn((source for source, _ in pairs()), rules[0], source_learner),
            learn((target for _, target in pairs()), rules[1], target_learner),
        )
    if rules[0] == rules[1]:
        lines = (line for pair in pairs() for line in pair)
        joint = learn(lines, rules[0], source_learner)
        return joint, joint
    # The tokens are learned from the text of each side as its own rule leaves it.
    source, target = (make_normalizer(rule, source_symbols) for rule in rules)
    normalized = ((source(pair[0]), target(pair[1])) for pair in pairs())
    joint = learn((line for pair in normalized for line in pair), IDENTITY, source_learner)
    return joint.with_normalization(rules[0]), joint.with_normalization(rules[1])


def _learner(config: VocabularyConfig, symbols: Sequence[str], side: int) -> Learner:
    """Return the learner of one side, 0 for the source or a joint vocabulary, 1 for the target."""
    if config.codes is not None:
        with option_errors("data.vocabulary.codes"):
            files = config.codes if isinstance(config.codes, list) else [config.codes]
            text = read_codes(files[min(side, len(files) - 1)])
            return partial(_learn_subwords, text, symbols, config.sampling is not None)
    if config.type == "word":
        return partial(_learn_words, config.size, symbols)
    options = {
        "size": config.size,
        "type": config.type,
        "byte_fallback": config.byte_fallback,
        "character_coverage": config.character_coverage,
        "user_defined_symbols": symbols,
        "split_digits": config.split_digits,
    }
    return partial(_learn_sentencepiece, options, config.lines)


def _learn_sentencepiece(
    options: dict[str, Any], max_lines: int, lines: list[str], rule: str
) -> SentencePieceVocabulary:
    job: Callable[[list[str]], bytes] = partial(train_sentencepiece, normalization=rule, **options)
    if len(lines) < max_lines:
        return SentencePieceVocabulary(job(lines))
    # SentencePiece needs ten times the memory of the text, which only returns to the system when
    # the process exits.
    (model,) = map_in_order(job, [lines], processes=1)
    return SentencePieceVocabulary(model)


def _learn_words(size: int, symbols: Sequence[str], lines: list[str], rule: str) -> WordVocabulary:
    check_size(size)
    words = by_frequency(_count_words(lines, rule, symbols))
    words = _unite(symbols, words)[: size - NUM_SPECIAL_TOKENS]
    return WordVocabulary.make(words, rule, symbols=[*symbols])


def _learn_subwords(
    text: str, symbols: Sequence[str], all_tokens: bool, lines: list[str], rule: str
) -> WordVocabulary:
    """Learn the tokens that codes make of a text; with `all_tokens` also those of BPE dropout."""
    codes, words, counts = Codes(text, symbols), _count_words(lines, rule, symbols), Counter[str]()
    for word, count in words.items():
        for token in codes.split(word):
            counts[token] += count
    tokens = by_frequency(counts)
    if all_tokens:
        tokens = _unite(tokens, codes.tokens(sorted({*"".join(words)})))
    required = [form for symbol in symbols for form in SubwordNmtVocabulary.forms(symbol)]
    return SubwordNmtVocabulary.make(
        _unite(required, tokens),
        rule,
        codes=text,
        symbols=[*symbols],
        files=[hashlib.sha256(text.encode()).hexdigest()],
    )


def _count_words(lines: list[str], rule: str, symbols: Sequence[str]) -> Counter[str]:
    normalize = make_normalizer(rule, symbols)
    return Counter(word for line in lines for word in normalize(line).split())


def _unite(first: Sequence[str], others: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*first, *others]))
