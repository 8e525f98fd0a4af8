"""Schema of vocabularies: those that are learned from the training text, and existing ones."""

from pathlib import Path
from typing import Annotated, Literal, get_args

from annotated_types import Len
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from nmt.component_spec import Positive, PositiveFloat
from nmt.config.corpus_options import Symbol
from nmt.config.sections import Section, check_distinct


def _check_nbest(nbest: int) -> int:
    if nbest != -1 and not 2 <= nbest <= 512:
        raise ValueError(f"must be 2 to 512, or -1 for all segmentations, got {nbest}")
    return nbest


class SamplingConfig(Section):
    """Sampling by unigram probabilities (Kudo 2018), or BPE dropout (Provilkov et al. 2020)."""

    alpha: PositiveFloat = 0.2
    """of unigram vocabularies: exponent of the probabilities of segmentations; near 0 they are
    uniform, a large value keeps only the most probable"""
    nbest: Annotated[int, AfterValidator(_check_nbest)] = -1
    """of unigram vocabularies: number of most probable segmentations to sample from, 2 to 512; -1
    for all"""
    dropout: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """of BPE: probability that a merge is dropped"""
    sides: Literal["both", "source", "target"] = "both"
    """sides whose segmentations are sampled"""


Rule = Literal["nmt_nfkc", "nmt_nfkc_cf", "nfkc", "nfkc_cf", "identity", "jamo"]
Rules = Rule | Annotated[list[Rule], Len(2, 2)]


class NormalizationConfig(Section):
    """Normalization rules of both sides; a joint vocabulary may have two as well.

    They are those of SentencePiece, and jamo, which divides Hangul syllables into their letters and
    joins them again in translations.
    """

    source: Rule = "nmt_nfkc"
    """rule of the source; nmt_nfkc unifies variants of characters and spaces"""
    target: Rule = "identity"
    """rule of the target; translations contain only characters that it keeps, and identity keeps
    all"""


# The rules of both sides in earlier versions.
FORMER_NORMALIZATION = NormalizationConfig(source="nmt_nfkc", target="nmt_nfkc")


def _expand_rule(value: object) -> object:
    """Convert `RULE` and `[RULE, RULE]`."""
    if isinstance(value, str):
        if value not in get_args(Rule):
            raise ValueError(f"must be one of {', '.join(get_args(Rule))}, got {value!r}")
        return {"source": value, "target": value}
    if isinstance(value, list):
        if len(value) != 2:
            raise ValueError(f"expected one rule, or two for source and target, got {len(value)}")
        return {"source": value[0], "target": value[1]}
    return value


# Options of training a SentencePiece model that other kinds of vocabularies lack.
SENTENCEPIECE_OPTIONS = ("byte_fallback", "character_coverage", "split_digits")


class VocabularyConfig(Section):
    """Subword vocabularies of both languages."""

    size: Annotated[int, Field(ge=1, le=1_000_000)] = 8000
    """tokens of a vocabulary that is learned from the training text"""
    type: Literal["unigram", "bpe", "char", "word"] = "unigram"
    """SentencePiece model type, or word: text as segmented by white space"""
    joint: bool = True
    """one vocabulary for both languages; has no effect with data.pictures"""
    byte_fallback: bool = False
    """encode characters outside the vocabulary as bytes"""
    normalization: Annotated[
        NormalizationConfig,
        BeforeValidator(_expand_rule, json_schema_input_type=NormalizationConfig | Rules),
    ] = NormalizationConfig()
    """SentencePiece normalization rules, applied before segmentation: one for both sides, or
    {source: RULE, target: RULE}"""
    character_coverage: Annotated[float, Field(gt=0, le=1)] = 1.0
    """share of the characters in the text that become tokens"""
    lines: Positive = 400_000
    """lines to learn from; of a longer training text, a fixed random sample of this many"""
    model: Path | list[Path] | None = None
    """existing vocabulary of both sides, or a list of one of the source and one of the target: a
    SentencePiece model, a tokenizer.json of Hugging Face, or a list of tokens (vocab.txt, fairseq's
    dict.txt, Marian's vocab.yml)"""
    codes: Path | list[Path] | None = None
    """merge operations of subword-nmt or fastBPE, which split words; one file for both sides, or a
    list of one of the source and one of the target. Without model, all tokens that they make of the
    training text form the vocabulary"""
    user_defined_symbols: Annotated[list[Symbol], AfterValidator(check_distinct)] = []  # noqa: RUF012 (copied)
    """strings that are always one token, such as placeholders"""
    split_digits: bool = False
    """make every digit a token of its own"""
    sampling: SamplingConfig | None = None
    """subword regularization of the training text; requires type: unigram or bpe, or codes"""

    @model_validator(mode="after")
    def _check_model(self) -> "VocabularyConfig":
        # `sampling` has an effect with an existing model as well, and `joint` may agree with it.
        # Defaults of a resolved file, and of earlier versions, are not distinguishable from values
        # that were left out; `nmt.training.unused_options` knows which options a file contains.
        fields = type(self).model_fields
        changed = [
            name
            for name in fields
            if name in self.unused_options
            and getattr(self, name) not in (fields[name].default, FORMER_NORMALIZATION)
        ]
        if changed:
            cause = self.unused_options[changed[0]]
            raise ValueError(f"{', '.join(changed)} has no effect with {cause}; remove one of them")
        for name, files in (("model", self.model), ("codes", self.codes)):
            if isinstance(files, list) and len(files) not in (1, 2):
                raise ValueError(
                    f"{name}: expected one file, or one for source and one for target, "
                    f"got {len(files)}"
                )
        return self

    @property
    def unused_options(self) -> dict[str, str]:
        """Return the options without effect, each with the option that is the cause."""
        if self.model is not None:
            used = {"model", "codes", "joint", "sampling"}
            return dict.fromkeys(type(self).model_fields.keys() - used, "model")
        if self.codes is not None:
            return dict.fromkeys((*SENTENCEPIECE_OPTIONS, "size", "type"), "codes")
        if self.type == "word":
            return dict.fromkeys(SENTENCEPIECE_OPTIONS, "type: word")
        return {}

    @property
    def is_joint(self) -> bool:
        """Return whether both sides have one vocabulary: two files are one per side."""
        files = (self.model, self.codes)
        if any(isinstance(one, list) and len(one) > 1 for one in files):
            return False
        return self.model is not None or self.joint

    @model_validator(mode="after")
    def _check_jamo(self) -> "VocabularyConfig":
        rules = self.normalization.source, self.normalization.target
        if "jamo" in rules and (self.type == "word" or self.codes is not None):
            raise ValueError(
                "normalization: jamo requires a SentencePiece vocabulary; use type: unigram, bpe "
                "or char, without codes"
            )
        return self

    @model_validator(mode="after")
    def _check_sampling(self) -> "VocabularyConfig":
        if self.sampling is not None and self.type not in ("unigram", "bpe"):
            raise ValueError(
                f"sampling requires type: unigram or bpe, got {self.type}; remove sampling or "
                "change the type"
            )
        return self
