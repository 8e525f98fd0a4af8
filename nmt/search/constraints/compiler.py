"""Constraints as users give them, and their tables for search."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.search.constraints.forced_prefix import ForcedPrefix, force_prefix
from nmt.search.constraints.phrases import Match, PhraseMatcher
from nmt.search.constraints.request import Constraints
from nmt.search.constraints.rules import ConstraintState, ConstraintTables, SentenceRules
from nmt.search.constraints.term_spelling import TermSpelling, TokenTexts
from nmt.search.constraints.token_automaton import TokenAutomaton, TokenTrie
from nmt.search.step import to_device

NO_LIMIT = 30_000  # occurrences of a phrase
NO_LIMITS: Mapping[str, int] = {}


class ResolvedConstraints(NamedTuple):
    """The constraints of one sentence in the spelling of a vocabulary.

    Attributes:
        terms: distinct required phrases
        forbidden: distinct phrases that are forbidden or limited
        required: number of occurrences that each phrase needs, terms first
        limits: number of occurrences that each may have
        lengths: number of tokens of each required phrase; 0 for a forbidden one
        prefix: segmentation of the prefix
        ends_word: whether a space follows the prefix
    """

    terms: tuple[str, ...]
    forbidden: tuple[str, ...]
    required: list[int]
    limits: list[int]
    lengths: list[int]
    prefix: list[int]
    ends_word: bool

    @property
    def min_length(self) -> int:
        """Return the number of tokens that spell the prefix and all terms."""
        return len(self.prefix) + sum(map(int.__mul__, self.required, self.lengths))


class CompiledConstraints(NamedTuple):
    """The constraints of one sentence as tables.

    Attributes:
        resolved: the constraints
        automaton: automaton of the phrases
        progress_oj, advance_ojx: see `ConstraintTables`
        prefix: beginning of the translation
    """

    resolved: ResolvedConstraints
    automaton: TokenAutomaton
    progress_oj: Int[np.ndarray, "o j"]
    advance_ojx: Int[np.ndarray, "o j 3"]
    prefix: ForcedPrefix

    @property
    def tokens(self) -> list[int]:
        """Return the tokens that spell required phrases, and those that may spell the prefix."""
        spelling = self.advance_ojx[self.advance_ojx >= 0]
        last_word = np.flatnonzero(self.prefix.allowed_xv.any(axis=0))
        return [*self.prefix.tokens, *spelling.tolist(), *last_word.tolist()]


class ConstraintCompiler:
    """Conversion of constraints to tables, for one target vocabulary.

    Args:
        vocabulary: target vocabulary

    Attributes:
        eos: end-of-sentence token
        text_length_v: number of characters of each token

    Raises:
        UserError: if the vocabulary does not support constraints
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary, self.eos = vocabulary, vocabulary.eos
        self._texts = TokenTexts(vocabulary.token_texts())
        self.text_length_v = np.array([len(text) for text in self._texts.texts])
        self._trie = TokenTrie(self._texts.texts)
        # Lists of forbidden phrases are often the same for all sentences.
        self._compiled_phrases = lru_cache(maxsize=8)(self._compile_phrases)

    def resolve(
        self,
        constraints: Constraints,
        location: str = "",
        at_most: Mapping[str, int] = NO_LIMITS,
    ) -> ResolvedConstraints:
        """Return the constraints in the spelling of the vocabulary.

        Args:
            constraints: as the user gives them, prepared for the vocabulary
            location: `FILE:LINE` of the sentence for error messages; empty if unknown
            at_most: the number of occurrences that further phrases may have

        Raises:
            UserError: if the vocabulary cannot spell a constraint, or one contradicts another
        """
        try:
            return self._resolve(constraints, at_most)
        except UserError as error:
            raise UserError(error.message, location) from None

    def _resolve(self, constraints: Constraints, at_most: Mapping[str, int]) -> ResolvedConstraints:
        terms = Counter(self._normalize(term, "term") for term in constraints.terms)
        forbidden = tuple({self._normalize(one, "forbid"): None for one in constraints.forbid})
        check_terms(list(terms), forbidden)
        # A term may be a placeholder that the source contains more often.
        limits = list(map(max, _limits(terms), (at_most.get(term, 0) for term in terms)))
        limits += [0] * len(forbidden)
        text = constraints.prefix
        prefix = self._normalize(text, "prefix") if text.strip() else ""
        check_prefix(prefix, [*terms, *forbidden], limits)
        further = {
            one: n for one, n in at_most.items() if one not in terms and one not in forbidden
        }
        forbidden, limits = (*forbidden, *further), [*limits, *further.values()]
        return ResolvedConstraints(
            tuple(terms),
            forbidden,
            [*terms.values(), *(0 for _ in forbidden)],
            limits,
            [*(self._spell(term).length for term in terms), *(0 for _ in forbidden)],
            self._encode(prefix, "prefix") if prefix else [],
            text != text.rstrip(),
        )

    def compile(self, resolved: ResolvedConstraints) -> CompiledConstraints:
        """Return the tables of a sentence's constraints."""
        prefix = ForcedPrefix([], np.zeros((0, len(self._texts.texts)), np.bool_))
        if resolved.prefix:
            prefix = force_prefix(
                resolved.prefix, self._texts, ends_word=resolved.ends_word, eos=self.eos
            )
        phrases = self._compiled_phrases(resolved.terms, resolved.forbidden)
        return CompiledConstraints(resolved, *phrases, prefix)

    def _normalize(self, text: str, kind: str) -> str:
        """Return a phrase as it is spelled by the vocabulary."""
        normalized = " ".join(self._vocabulary.normalize(text).split())
        if not normalized:
            raise UserError(f"{kind} '{text}' is empty; remove it")
        return normalized

    def _encode(self, text: str, kind: str) -> list[int]:
        vocabulary = self._vocabulary
        tokens = vocabulary.encode(text)
        if vocabulary.unk in tokens:
            lacking = " ".join(vocabulary.count_unknown([text])) or text
            raise UserError(f"{kind} '{text}': the target vocabulary lacks {lacking}; remove it")
        return tokens

    def _spell(self, term: str) -> TermSpelling:
        tokens = self._encode(term, "term")
        if not self._texts.begins_with_space(tokens[0]):
            # Some vocabularies put a space before all words but the first one of a text.
            later = self._vocabulary.encode(f" {term}")
            if self._vocabulary.unk not in later and self._texts.begins_with_space(later[0]):
                tokens = later
        spelling = TermSpelling(term, tokens, self._texts)
        if not spelling.is_complete:
            raise UserError(f"term '{term}' is not a text of the target vocabulary; remove it")
        return spelling

    def _compile_phrases(
        self, terms: tuple[str, ...], forbidden: tuple[str, ...]
    ) -> tuple[TokenAutomaton, Int[np.ndarray, "o j"], Int[np.ndarray, "o j 3"]]:
        """Return the automaton of phrases and, per state, the tokens that advance a term."""
        automaton = self._trie.compose(PhraseMatcher([*terms, *forbidden]))
        shape = (len(automaton.states), len(terms) + len(forbidden))
        progress_oj = np.zeros(shape, np.int16)
        advance_ojx = np.full((*shape, 3), -1, np.int32)
        for j, term in enumerate(terms):
            spelling = self._spell(term)
            for x, state in enumerate(automaton.states):
                starts = spelling.starts[0 if state.after_space else 1]
                for y, token in enumerate(starts):
                    advance_ojx[x, j, 1 + y] = -1 if token is None else token
                if state.after_space:  # which may be a token of the term
                    progress_oj[x, j] = spelling.progress(Match(j, 0))
                for match in state.matches:
                    if match.phrase == j and match.matched < len(term):
                        progress = spelling.progress(match)
                        if progress > progress_oj[x, j] or not progress_oj[x, j]:
                            progress_oj[x, j] = progress
                            token = spelling.next_token(match)
                            advance_ojx[x, j, 0] = -1 if token is None else token
        return automaton, progress_oj, advance_ojx


def collate_constraints(
    compiled: Sequence[CompiledConstraints],
    max_lengths_b: Sequence[int],
    compiler: ConstraintCompiler,
    device: torch.device,
) -> ConstraintState:
    """Return the constraints of a batch on a device, as the state of its empty hypotheses.

    Args:
        compiled: constraints of each sentence
        max_lengths_b: maximum number of tokens per sentence, `eos` included
        compiler: their compiler
        device: device of the model
    """
    # Sentences with the same phrases share their automaton.
    automata = list({id(one.automaton): one for one in compiled}.values())
    sizes = [len(one.automaton.states) for one in automata]
    first_states = np.cumsum([0, *sizes[:-1]])
    first_of = {id(one.automaton): int(x) for one, x in zip(automata, first_states, strict=True)}
    phrases = max(len(one.resolved.required) for one in compiled)
    at_end = [np.array([a.events[e] for e in a.at_end]) for a in (c.automaton for c in automata)]
    # The first row is for sentences without a prefix.
    rows = [len(one.prefix.allowed_xv) for one in compiled]
    open_rows = np.cumsum([0, *rows[:-1]])

    def tensor(values: object) -> Tensor:
        return to_device(torch.from_numpy(np.ascontiguousarray(values)), device)

    tables = ConstraintTables(
        compiler.eos,
        any(any(one.resolved.required) for one in compiled),
        frozenset(max_lengths_b),
        tensor(np.concatenate([one.automaton.next_ov for one in automata])),
        tensor(np.concatenate([one.automaton.event_ov for one in automata])),
        tensor(np.concatenate([_pad(x, (len(x), phrases)) for x in at_end])),
        tensor(np.concatenate([_pad(one.progress_oj, (-1, phrases)) for one in automata])),
        tensor(np.concatenate([_pad(one.advance_ojx, (-1, phrases, 3), -1) for one in automata])),
        tensor(np.concatenate([one.prefix.allowed_xv for one in compiled])),
        tensor(compiler.text_length_v),
    )
    num_events = max(len(one.automaton.events) for one in compiled)
    forced = max(len(one.prefix.tokens) for one in compiled)
    rules = SentenceRules(
        tensor(np.array([first_of[id(one.automaton)] for one in compiled])),
        tensor(np.stack([_pad(one.resolved.required, (phrases,)) for one in compiled])),
        tensor(np.stack([_pad(one.resolved.limits, (phrases,)) for one in compiled])),
        tensor(np.stack([_pad(one.resolved.lengths, (phrases,)) for one in compiled])),
        tensor(np.stack([_pad(one.automaton.events, (num_events, phrases)) for one in compiled])),
        tensor(np.array(max_lengths_b)),
        tensor(np.stack([_pad(one.prefix.tokens, (forced,), -1) for one in compiled])),
        tensor(open_rows),
        tensor(np.array(rows)),
    )
    return ConstraintState.start(tables, rules)


def check_terms(terms: Sequence[str], forbidden: Sequence[str]) -> None:
    """Raise UserError if a required term contains a forbidden phrase."""
    matcher = PhraseMatcher(forbidden)
    for term in terms:
        for phrase, count in zip(forbidden, matcher.count(term), strict=True):
            if count:
                message = f"term '{term}' contains '{phrase}', which is forbidden"
                raise UserError(f"{message}; change one of them")


def check_prefix(prefix: str, phrases: Sequence[str], limits: Sequence[int]) -> None:
    """Raise UserError if a prefix contains phrases more often than a translation may."""
    counts = PhraseMatcher(phrases).count(prefix)
    for phrase, count, limit in zip(phrases, counts, limits, strict=True):
        if count > limit:
            reason = f"{count} times, but it is required {limit} times" if limit else "forbidden"
            raise UserError(f"prefix contains '{phrase}': {reason}; change one of them")


def _limits(terms: Counter[str]) -> list[int]:
    """Return the number of occurrences that each term may have.

    A term that is part of another one has no limit. Otherwise its own occurrences would exclude the
    longer term.
    """
    matcher, limits = PhraseMatcher(list(terms)), dict(terms)
    for term in terms:
        for other, count in zip(terms, matcher.count(term), strict=True):
            if count and other != term:
                limits[other] = NO_LIMIT
    return list(limits.values())


def _pad(values: object, shape: tuple[int, ...], value: int = 0) -> Int[np.ndarray, "..."]:
    """Return an array of integers, padded at the end of every axis but those of size -1."""
    array = np.array(values, dtype=np.int64)
    sizes = [size if size >= 0 else have for size, have in zip(shape, array.shape, strict=True)]
    padded = np.full(sizes, value, np.int64)
    padded[tuple(slice(have) for have in array.shape)] = array
    return padded
