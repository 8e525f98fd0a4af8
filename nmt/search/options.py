"""What a user may ask of a translation."""

from dataclasses import dataclass
from functools import cached_property

from nmt.config.schema import SearchConfig, Stop
from nmt.registry import COVERAGE_PENALTIES, LENGTH_PENALTIES, ComponentConfig
from nmt.search.penalties import Scoring


@dataclass(frozen=True)
class Sampling:
    """Draw instead of search; the numbers are those of `nmt.search.sampling`."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 1


@dataclass(frozen=True)
class SearchOptions:
    """How translations are looked for.

    Attributes:
        length_penalty: how hypotheses of unequal length become comparable
        coverage_penalty: what is paid for source positions not looked at
        beam_size: hypotheses a sentence; 1 is greedy
        n_best: translations a sentence
        max_length: target pieces at most; when None, twice the source's plus 20, or 100 for a
            picture
        block_ngram_repeat: no hypothesis repeats n pieces in a row; 0 for no such rule
        stop: when a sentence is done; see `beam_search`
        batch_tokens: source pieces a batch, padding included
        batch_sentences: sentences a batch at most
        replace_unknown: put the source word most looked at where the model says "unknown"
        sampling: draw instead of search
    """

    length_penalty: ComponentConfig
    coverage_penalty: ComponentConfig
    beam_size: int = 5
    n_best: int = 1
    max_length: int | None = None
    block_ngram_repeat: int = 0
    stop: Stop = "bound"
    batch_tokens: int = 4000
    batch_sentences: int | None = None
    replace_unknown: bool = False
    sampling: Sampling | None = None

    @classmethod
    def of(cls, config: SearchConfig) -> "SearchOptions":
        """The options of an experiment's `search` section."""
        assert config.length_penalty is not None and config.coverage_penalty is not None
        return cls(
            config.length_penalty,
            config.coverage_penalty,
            beam_size=config.beam_size,
            max_length=config.max_length,
            block_ngram_repeat=config.block_ngram_repeat,
            stop=config.stop,
            batch_tokens=config.batch_tokens,
        )

    @cached_property
    def scoring(self) -> Scoring:
        """The two penalties, built.

        Raises:
            UserError: when a penalty refuses its options
        """
        return Scoring(
            LENGTH_PENALTIES.build(self.length_penalty),
            COVERAGE_PENALTIES.build(self.coverage_penalty),
        )

    def longest(self, source_pieces: int | None) -> int:
        """Target pieces, the end mark counted, that a source of so many pieces may get.

        Depends on the sentence alone, so that its neighbours cannot cut it short; None is for a
        picture, whose size says nothing of its caption's length.
        """
        return self.max_length or (100 if source_pieces is None else 2 * source_pieces + 20)
