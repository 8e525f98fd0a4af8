"""A model small enough to search by hand: the next token depends on the last two and the sentence.

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
START = (EOS, BOS)  # what stands before a string: nothing else follows an end mark


class Spoken(NamedTuple):
    """One string as an oracle sees it."""

    tokens: tuple[int, ...]
    log_probs: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]

    @property
    def log_prob(self) -> float:
        return sum(self.log_probs)

    @property
    def finished(self) -> bool:
        return self.tokens[-1] == EOS


Score = Callable[[Spoken], float]


class Table:
    """Log-probabilities [sentence][last but one][last][next] and weights [..][..][..][source]."""

    def __init__(self, sentences: int, seed: int, *, positions: int = 3, sharpness: float = 1.5):
        generator = np.random.default_rng(seed)
        logits = sharpness * generator.normal(size=(sentences, TOKENS, TOKENS, TOKENS))
        looks = 2 * generator.normal(size=(sentences, TOKENS, TOKENS, positions))
        self.log_probs = np.log(_softmax(logits)).tolist()
        self.weights = _softmax(looks).tolist()
        self.steps = 0
        self.rows: list[int] = []

    def start(self, order: Sequence[int] | None = None) -> tuple[Any, Any]:
        """Memory and state of these sentences, all of them by default."""
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
        place = sentence_n, state["before"], tokens_n
        state = {"before": tokens_n, "nothing": None}
        return Prediction(log_probs_bxxv[place], weights_bxxs[place], state)

    def blind_step(self, tokens_n: Tensor, memory: Any, state: Any) -> Prediction:
        """The same model, not saying where it looks."""
        return self.step(tokens_n, memory, state)._replace(weights_ns=None)

    def say(self, sentence: int, said: Spoken, token: int) -> Spoken:
        before, last = (*START, *said.tokens)[-2:]
        log_prob = self.log_probs[sentence][before][last][token]
        weights = tuple(self.weights[sentence][before][last])
        return Spoken((*said.tokens, token), (*said.log_probs, log_prob), (*said.weights, weights))

    def spell(self, sentence: int, tokens: Sequence[int]) -> Spoken:
        said = SILENCE
        for token in tokens:
            said = self.say(sentence, said, token)
        return said


SILENCE = Spoken((), (), ())


def _softmax(logits: Any) -> Any:
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(-1, keepdims=True)


def every_string(table: Table, sentence: int, max_length: int) -> Iterator[Spoken]:
    """All strings up to a length that end, and those of that length that do not."""
    live = [SILENCE]
    for _ in range(max_length):
        spoken = [table.say(sentence, said, token) for said in live for token in range(TOKENS)]
        yield from (said for said in spoken if said.finished)
        live = [said for said in spoken if not said.finished]
    yield from live


def best_strings(
    table: Table, sentence: int, max_length: int, n_best: int, score: Score
) -> list[Spoken]:
    strings = every_string(table, sentence, max_length)
    return sorted(strings, key=lambda said: (not said.finished, -score(said)))[:n_best]


def slow_beam(
    table: Table,
    sentence: int,
    max_length: int,
    n_best: int,
    score: Score,
    beam_size: int,
    allowed: Callable[[tuple[int, ...]], bool] = lambda tokens: True,
    done: Callable[[list[Spoken], list[Spoken], int], bool] = lambda finished, live, length: False,
) -> list[Spoken]:
    """Beam search of one sentence as one would tell it; stops early only where it is told to."""
    live, finished = [SILENCE], []
    for length in range(1, max_length + 1):
        spoken = [table.say(sentence, said, token) for said in live for token in range(TOKENS)]
        spoken = [said for said in spoken if said.log_prob > -math.inf and allowed(said.tokens)]
        spoken = sorted(spoken, key=lambda said: -said.log_prob)[: 2 * beam_size]
        finished += [said for said in spoken[:beam_size] if said.finished]
        live = [said for said in spoken if not said.finished][:beam_size]
        if done(finished, live, length):
            live = []
            break
    finished.sort(key=lambda said: -score(said))
    live.sort(key=lambda said: -score(said))
    return (finished + live)[:n_best]


def plain(said: Spoken) -> float:
    return said.log_prob


def average(alpha: float) -> Score:
    return lambda said: said.log_prob / math.pow(len(said.tokens), alpha)


def gnmt(alpha: float, beta: float = 0.0, least: float = 1e-4) -> Score:
    def score(said: Spoken) -> float:
        covered = [sum(column) for column in zip(*said.weights, strict=True)]
        paid = sum(math.log(max(min(c, 1.0), least)) for c in covered)
        return said.log_prob / math.pow((5 + len(said.tokens)) / 6, alpha) + beta * paid

    return score
