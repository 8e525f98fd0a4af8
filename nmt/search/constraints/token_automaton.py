"""An automaton over tokens that finds phrases in the text that the tokens spell."""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Int

from nmt.search.constraints.phrases import (
    SPACE,
    MatchState,
    PhraseMatcher,
    Symbol,
    is_word,
    symbols_of,
)

Item = TypeVar("Item")

# A symbol of each class of those that no phrase contains: signs, spaces, and parts of words. The
# byte 255 is in no UTF-8 text.
UNMATCHED: tuple[Symbol, ...] = ("\0", SPACE, 255)
OTHER, BLANK, WORD = range(len(UNMATCHED))


class TokenAutomaton(NamedTuple):
    """Transitions of a `PhraseMatcher` by whole tokens.

    Attributes:
        states: state of the matcher, by number; the first one is that of an empty text
        next_ov: number of the next state, by state and token
        event_ov: index in `events` of the occurrences that a token completes
        events: numbers of occurrences per phrase; those of the first event are 0
        at_end: index in `events` of the occurrences that the end of the text completes, by state
    """

    states: list[MatchState]
    next_ov: Int[np.ndarray, "o v"]
    event_ov: Int[np.ndarray, "o v"]
    events: list[tuple[int, ...]]
    at_end: list[int]


class TokenTrie:
    """The tokens of a vocabulary as a trie, whose nodes are the distinct prefixes of their texts.

    Automata are composed with it level by level, so that equal prefixes are read once.

    Args:
        texts: text of each token; a bytes object for a byte token
    """

    def __init__(self, texts: Sequence[str | bytes]) -> None:
        tokens = list(map(symbols_of, texts))
        self._number_of: dict[Symbol, int] = {}
        for symbol in (symbol for token in tokens for symbol in token):
            self._number_of.setdefault(symbol, len(self._number_of))
        self._class_of_number = np.array([_default_class(symbol) for symbol in self._number_of])
        # Per level, the parent of each node and the number of its last symbol.
        self._levels: list[tuple[Int[np.ndarray, " x"], Int[np.ndarray, " x"]]] = []
        self._nodes, self._node_of_token_v = 1, np.zeros(len(tokens), np.int64)
        remaining, depth = [v for v, token in enumerate(tokens) if token], 0
        while remaining:
            self._add_level(tokens, remaining, depth)
            depth += 1
            remaining = [v for v in remaining if len(tokens[v]) > depth]

    def _add_level(self, tokens: list[list[Symbol]], remaining: list[int], depth: int) -> None:
        level: dict[tuple[int, int], int] = {}
        for v in remaining:
            edge = int(self._node_of_token_v[v]), self._number_of[tokens[v][depth]]
            self._node_of_token_v[v] = level.setdefault(edge, self._nodes + len(level))
        parents_x, symbols_x = np.array(list(level)).T
        self._levels.append((parents_x, symbols_x))
        self._nodes += len(level)

    def compose(self, matcher: PhraseMatcher) -> TokenAutomaton:
        """Return the automaton over tokens of an automaton over symbols."""
        # Only symbols of the vocabulary can occur in a text that it spells.
        matched = sorted(matcher.alphabet.intersection(self._number_of) - {SPACE}, key=str)
        symbols = [*UNMATCHED, *matched]
        states, events = _Numbering[MatchState](), _Numbering[tuple[int, ...]]()
        states.add(MatchState())
        events.add(_counts((), matcher))
        next_rows, event_rows = list[list[int]](), list[list[int]]()
        while len(next_rows) < len(states.items):
            state = states.items[len(next_rows)]
            steps = [matcher.step(state, symbol) for symbol in symbols]
            next_rows.append([states.add(following) for following, _ in steps])
            event_rows.append([events.add(_counts(done, matcher)) for _, done in steps])
        at_end = [events.add(_counts(matcher.at_end(state), matcher)) for state in states.items]
        class_of_number = self._class_of_number.copy()
        for number, symbol in enumerate(matched, len(UNMATCHED)):
            class_of_number[self._number_of[symbol]] = number
        next_ov, event_ov = self._read(
            np.array(next_rows, np.int16), np.array(event_rows, np.int16), class_of_number, events
        )
        return TokenAutomaton(states.items, next_ov, event_ov, events.items, at_end)

    def _read(
        self,
        next_ox: Int[np.ndarray, "o x"],
        event_ox: Int[np.ndarray, "o x"],
        class_of_number: Int[np.ndarray, " _"],
        events: "_Numbering[tuple[int, ...]]",
    ) -> tuple[Int[np.ndarray, "o v"], Int[np.ndarray, "o v"]]:
        """Read all tokens from every state."""
        shape = len(next_ox), self._nodes
        state_ox, total_ox = np.empty(shape, np.int16), np.zeros(shape, np.int16)
        state_ox[:, 0] = np.arange(len(next_ox))
        first = 1
        for parents_x, symbols_x in self._levels:
            level = slice(first, first := first + len(parents_x))
            before_ox, class_x = state_ox[:, parents_x], class_of_number[symbols_x]
            state_ox[:, level] = next_ox[before_ox, class_x]
            total_ox[:, level] = _add_events(
                total_ox[:, parents_x], event_ox[before_ox, class_x], events
            )
        return state_ox[:, self._node_of_token_v], total_ox[:, self._node_of_token_v]


class _Numbering(Generic[Item]):
    """Distinct items, numbered in order of their addition."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self._number_of: dict[Item, int] = {}

    def add(self, item: Item) -> int:
        """Return the number of an item, which is added if it is new."""
        number = self._number_of.setdefault(item, len(self.items))
        if number == len(self.items):
            self.items.append(item)
        return number


def _default_class(symbol: Symbol) -> int:
    return BLANK if symbol == SPACE else WORD if is_word(symbol) else OTHER


def _counts(completed: Sequence[int], matcher: PhraseMatcher) -> tuple[int, ...]:
    return tuple(completed.count(phrase) for phrase in range(len(matcher.phrases)))


def _add_events(
    first_ox: Int[np.ndarray, "o x"],
    second_ox: Int[np.ndarray, "o x"],
    events: _Numbering[tuple[int, ...]],
) -> Int[np.ndarray, "o x"]:
    """Return the events of two parts of a token, one after the other."""
    # Event 0 is the empty one. A token in which phrases are completed twice is rare.
    total_ox = np.maximum(first_ox, second_ox)
    both_ox = (first_ox > 0) & (second_ox > 0)
    for first, second in set(zip(first_ox[both_ox], second_ox[both_ox], strict=True)):
        pair = events.items[first], events.items[second]
        number = events.add(tuple(a + b for a, b in zip(*pair, strict=True)))
        total_ox[(first_ox == first) & (second_ox == second)] = number
    return total_ox
