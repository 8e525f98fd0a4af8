"""A model small enough for exhaustive search: a trigram table per sentence.

The oracles below work on nested lists of Python floats and share no code with `nmt.search`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nmt.model.interfaces import Prediction

BOS, EOS, TOKENS = 0, 1, 4
START = (EOS, BOS)  # context of the first token; no other context begins with EOS


class String(NamedTuple):
    """A string of tokens with its scores, from an oracle."""

    tokens: tuple[int, ...]
    log_probs: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]

    @property
    def log_prob(self) -> float:
        return sum(self.log_probs)

    @property
    def finished(self) -> bool:
        return self.tokens[-1] == EOS


Score = Callable[[String], float]


class Table:
    """Log-probabilities [sentence][token before last][last][next], weights [..][..][..][source]."""

    def __init__(self, sentences: int, seed: int, *, positions: int = 3, sharpness: float = 1.5):
        generator = np.random.default_rng(seed)
        logits = sharpness * generator.normal(size=(sentences, TOKENS, TOKENS, TOKENS))
        energies = 2 * generator.normal(size=(sentences, TOKENS, TOKENS, positions))
        self.log_probs = np.log(_softmax(logits)).tolist()
        self.weights = _softmax(energies).tolist()
        self.steps = 0
        self.rows: list[int] = []

    def start(self, order: Sequence[int] | None = None) -> tuple[Any, Any]:
        """Return memory and state of these sentences, all of them by default."""
        order = list(range(len(self.log_probs))) if order is None else list(order)
        memory = (
            torch.tensor(self.log_probs, dtype=torch.float64)[order],
            torch.tensor(self.weights, dtype=torch.float64)[order],
            None,
        )
        return memory, {"before": torch.full((len(order),), START[0]), "nothing": None}

    def step(self, tokens_n: Tensor, memory: Any, state: Any) -> Prediction:
        log_probs_bxxv, weights_bxxs, _ = memory
        self.steps += 1
        self.rows.append(len(tokens_n))
        k = len(tokens_n) // len(log_probs_bxxv)
        sentence_n = torch.arange(len(tokens_n), device=tokens_n.device) // k
        context = sentence_n, state["before"], tokens_n
        state = {"before": tokens_n, "nothing": None}
        return Prediction(log_probs_bxxv[context], weights_bxxs[context], state)

    def step_without_attention(self, tokens_n: Tensor, memory: Any, state: Any) -> Prediction:
        """Step of the same model without attention weights."""
        return self.step(tokens_n, memory, state)._replace(weights_ns=None)

    def step_with_alignment(self, tokens_n: Tensor, memory: Any, state: Any) -> Prediction:
        """Step of the same model, whose attention also aligns the token that it has read."""
        prediction = self.step(tokens_n, memory, state)
        return prediction._replace(alignment_ns=prediction.weights_ns)

    def extend(self, sentence: int, string: String, token: int) -> String:
        before, last = (*START, *string.tokens)[-2:]
        log_prob = self.log_probs[sentence][before][last][token]
        weights = tuple(self.weights[sentence][before][last])
        return String(
            (*string.tokens, token), (*string.log_probs, log_prob), (*string.weights, weights)
        )

    def string(self, sentence: int, tokens: Sequence[int]) -> String:
        string = EMPTY
        for token in tokens:
            string = self.extend(sentence, string, token)
        return string


EMPTY = String((), (), ())


def _softmax(logits: Any) -> Any:
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(-1, keepdims=True)


def every_string(table: Table, sentence: int, max_length: int) -> Iterator[String]:
    """Yield all finished strings up to a length, and the unfinished ones of that length."""
    active = [EMPTY]
    for _ in range(max_length):
        strings = [table.extend(sentence, one, token) for one in active for token in range(TOKENS)]
        yield from (string for string in strings if string.finished)
        active = [string for string in strings if not string.finished]
    yield from active


def best_strings(
    table: Table, sentence: int, max_length: int, n_best: int, score: Score
) -> list[String]:
    strings = every_string(table, sentence, max_length)
    return sorted(strings, key=lambda string: (not string.finished, -score(string)))[:n_best]


def reference_beam_search(
    table: Table,
    sentence: int,
    max_length: int,
    n_best: int,
    score: Score,
    beam_size: int,
    allowed: Callable[[tuple[int, ...]], bool] = lambda tokens: True,
    stops: Callable[[list[String], list[String], int], bool] = lambda *_: False,
) -> list[String]:
    """Search one sentence by the definition of beam search, without early stopping by default."""
    active, finished = [EMPTY], []
    for length in range(1, max_length + 1):
        strings = [table.extend(sentence, one, token) for one in active for token in range(TOKENS)]
        strings = [one for one in strings if one.log_prob > -math.inf and allowed(one.tokens)]
        strings = sorted(strings, key=lambda one: -one.log_prob)[: 2 * beam_size]
        finished += [one for one in strings[:beam_size] if one.finished]
        active = [one for one in strings if not one.finished][:beam_size]
        is_greedy = beam_size == 1 and len(finished) > 0
        if is_greedy or stops(finished, active, length):
            active = []
            break
    finished.sort(key=lambda one: -score(one))
    active.sort(key=lambda one: -score(one))
    return (finished + active)[:n_best]


def unpenalized(string: String) -> float:
    return string.log_prob


def average(alpha: float) -> Score:
    return lambda string: string.log_prob / math.pow(len(string.tokens), alpha)


def gnmt(alpha: float, beta: float = 0.0, least: float = 1e-4) -> Score:
    def score(string: String) -> float:
        coverage = [sum(column) for column in zip(*string.weights, strict=True)]
        penalty = sum(math.log(max(min(c, 1.0), least)) for c in coverage)
        return string.log_prob / math.pow((5 + len(string.tokens)) / 6, alpha) + beta * penalty

    return score
