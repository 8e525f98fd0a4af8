"""Options of search: one schema for experiment files, command lines and Python."""

from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import AliasChoices, ConfigDict, Field, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue

from nmt.config.component_fields import DEFAULT, Component
from nmt.config.corpus_options import Symbol
from nmt.config.sections import FieldContext, Section
from nmt.config.validation import validate
from nmt.errors import UserError, UserErrors
from nmt.registry import COVERAGE_PENALTIES, LENGTH_PENALTIES, ComponentConfig

# A search of 1,000 hypotheses is exhaustive for any practical purpose; more would only exhaust the
# memory.
BeamSize = Annotated[int, Ge(1), Le(1000)]
MaxLength = Annotated[int, Ge(1), Le(100_000)]
BatchSize = Annotated[int, Ge(1), Le(100_000_000)]
TopK = Annotated[int, Ge(0), Le(100_000_000)]
Alternatives = Annotated[int, Ge(0), Le(1000)]
Candidates = Annotated[int, Ge(2), Le(1000)]
Ngram = Annotated[int, Ge(0), Le(1000)]
# Random numbers of a line are seeded by seed * 2^32 + line in 64 bits.
SamplingSeed = Annotated[int, Ge(0), Le(2**31 - 1)]
EarlyStopping = Literal["exact", "heuristic"]
Utility = Literal["chrf", "bleu"]
ProbabilityMass = Annotated[float, Gt(0), Le(1)]
Scale = Annotated[float, Ge(0), Le(100)]
Temperature = Annotated[float, Ge(0.001), Le(1000)]

# Samples per sentence for minimum Bayes risk decoding.
DEFAULT_SAMPLES = 50

# Options of beam search, which sampling replaces.
BEAM_OPTIONS = frozenset(
    {
        "beam_size",
        "length_penalty",
        "coverage_penalty",
        "block_ngram_repeat",
        "early_stopping",
        "beam_tree",
        "mbr_scale",
    }
)

# Options that have no effect on a single hypothesis per sentence.
WIDE_BEAM_OPTIONS = frozenset({"early_stopping"})

# Earlier spellings of options and values, which stay valid.
OPTION_ALIASES = {"stop": "early_stopping"}
VALUE_ALIASES: dict[object, str] = {"bound": "exact", "likely": "heuristic"}


class SamplingOptions(Section):
    """Options of sampling, which replaces beam search."""

    temperature: Temperature = 1.0
    """divisor of the log-probabilities; below 1 favors likely tokens"""
    top_k: TopK = 0
    """sample from this many most likely tokens; 0 for all"""
    top_p: ProbabilityMass = 1.0
    """sample from the fewest most likely tokens that hold this share of the probability"""
    seed: SamplingSeed = 1
    """seed of the random numbers; a translation depends on the seed and its line number alone"""


def _add_aliases(schema: JsonSchemaValue) -> None:
    """Add the earlier spellings to the JSON Schema."""
    for alias, name in OPTION_ALIASES.items():
        values = [*schema["properties"][name]["enum"], *VALUE_ALIASES]
        description = f"earlier name of {name}"
        schema["properties"][alias] = {
            "enum": values,
            "description": description,
            "deprecated": True,
        }
        schema["properties"][name]["enum"] = values


class SearchOptions(Section):
    """Options of search, for validation and as defaults of nmt-translate."""

    model_config = ConfigDict(json_schema_extra=_add_aliases)

    beam_size: BeamSize = 5
    """active hypotheses per sentence; 1 is greedy search, which selects the most likely token at
    every step"""
    alternatives: Alternatives = 0
    """most likely other tokens to return per target token of the best translation, which takes one
    more pass over it"""
    quality: bool = False
    """estimate the quality of the best translation, which takes one more pass over it"""
    beam_tree: bool = False
    """record all hypotheses that were in the beam, those that left it included, as a tree"""
    length_penalty: Annotated[ComponentConfig, Component(LENGTH_PENALTIES, "average")] = DEFAULT
    """normalization of log-probabilities by length"""
    coverage_penalty: Annotated[ComponentConfig, Component(COVERAGE_PENALTIES, "none")] = DEFAULT
    """penalty for source positions that receive little attention"""
    max_length: MaxLength | None = None
    """maximum number of target tokens; by default 2 * source + 20, or 100 for an image"""
    block_ngram_repeat: Ngram = 0
    """n-grams of this many tokens may not repeat within a translation; 0 allows all"""
    early_stopping: EarlyStopping = Field(
        default="exact", validation_alias=AliasChoices("early_stopping", *OPTION_ALIASES)
    )
    """when to stop searching a sentence: exact, if no active hypothesis can still win; heuristic,
    if none would win by ending at the next token, which is about a third faster"""
    batch_tokens: BatchSize | None = None
    """source tokens per batch, padding included; an image counts its annotations; by default 1,000
    on a CPU, 4,000 on a GPU"""
    batch_sentences: BatchSize | None = None
    """maximum number of sentences per batch; unlimited by default"""
    shortlist: bool = False
    """search among the tokens that may translate a sentence, which is faster; validation searches
    the whole vocabulary"""
    replace_unknown: bool = False
    """replace each unknown token by the source word with the largest attention weight"""
    tag: Symbol | None = None
    """tag before source sentences that do not begin with it, as in data.train; none by default"""
    sampling: SamplingOptions | None = None
    """sample translations instead of searching for the best ones"""
    # After the options that decide whether these have an effect.
    n_best: BeamSize = 1
    """translations to return per sentence: of distinct texts, fewer if the beam holds no more; or
    independent samples"""
    mbr: Utility | None = None
    """minimum Bayes risk decoding: of several candidates, choose the one whose chrf or bleu against
    all of them is highest on average; off by default"""
    candidates: Candidates | None = None
    """candidates of mbr per sentence; by default beam_size hypotheses of beam search, or 50 samples
    """
    mbr_scale: Scale = 0.3
    """exponent of the probabilities of candidates of beam search in mbr; 0 weights all alike"""

    @model_validator(mode="before")
    @classmethod
    def _check_aliases(cls, values: object) -> object:
        for alias, name in OPTION_ALIASES.items():
            if isinstance(values, Mapping) and alias in values and name in values:
                raise ValueError(f"{alias} is another name of {name}; remove one of them")
        return values

    @field_validator("early_stopping", mode="before")
    @classmethod
    def _rename_value(cls, value: object) -> object:
        return VALUE_ALIASES.get(value, value) if isinstance(value, str) else value

    @field_validator("n_best", mode="after")
    @classmethod
    def _check_beam(cls, n_best: int, field: FieldContext) -> int:
        if n_best > 1 and _is_greedy(field):
            raise ValueError(
                f"{n_best} has no effect with a beam of 1, which is greedy search; use a wider beam"
            )
        return n_best

    @field_validator("mbr", mode="after")
    @classmethod
    def _check_candidates(cls, mbr: Utility | None, field: FieldContext) -> Utility | None:
        if mbr is not None and _is_greedy(field):
            raise ValueError("requires several candidates; use a wider beam, or sampling")
        return mbr

    @property
    def hypotheses(self) -> int:
        """Number of hypotheses to find per sentence, before mbr chooses among them."""
        if self.mbr is None:
            return self.n_best
        default = self.beam_size if self.sampling is None else DEFAULT_SAMPLES
        return self.candidates or default

    def updated(
        self, changes: Mapping[str, object], spell: Callable[[str], str] = str
    ) -> "SearchOptions":
        """Return these options with some of them changed, validated like an experiment file.

        Args:
            changes: new values by option name
            spell: function from an option's name, such as `sampling.top_p`, to its spelling in
                error messages

        Raises:
            UserErrors: unknown options, invalid values and options without effect, one line each
        """
        renamed = {OPTION_ALIASES.get(name, name) for name in changes}
        # Not pydantic's `model_copy`, which does not validate.
        values = {name: value for name, value in self if name not in renamed}
        updated = validate(type(self), {**values, **changes}, spell=spell)
        unused = find_unused(updated, renamed, spell)
        errors = [UserError(f"{spell(name)}: {reason}") for name, reason in unused.items()]
        if errors:
            raise UserErrors(errors)
        return updated


def _is_greedy(field: FieldContext) -> bool:
    return field.data.get("beam_size") == 1 and field.data.get("sampling") is None


def find_unused(
    options: SearchOptions, given: Collection[str], spell: Callable[[str], str] = str
) -> dict[str, str]:
    """Return those of the given options that others leave without effect, each with its reason.

    Args:
        options: complete search options
        given: names of the options that a user gave, also those with default values
        spell: returns the spelling of an option in messages
    """
    reasons: dict[str, str] = {}
    if options.mbr is None:
        candidates = {"candidates"} if options.candidates is not None else set()
        for name in sorted((candidates | {"mbr_scale"}).intersection(given)):
            reasons[name] = f"has no effect without {spell('mbr')}; add it, or remove this"
    unused, cause = frozenset[str](), ""
    if options.sampling is not None:
        unused, cause = BEAM_OPTIONS, spell("sampling")
    elif options.beam_size == 1:
        unused, cause = WIDE_BEAM_OPTIONS, f"{spell('beam_size')} 1, which is greedy search"
    for name in sorted(unused.intersection(given)):
        reasons[name] = f"has no effect with {cause}; remove one of them"
    return reasons
