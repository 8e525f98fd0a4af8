"""Beam search by CTranslate2, an engine in C++, in place of the search of this package.

The engine searches like `beam_search`: at each step it takes the 2k best continuations of a
sentence's k active hypotheses, of which those among the first k that end in `</s>` are finished. It
stops at a number of finished hypotheses instead of a bound on their scores.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from typing import Any, NamedTuple

import torch

from nmt.config.search_options import SearchOptions
from nmt.errors import UserError
from nmt.registry import LENGTH_PENALTIES
from nmt.search.constraints.compiler import ResolvedConstraints
from nmt.search.finished import Detokenize
from nmt.search.hypothesis import Alternative, Hypothesis
from nmt.search.source_line import SourceLine
from nmt.search.source_reader import SourceReader
from nmt.search.step import check_no_nan

PATIENCE = {"exact": 4, "heuristic": 1}
"""Finished hypotheses per active one at which a sentence is done, by early stopping.

With 4, all translations of a text were those of the exact search; see docs/performance.md.
"""

UNSUPPORTED = (
    *("sampling", "quality", "alternatives", "beam_tree", "shortlist", "block_ngram_repeat"),
)
"""Search options that the engine lacks, or gives another meaning.

It renormalizes the probabilities after blocking n-grams. The best hypotheses by a coverage penalty
are usually among those that it does not wait for.
"""


class CTranslate2Search:
    """The engine with the vocabularies of its model, in place of `BatchEncoder`.

    Args:
        engine: from `load_engine`
        reader: reader of source lines
        source_eos, target_eos: end of a sentence in each vocabulary
        details: whether hypotheses have attention weights, and the best one log-probabilities of
            its tokens, which takes about a third more time

    Attributes:
        graphs: None: the engine has no CUDA graphs
    """

    graphs: None = None

    def __init__(
        self,
        engine: Any,
        reader: SourceReader,
        source_eos: int,
        target_eos: int,
        *,
        details: bool,
    ) -> None:
        self._engine, self._reader, self._details = engine, reader, details
        self._source_eos, self._target_eos = source_eos, target_eos

    def encode(
        self,
        lines: Sequence[SourceLine],
        ids: Sequence[Sequence[list[int]]],
        options: SearchOptions,
        file: str,
        constraints: Sequence[ResolvedConstraints] | None,
    ) -> "CTranslate2Batch":
        """Return a batch of lines for the engine; see `BatchEncoder.encode`."""
        assert constraints is None, "refused by check_engine_options"
        length_of = self._reader.default_max_length
        longest, _ = max(zip(lines, ids[0], strict=True), key=lambda pair: len(pair[1]))
        return CTranslate2Batch(
            self._engine,
            longest.location(file),
            [[*map(str, own), str(self._source_eos)] for own in ids[0]],
            [options.max_length or length_of(own) for own in ids[0]],
            self._target_eos,
            self._details,
        )


class CTranslate2Batch(NamedTuple):
    """A batch of sentences that the engine encodes and decodes, in place of `EncodedBatch`.

    Attributes:
        engine: a `ctranslate2.Translator`
        longest: location of the longest sentence, for error messages
        sources: source tokens of each sentence, `</s>` included
        max_lengths_b: maximum number of target tokens per sentence, `eos` included
        eos: end of a sentence in the target vocabulary
        details: see `CTranslate2Search`
    """

    engine: Any
    longest: str
    sources: list[list[str]]
    max_lengths_b: list[int]
    eos: int
    details: bool

    def search(
        self, numbers: Sequence[int], options: SearchOptions, detokenize: Detokenize
    ) -> list[list[Hypothesis]]:
        """Return the best hypotheses of distinct texts per sentence."""
        attends = self.details or options.replace_unknown
        found = self._results(options, attends=attends)
        first_weights_b = self._first_weights() if attends else repeat(None)
        return [
            self._best(result, first_weights, options, detokenize)
            for result, first_weights in zip(found, first_weights_b, strict=False)
        ]

    def force_decode(
        self, targets: Sequence[Sequence[int]], options: SearchOptions
    ) -> list[list[Hypothesis]]:
        """Return one given target per sentence as a hypothesis, without attention weights."""
        hypotheses_b = []
        for own, log_probs in zip(targets, self._token_log_probs(targets), strict=True):
            tokens, log_prob = [*own, self.eos], sum(log_probs)
            (score,) = _scores([log_prob], [len(tokens)], options)
            hypotheses_b.append([Hypothesis(tokens, score, log_prob, log_probs, None, True)])
        return hypotheses_b

    def examine(
        self, hypotheses_b: Sequence[Sequence[Hypothesis]], options: SearchOptions
    ) -> tuple[Sequence[Sequence[Hypothesis]], list[list[list[Alternative]]], list[list[float]]]:
        """Return hypotheses, the best one with the log-probability of each token if requested.

        Alternatives and entropies are empty; `check_engine_options` refuses both.
        """
        if self.details and not all(own[0].token_log_probs for own in hypotheses_b):
            found_b = self._token_log_probs([best.content for best, *_ in hypotheses_b])
            hypotheses_b = [
                [best._replace(token_log_probs=found[: len(best.tokens)]), *others]
                for (best, *others), found in zip(hypotheses_b, found_b, strict=True)
            ]
        return hypotheses_b, [[] for _ in hypotheses_b], [[] for _ in hypotheses_b]

    def _results(self, options: SearchOptions, *, attends: bool) -> list[Any]:
        """Return the engine's results of all sentences, each within its own maximum length.

        The engine has one maximum for all. A sentence that goes beyond its own is translated again,
        so that its result does not depend on the rest of the batch.
        """
        rows = range(len(self.sources))
        found = self._translate(rows, max(self.max_lengths_b), options, attends=attends)
        longest_b = [max(map(len, result.hypotheses)) for result in found]
        limits = zip(longest_b, self.max_lengths_b, strict=True)
        exceeding = [row for row, (longest, limit) in enumerate(limits) if longest > limit]
        for limit in {self.max_lengths_b[row] for row in exceeding}:
            own = [row for row in exceeding if self.max_lengths_b[row] == limit]
            again = self._translate(own, limit, options, attends=attends)
            for row, result in zip(own, again, strict=True):
                found[row] = result
        return found

    def _translate(
        self, rows: Sequence[int], max_length: int, options: SearchOptions, *, attends: bool
    ) -> list[Any]:
        """Return the engine's finished hypotheses of some sentences."""
        beam_size = options.beam_size
        # A length penalty applies to finished hypotheses alone, so all of them are requested, and
        # scored here. A beam of 1 has a single one.
        count = PATIENCE[options.early_stopping] * beam_size + options.hypotheses - 1
        count = 1 if beam_size == 1 else count
        with _position_errors(self.longest):
            found: list[Any] = self.engine.translate_batch(
                [self.sources[row] for row in rows],
                beam_size=beam_size,
                patience=count / beam_size,
                num_hypotheses=count,
                length_penalty=_exponent(options),
                max_input_length=0,
                max_decoding_length=max_length,
                min_decoding_length=0,
                return_end_token=True,
                return_scores=True,
                return_attention=attends,
            )
        return found

    def _first_weights(self) -> list[list[float]]:
        """Return the attention weights of the first target token of each sentence.

        All hypotheses of a sentence have them in common. Beam search of CTranslate2 4.8 returns
        those of another sentence of the batch.
        """
        found = self.engine.translate_batch(
            self.sources,
            max_input_length=0,
            max_decoding_length=1,
            beam_size=1,
            min_decoding_length=0,
            return_end_token=True,
            return_attention=True,
        )
        return [result.attention[0][0] for result in found]

    def _best(
        self,
        result: Any,
        first_weights: list[float] | None,
        options: SearchOptions,
        detokenize: Detokenize,
    ) -> list[Hypothesis]:
        """Return the best hypotheses of a sentence, finished ones first, then by score."""
        tokens_h = [[*map(int, names)] for names in result.hypotheses]
        lengths_h = [*map(len, tokens_h)]
        exponent = _exponent(options)
        normalized_h = zip(result.scores, lengths_h, strict=True)
        log_probs_h = [score * length**exponent for score, length in normalized_h]
        scores_h = _scores(log_probs_h, lengths_h, options)
        finished_h = [tokens[-1] == self.eos for tokens in tokens_h]
        order = sorted(range(len(tokens_h)), key=lambda h: (not finished_h[h], -scores_h[h]))
        of_text: dict[object, Hypothesis] = {}
        for h in order:
            rows = result.attention[h] if first_weights is not None else []
            weights_ts = torch.tensor([first_weights, *rows[1:]]) if rows else None
            one = Hypothesis(
                tokens_h[h], scores_h[h], log_probs_h[h], [], weights_ts, finished_h[h]
            )
            # White space is not significant. A single hypothesis differs from no other.
            is_single = options.hypotheses == 1
            of_text.setdefault(h if is_single else " ".join(detokenize(one.content).split()), one)
            if len(of_text) == options.hypotheses:
                break
        return [*of_text.values()]

    def _token_log_probs(self, targets: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return the log-probability of each token of given targets, that of `eos` last."""
        names = [[*map(str, own)] for own in targets]
        with _position_errors(self.longest):
            found = self.engine.score_batch(self.sources, names, max_input_length=0)
        return [result.log_probs for result in found]


def check_engine_options(options: SearchOptions, *, is_constrained: bool, intervenes: bool) -> None:
    """Raise UserError for options that the engine does not support."""
    requested: dict[str, object] = {name: getattr(options, name) for name in UNSUPPORTED}
    requested |= {"constraints": is_constrained, "interventions": intervenes}
    requested["coverage_penalty"] = options.coverage_penalty.type != "none"
    for name, is_requested in requested.items():
        if is_requested:
            message = (
                "is not possible with backend ctranslate2; switch it off, or use backend torch"
            )
            raise UserError(f"{name}: {message}")


def _exponent(options: SearchOptions) -> float:
    """Return the exponent of the length in the engine's scores.

    By these scores it drops the worst hypotheses if the last step finishes more than are requested.
    With 0 it would stop earlier.
    """
    penalty = LENGTH_PENALTIES.build(options.length_penalty)
    return max(1e-6, getattr(penalty, "alpha", 0.0))


def _scores(
    log_probs: Sequence[float], lengths: Sequence[int], options: SearchOptions
) -> list[float]:
    """Return the scores of hypotheses of some lengths."""
    log_prob_h = torch.tensor(log_probs, dtype=torch.float64)
    check_no_nan(log_prob_h)
    penalty = LENGTH_PENALTIES.build(options.length_penalty)
    return penalty(log_prob_h, torch.tensor(lengths)).tolist()


@contextmanager
def _position_errors(location: str) -> Iterator[None]:
    """Raise UserError for a sentence with more tokens than the engine has positions.

    Args:
        location: place of the longest sentence of the batch
    """
    try:
        yield
    except RuntimeError as error:
        if "position encodings" not in str(error):
            raise
        message = f"CTranslate2: {error}; shorten the sentence, or use backend torch"
        raise UserError(message, location) from None
