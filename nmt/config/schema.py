"""Schema of the experiment file. The text below a field is its description."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, get_args

from annotated_types import Len
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from nmt.component_spec import (
    Length,
    NonNegative,
    Positive,
    PositiveFloat,
    Probability,
    Seed,
    Size,
)
from nmt.config.choices import Recurrence, TiedEmbeddings
from nmt.config.corpus_options import Corpora, HeldOut, Symbol, TrainingCorpora, ValidationCorpora
from nmt.config.search_options import SearchOptions
from nmt.config.start_options import StartFrom
from nmt.config.validation import (
    DEFAULT,
    Component,
    Components,
    FieldContext,
    PathSection,
    Section,
    error_at,
)
from nmt.errors import printable
from nmt.registry import (
    DECODERS,
    ENCODERS,
    MECHANISMS,
    OPTIMIZERS,
    SCHEDULES,
    SCORES,
    TRACKERS,
    AnyRegistry,
    ComponentConfig,
)

# Type of the inner validation that pydantic passes to a wrap validator.
Validate = Callable[[object], ComponentConfig]


def _check_nbest(nbest: int) -> int:
    if nbest != -1 and not 2 <= nbest <= 512:
        raise ValueError(f"must be 2 to 512, or -1 for all segmentations, got {nbest}")
    return nbest


def _check_columns(columns: list[int | str]) -> list[int | str]:
    numbers = [column for column in columns if isinstance(column, int)]
    if len(columns) != 2 or columns[0] == columns[1] or not all(0 < n <= 1000 for n in numbers):
        raise ValueError("give two columns, source and target, by number from 1 or by name: [1, 2]")
    return columns


def _check_distinct(names: list[str]) -> list[str]:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"contains {printable(twice[0])!r} twice; remove one")
    return names


class SamplingConfig(Section):
    """Subword regularization: segmentations sampled by P(segmentation)**alpha. Kudo 2018, 3.3."""

    alpha: PositiveFloat = 0.2
    """smoothing: near 0 the distribution is uniform; a large value keeps only the most probable"""
    nbest: Annotated[int, AfterValidator(_check_nbest)] = -1
    """number of most probable segmentations to sample from, 2 to 512; -1 for all"""


Rule = Literal["nmt_nfkc", "nmt_nfkc_cf", "nfkc", "nfkc_cf", "identity"]
Rules = Rule | Annotated[list[Rule], Len(2, 2)]


class NormalizationConfig(Section):
    """SentencePiece normalization rules of both sides; a joint vocabulary may have two as well."""

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


# Option of decoders whose alignment is that of one head or the mean over several.
ALIGNMENT_HEAD = "alignment_head"

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
    user_defined_symbols: Annotated[list[Symbol], AfterValidator(_check_distinct)] = []  # noqa: RUF012 (copied)
    """strings that are always one token, such as placeholders"""
    split_digits: bool = False
    """make every digit a token of its own"""
    sampling: SamplingConfig | None = None
    """subword regularization of the training text; requires type: unigram"""

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
        """Options without effect, each with the option that is the cause."""
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
        """Whether both sides have one vocabulary: two files are one per side."""
        files = (self.model, self.codes)
        if any(isinstance(one, list) and len(one) > 1 for one in files):
            return False
        return self.model is not None or self.joint

    @model_validator(mode="after")
    def _check_sampling(self) -> "VocabularyConfig":
        # Only unigram models have the probabilities that segmentations are sampled by.
        if self.sampling is not None and self.type != "unigram":
            raise ValueError(
                f"sampling requires type: unigram, got {self.type}; remove sampling or "
                "change the type"
            )
        return self


class PicturesConfig(Section):
    """Source images instead of source text: pixels, or precomputed feature maps."""

    size: Size | None = None
    """height and width in pixels to which images are resized, without keeping the aspect ratio"""
    features: Size | None = None
    """width of each annotation of the feature maps, which are .npy files of floats"""
    positions: Length = 196
    """annotations of a feature map: rows times columns"""

    @model_validator(mode="after")
    def _check_one_kind(self) -> "PicturesConfig":
        if (self.size is None) == (self.features is None):
            raise ValueError(
                "requires either size, for images as pixels, or features, for feature maps"
            )
        # The annotations of images follow from their size and the encoder.
        if self.size is not None and self.positions != 196:
            raise ValueError("positions has no effect with size; remove one of them")
        return self


PostStep = Literal["moses", "subword_nmt"]


def _expand_step(value: object) -> object:
    """Convert a single detokenizer to a list."""
    return [value] if isinstance(value, str) else value


def _check_placeholder(pattern: str) -> str:
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    if compiled.match("") is not None:
        raise ValueError(f"{pattern!r} matches the empty string; use another expression")
    if compiled.groupindex or re.search(r"\\[1-9]", pattern):
        raise ValueError(f"{pattern!r} refers to groups, which is not possible here")
    return pattern


Placeholder = Annotated[str, AfterValidator(_check_placeholder)]


class DataConfig(Section):
    """Files of sentence pairs, and their vocabularies."""

    train: TrainingCorpora
    """training text: a prefix (`train` for train.de and train.en), a .tsv or .csv file, a pattern
    of shards (`part-*`, or `part-*.de.gz` for both sides), a section with one of these as its
    path, or a list of corpora; each file plain or compressed (.gz, .bz2, .xz, .zst)"""
    temperature: Annotated[float, Field(ge=1, le=1000)] = 1.0
    """weights of the training corpora by their sizes: the share of n pairs is proportional to
    n^(1/temperature), and every pair is read once per epoch or more often; 1: all pairs once"""
    valid: ValidationCorpora
    """validation text, named in the same way, or the share of the training text that is held out
    for validation, such as 0.05; pairs that share a sentence stay together"""
    source: str
    """suffix of the source files, usually the code of the language"""
    target: str
    """suffix of the target files"""
    columns: Annotated[list[int | str], AfterValidator(_check_columns)] | None = None
    """columns of source and target in .tsv and .csv files, by number from 1 or by their names in
    the header row (default: the only two, or those named like the suffixes)"""
    pictures: PicturesConfig | None = None
    """source images: the source files list one file name per line, relative to the text file"""
    alignments: Path | list[Path] | None = None
    """word alignments of the training text for training.guided_alignment, in Pharaoh format: one
    line of links SOURCE-TARGET per pair, `0-0 1-2`; a file, plain or compressed, or a list"""
    max_length: Length = 100
    """training pairs with more tokens than this on either side are skipped"""
    vocabulary: VocabularyConfig = VocabularyConfig()
    pre: Literal["moses", "moses_escaped"] | None = None
    """tokenizer of the text before its vocabulary, in training and translation: moses, or
    moses_escaped, which writes & < > ' " as entities"""
    post: Annotated[
        list[PostStep], BeforeValidator(_expand_step), AfterValidator(_check_distinct)
    ] = []  # noqa: RUF012 (copied)
    """detokenizers of translations: subword_nmt joins `lo@@ w`, moses detokenizes. Without pre, the
    files are tokenized, and scores are of detokenized references as well"""
    tokenized: bool = False
    """the files are tokenized as pre does: it applies to the text of nmt-translate alone, and
    scores are of detokenized references"""
    placeholders: Annotated[list[Placeholder], AfterValidator(_check_distinct)] | None = None
    """regular expressions of the parts of a sentence that its translation copies, such as
    `%[sd]`; each different one is one token (default: none, but a wrong user-defined symbol in a
    translation is replaced by the one that the source has)"""
    cache: Path | None = None
    """folder of the encoded text (default: in the run directory)"""

    @property
    def held_out(self) -> float | None:
        """Return the share of the training text that is held out; None for a text of its own."""
        return next((one.share for one in self.valid if isinstance(one, HeldOut)), None)

    @property
    def tags(self) -> list[str]:
        """Return the tags of all corpora, each once."""
        corpora = [*self.train, *self.valid]
        return list(dict.fromkeys(corpus.tag for corpus in corpora if corpus.tag is not None))

    @model_validator(mode="after")
    def _check_corpora(self) -> "DataConfig":
        if not self.train or not self.valid:
            name = "valid" if self.train else "train"
            raise error_at(f"data.{name}", "the list of corpora is empty; give at least one")
        if self.temperature > 1 and len(self.train) == 1:
            message = "has no effect with one training corpus; give a list, or remove it"
            raise error_at("data.temperature", message)
        if self.temperature > 1 and any(corpus.weight != 1 for corpus in self.train):
            message = "has no effect with weights of corpora; remove one of them"
            raise error_at("data.temperature", message)
        if self.pictures is not None and self.tags:
            message = "has no effect with data.pictures, since images have no words; remove it"
            raise error_at("data.train", f"tag {message}")
        return self

    @model_validator(mode="after")
    def _check_preparation(self) -> "DataConfig":
        if self.tokenized and self.pre is None:
            raise ValueError("tokenized has no effect without pre; remove it")
        if self.tokenized and not self.post:
            raise ValueError("tokenized requires post, which detokenizes translations; add it")
        for name in ("pre", "placeholders"):
            if self.pictures is not None and getattr(self, name) is not None:
                raise ValueError(f"{name} has no effect with pictures; remove it")
        return self

    @model_validator(mode="after")
    def _check_pictures(self) -> "DataConfig":
        for name in ("model", "codes"):
            files = getattr(self.vocabulary, name)
            if self.pictures is not None and isinstance(files, list) and len(files) > 1:
                raise ValueError(
                    f"vocabulary.{name}: images have no vocabulary; "
                    f"give only the {name} of the target"
                )
        if self.pictures is not None and self.alignments is not None:
            raise ValueError("alignments: images have no words to align; remove it")
        return self

    @property
    def alignment_files(self) -> list[Path]:
        """Return the files of word alignments."""
        given = self.alignments
        return given if isinstance(given, list) else [] if given is None else [given]

    @model_validator(mode="after")
    def _check_alignments(self) -> "DataConfig":
        if self.alignments == []:
            raise ValueError("alignments: the list is empty; give at least one file")
        if self.alignments is not None and self.held_out is not None:
            raise ValueError(
                "alignments requires a validation text in files of its own, since it has one line "
                "per pair of data.train; give files as data.valid"
            )
        if self.alignments is not None and self.vocabulary.sampling is not None:
            raise ValueError(
                "alignments cannot be used with vocabulary.sampling, which changes the tokens in "
                "every epoch; remove one of them"
            )
        return self


class ModelConfig(Section):
    """Components of an encoder-decoder. The widths between them follow from their options."""

    embedding_size: Size = 256
    """width of the token embeddings of both sides"""
    embedding_dropout: Probability = 0.0
    """dropout rate of the embeddings"""
    tied_embeddings: TiedEmbeddings = "none"
    """tables that share weights: target embedding and output layer (decoder), and also the source
    embedding (all)"""
    # In the order of injection: the validator of a field knows only the fields before it.
    encoder: Annotated[ComponentConfig, Component(ENCODERS, "bilstm")] = DEFAULT
    decoder: Annotated[ComponentConfig, Component(DECODERS, "bahdanau")] = DEFAULT
    attention: Annotated[ComponentConfig | None, Component(MECHANISMS, "global")] = None
    score: Annotated[ComponentConfig | None, Component(SCORES, "additive")] = None

    @field_validator("attention", mode="wrap")
    @classmethod
    def _check_attention(
        cls, value: object, validate: Validate, field: FieldContext
    ) -> ComponentConfig | None:
        return _validate_injected("attention", "decoder", DECODERS, value, validate, field)

    @field_validator("score", mode="wrap")
    @classmethod
    def _check_score(
        cls, value: object, validate: Validate, field: FieldContext
    ) -> ComponentConfig | None:
        return _validate_injected("score", "attention", MECHANISMS, value, validate, field)


def _validate_injected(
    name: str,
    receiver: str,
    registry: AnyRegistry,
    value: object,
    validate: Validate,
    field: FieldContext,
) -> ComponentConfig | None:
    """Validate a component that is injected into another one, or leave it out with that one.

    Args:
        name: key of the component, and name of the receiver's parameter
        receiver: key of the component that it is injected into
        registry: family of the receiver
        value: raw value of the component
        validate: validates the value, or returns the default
        field: the fields before it
    """
    if receiver not in field.data:  # invalid, and reported itself
        return validate(value)
    config, cause = field.data[receiver], f"without {receiver}"
    if isinstance(config, ComponentConfig):
        if name in registry.find(config.type).injected:
            return validate(value)
        cause = f"with {receiver} '{config.type}'"
    if value is not None:
        raise ValueError(f"has no effect {cause}; remove it")
    return None


def _check_metrics(names: list[str]) -> list[str]:
    if not names:
        raise ValueError("is empty; name a metric, or remove it")
    return _check_distinct(names)


class EarlyStoppingConfig(Section):
    """Selection of the best checkpoint, and the end of training without improvement."""

    metric: str | Annotated[list[str], AfterValidator(_check_metrics)] | None = None
    """loss, aer (with evaluation.alignments), one of evaluation.metrics, or a list of them; the
    first selects the best checkpoint: of equal values, and of bleu below 1, the one with the lower
    loss (default: chrf if it is one of evaluation.metrics, otherwise the first of them)"""
    patience: Positive | None = None
    """validations in which neither a metric nor the loss improves after which training stops; bleu
    below 1 alone does not count (default: it does not stop)"""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return the metrics that the file names; none for the default."""
        if self.metric is None:
            return ()
        return (self.metric,) if isinstance(self.metric, str) else tuple(self.metric)


class GuidedAlignmentConfig(Section):
    """Cross entropy of attention with data.alignments, added to the loss. Chen et al. 2016."""

    weight: PositiveFloat = 0.1
    """factor of this addend, which is summed over the aligned target tokens"""
    until: Positive | None = None
    """last update with this addend (default: the last one of training)"""


class TrainingConfig(Section):
    """Optimization, and the end of training."""

    optimizer: Annotated[ComponentConfig, Component(OPTIMIZERS, "adam")] = DEFAULT
    schedule: Annotated[ComponentConfig, Component(SCHEDULES, "constant")] = DEFAULT
    batch_tokens: Positive | Literal["auto"] = 4000
    """tokens per batch on the longer side, padding included; auto: as many as fit on the GPU"""
    batch_sentences: Positive | None = None
    """maximum sentence pairs per batch"""
    accumulate: Positive = 1
    """batches per update"""
    epochs: Positive | None = None
    """stop after this many passes over the training text"""
    steps: Positive | None = None
    """stop after this many updates"""
    minutes: PositiveFloat | None = None
    """stop after this many minutes of training, validation included"""
    clip_norm: PositiveFloat | None = 1.0
    """maximum norm of the gradient of all parameters; null: no clipping"""
    label_smoothing: Probability = 0.1
    """probability spread uniformly over the vocabulary; Szegedy et al. 2016, section 7"""
    output_chunk: Positive | Literal["auto"] = "auto"
    """target tokens whose logits are in memory at the same time; auto: 1024 on a CPU, 8192 on a
    GPU"""
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    """auto: bf16 on a GPU that supports it, otherwise fp16; fp32 on the CPU. tf32: float32, except
    that a GPU rounds the inputs of products to 10 bits of mantissa; tf32 and fp16 require a GPU"""
    recurrence: Recurrence = "auto"
    """decoder recurrence: eager (a loop over steps), fused (one operation for all steps, for LSTM
    layers with global attention), or auto (fused where supported). graph: auto, with the whole
    update as a CUDA graph per shape of batches, whose sizes are rounded for this; requires a GPU"""
    seed: Seed = 1
    """seed of the initialization, dropout and the order of batches"""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """CPU threads, and processes that encode a long text (default: all cores)"""
    deterministic: bool = False
    """use only deterministic kernels on the GPU"""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """decay of an exponential moving average of the weights, used to validate and translate"""
    validate_every: Positive | None = None
    """updates between validations (default: once per epoch)"""
    save_every: Positive | None = None
    """updates between checkpoints (default: at every validation)"""
    log_every: Positive = 50
    """updates between reports of the loss, in the log and in metrics.jsonl"""
    log_seconds: PositiveFloat | None = 30.0
    """seconds after which a line of the log appears without a report; null: reports only"""
    report: Annotated[list[ComponentConfig] | None, Components(TRACKERS, "tensorboard")] = None
    """trackers of the reports besides metrics.jsonl: [tensorboard, {type: wandb, project: mine}]
    (default: tensorboard if it is installed)"""
    at_end: str | None = None
    """shell command that runs when training has finished, was interrupted or has failed, as
    NMT_STATUS says in its environment; NMT_RUN is the run directory, NMT_MESSAGE the reason"""
    keep: Positive = 5
    """checkpoints to keep in addition to the best one; `--checkpoint average` averages them"""
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    start_from: StartFrom = None
    """run directory that provides the initial weights and the vocabulary, or a section"""
    guided_alignment: GuidedAlignmentConfig | None = None
    """training of attention with data.alignments; in a Transformer, of one head of one layer"""

    # No field is required on its own, but training must end.
    @model_validator(mode="after")
    def _check_end(self) -> "TrainingConfig":
        if self.epochs is None and self.steps is None and self.minutes is None:
            raise ValueError("has no end; set at least one of epochs, steps, minutes")
        return self


class AlignmentSetConfig(PathSection):
    """Sentence pairs with gold word alignments, for the alignment error rate."""

    path_field = "gold"

    gold: Path
    """Pharaoh file with one line of links per pair: sure ones as `0-1`, possible ones as `0p1` or
    `0?1`"""
    text: Corpora | None = None
    """their text, named like data.valid (default: the validation text)"""


class EvaluationConfig(Section):
    """Reports of a validation."""

    metrics: list[Literal["bleu", "chrf", "ter", "exact"]] = ["chrf", "bleu"]  # noqa: RUF012 (copied)
    """metrics of the translations of the validation text"""
    tokenize: str | None = None
    """tokenizer of sacreBLEU for bleu (default: its own for the language that data.target names,
    or char for a language without spaces that it has none for)"""
    lowercase: bool = False
    """ignore case"""
    samples: NonNegative = 5
    """validation sentences whose translations are written to samples/"""
    pictures: NonNegative = 3
    """validation sentences whose attention is plotted in attention/"""
    alignments: Annotated[
        AlignmentSetConfig | None,
        BeforeValidator(
            AlignmentSetConfig.expand, json_schema_input_type=Path | AlignmentSetConfig | None
        ),
    ] = None
    """gold word alignments of the validation text, or of another one; every validation then reports
    `aer`, the alignment error rate in percent of attention while the model reads the targets"""

    @property
    def measured(self) -> list[str]:
        """Return the names of all values that a validation measures and that can be compared."""
        return ["loss", *self.metrics, *(["aer"] if self.alignments is not None else [])]


class Experiment(Section):
    """An experiment file."""

    data: DataConfig
    model: ModelConfig = ModelConfig()
    training: TrainingConfig
    search: SearchOptions = SearchOptions()
    evaluation: EvaluationConfig = EvaluationConfig()
    plugins: list[Path] = []  # noqa: RUF012
    """Python files that register components"""

    @field_validator("model", mode="after")
    @classmethod
    def _check_source(cls, model: ModelConfig, field: FieldContext) -> ModelConfig:
        """Check that an encoder of images has images, and an encoder of text has text."""
        data, encoder = field.data.get("data"), model.encoder.type
        reads_images = "image_size" in ENCODERS.find(encoder).injected
        if not isinstance(data, DataConfig) or reads_images == (data.pictures is not None):
            return model
        if reads_images:
            message = f"'{encoder}' requires images; add 'pictures: {{size: 64}}' to data"
            raise error_at("model.encoder", message)
        # Plugins may add encoders of images, so they are recognized by their parameter.
        readers = [name for name, spec in ENCODERS.specs().items() if "image_size" in spec.injected]
        message = f"encoder '{encoder}' reads text; remove it or use encoder {' or '.join(readers)}"
        raise error_at("data.pictures", message)

    @field_validator("training", mode="after")
    @classmethod
    def _check_guided_alignment(
        cls, training: TrainingConfig, field: FieldContext
    ) -> TrainingConfig:
        """Check that alignments are given if and only if they are used."""
        data, guided = field.data.get("data"), training.guided_alignment
        if not isinstance(data, DataConfig):
            return training
        if guided is None and data.alignments is not None:
            message = "has no effect without training.guided_alignment; add it, or remove this"
            raise error_at("data.alignments", message)
        if guided is not None and data.alignments is None:
            message = "requires data.alignments; add the word alignments of the training text"
            raise error_at("training.guided_alignment", message)
        if guided is not None and training.recurrence == "graph":
            message = "'graph' is not possible with guided_alignment; use auto"
            raise error_at("training.recurrence", message)
        return training

    @model_validator(mode="after")
    def _guide_one_head(self) -> "Experiment":
        """Choose the head of a Transformer that guided alignment trains. Garg et al. 2019, 4.2."""
        decoder = self.model.decoder
        chosen = decoder.options.get(ALIGNMENT_HEAD, 0)
        if self.training.guided_alignment is not None and chosen is None:
            options = {**decoder.options, ALIGNMENT_HEAD: 1}
            model = self.model.model_copy(
                update={"decoder": ComponentConfig(decoder.type, options)}
            )
            # Sections are frozen: the translator reads the head from the resolved file.
            object.__setattr__(self, "model", model)
        return self

    @field_validator("evaluation", mode="after")
    @classmethod
    def _check_metric(cls, evaluation: EvaluationConfig, field: FieldContext) -> EvaluationConfig:
        """Check that the metric of early stopping is measured."""
        training, known = field.data.get("training"), evaluation.measured
        if not isinstance(training, TrainingConfig):  # invalid, and reported itself
            return evaluation
        for metric in training.early_stopping.metrics:
            if metric not in known:
                raise error_at(
                    "training.early_stopping.metric",
                    f"must be one of {', '.join(known)}, got '{printable(metric)}'; "
                    "add it to evaluation.metrics",
                )
        return evaluation

    @property
    def default_metric(self) -> str:
        """Return the metric that selects the best checkpoint if the file names none.

        The loss would select checkpoints of 0.7 to 4.1 chrF less (docs/own-text.md), and BLEU has
        no resolution on small texts.
        """
        metrics: list[str] = list(self.evaluation.metrics)
        return "chrf" if "chrf" in metrics else next(iter(metrics), "loss")

    def with_metric(self, metric: str | list[str]) -> "Experiment":
        """Return the experiment with another metric of early stopping."""
        stopping = self.training.early_stopping.model_copy(update={"metric": metric})
        training = self.training.model_copy(update={"early_stopping": stopping})
        return self.model_copy(update={"training": training})
