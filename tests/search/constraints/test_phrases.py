"""Occurrences of phrases, compared with regular expressions."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nmt.search.constraints.phrases import PhraseMatcher
from nmt.search.constraints.token_automaton import TokenTrie

from .lettered import occurrences


@pytest.mark.parametrize(
    ("phrase", "text", "count"),
    [
        ("man", "man, a woman and a manager; the man.", 2),
        ("man", "man's Man", 1),
        ("New York", "New  York, New\u00a0York", 1),  # several spaces are as one
        ("a a", "a a a", 2),
        ("5 €", "5 € 15 € 5 €s", 2),
        ("東京", "東京都に東京", 2),
        ("서울", "서울에서 동서울 서울", 2),  # particles follow without a space
        ("กรุง", "ในกรุงเทพ", 1),
    ],
)
def test_phrase_occurs_as_whole_words(phrase: str, text: str, count: int) -> None:
    assert PhraseMatcher([phrase]).count(text) == [count]


# Single characters, several of them, several words, and the bytes of é and €.
TOKENS: list[str | bytes] = [" ", "a", "b", "é", " a", "ab", "ba", "a b a", "a, b", ",", " é"]
TOKENS += [bytes([byte]) for byte in "aé€".encode()]
TRIE = TokenTrie(TOKENS)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.sampled_from(range(len(TOKENS))), max_size=12),
    st.sets(st.text("abé ", min_size=1, max_size=4), max_size=4),
)
@example([1, 14, 13, 13], {"a"})  # bytes of the symbol ⩩
def test_token_automaton_counts_occurrences_in_the_text(tokens: list[int], raw: set[str]) -> None:
    phrases = sorted({" ".join(one.split()) for one in raw} - {""})
    automaton = TRIE.compose(PhraseMatcher(phrases))
    state, counts = 0, [0] * len(phrases)
    events = []
    for token in tokens:
        events.append(automaton.events[automaton.event_ov[state, token]])
        state = int(automaton.next_ov[state, token])
    events.append(automaton.events[automaton.at_end[state]])
    counts = [sum(event[j] for event in events) for j in range(len(phrases))]
    content = b"".join(t if isinstance(t, bytes) else t.encode() for t in map(_token, tokens))
    text = re.sub(" +", " ", content.decode(errors="surrogateescape"))
    # Bytes above 127 are letters, also if they are no text, or that of a symbol such as €.
    text = re.sub(r"[^\w\x00-\x7f]", "x", text)
    assert counts == [occurrences(phrase, text) for phrase in phrases]


def _token(token: int) -> str | bytes:
    return TOKENS[token]
