"""Schema of the experiment file. The text below a field is its description."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    field_validator,
    model_validator,
)

from nmt.component_spec import (
    Positive,
    PositiveFloat,
    Probability,
    Seed,
    Size,
)
from nmt.config.choices import Recurrence, TiedEmbeddings
from nmt.config.component_fields import DEFAULT, Component, Components
from nmt.config.data_options import DataConfig, PicturesConfig
from nmt.config.evaluation_options import AlignmentSetConfig, EvaluationConfig
from nmt.config.objective_options import (
    GuidedAlignmentConfig,
    MinimumRiskConfig,
    Objective,
    RDropConfig,
    ScheduledSamplingConfig,
)
from nmt.config.search_options import SearchOptions
from nmt.config.sections import FieldContext, Section, check_distinct
from nmt.config.start_options import StartFrom, StartFromConfig
from nmt.config.value_errors import error_at
from nmt.config.vocabulary_options import NormalizationConfig, SamplingConfig, VocabularyConfig
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

# All sections of the file, for Python programs that build an experiment from them.
__all__ = [
    "AlignmentSetConfig",
    "DataConfig",
    "EarlyStoppingConfig",
    "EvaluationConfig",
    "Experiment",
    "GuidedAlignmentConfig",
    "MinimumRiskConfig",
    "ModelConfig",
    "NormalizationConfig",
    "PicturesConfig",
    "RDropConfig",
    "SamplingConfig",
    "ScheduledSamplingConfig",
    "SearchOptions",
    "StartFromConfig",
    "TrainingConfig",
    "VocabularyConfig",
]

# Type of the inner validation that pydantic passes to a wrap validator.
Validate = Callable[[object], ComponentConfig]

# Option of decoders whose alignment is that of one head or the mean over several.
ALIGNMENT_HEAD = "alignment_head"


class ModelConfig(Section):
    """Components of an encoder-decoder. The widths between them follow from their options."""

    embedding_size: Size = 256
    """width of the token embeddings of both sides"""
    embedding_dropout: Probability = 0.0
    """dropout rate of the embeddings"""
    source_word_dropout: Probability = 0.0
    """probability that the whole embedding of a source token is dropped"""
    target_word_dropout: Probability = 0.0
    """probability that the whole embedding of the previous target token is dropped"""
    tied_embeddings: TiedEmbeddings = "none"
    """tables that share weights: target embedding and output layer (decoder), and also the source
    embedding (all)"""
    alignment_size: Size | None = None
    """width of an attention for word alignments alone, which has read the aligned word and learns
    by training.guided_alignment (default: none; alignments are the attention of the decoder)"""
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
    return check_distinct(names)


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


class TrainingConfig(Section):
    """Optimization, and the end of training."""

    optimizer: Annotated[ComponentConfig, Component(OPTIMIZERS, "adam")] = DEFAULT
    schedule: Annotated[ComponentConfig, Component(SCHEDULES, "constant")] = DEFAULT
    batch_tokens: Positive | Literal["auto"] = 4000
    """tokens per batch on the longer side, padding included; auto: as many as fit on the GPU"""
    batch_sentences: Positive | None = None
    """maximum sentence pairs per batch"""
    bucket_pairs: Annotated[int, Field(ge=100_000, le=1_000_000_000)] | None = None
    """pairs that are shuffled and sorted by length together, in blocks of 2048 drawn at random;
    1000000 for a text of tens of millions of pairs (default: all pairs of an epoch)"""
    accumulate: Positive = 1
    """batches per update"""
    gradient_exchange: Literal["fp32", "bf16"] = "fp32"
    """number format in which the processes of torchrun add up their gradients; bf16 transfers half
    as many bytes, and rounds every gradient to 8 bits of mantissa"""
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
    layers without zoneout and layer_norm, with global attention), or auto (fused where supported).
    graph: auto, with the whole update as a CUDA graph per shape of batches, whose sizes are rounded
    for this; requires a GPU"""
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
    r_drop: RDropConfig | None = None
    """R-Drop: two passes per batch, with different dropout, have to agree"""
    scheduled_sampling: ScheduledSamplingConfig | None = None
    """scheduled sampling: the decoder reads some of the model's own predictions"""
    minimum_risk: MinimumRiskConfig | None = None
    """minimum risk training, for a model that start_from provides"""

    @field_validator("scheduled_sampling", "minimum_risk", mode="after")
    @classmethod
    def _check_graph(cls, objective: Objective | None, field: FieldContext) -> Objective | None:
        # Their first passes read values on the host.
        if objective is not None and field.data.get("recurrence") == "graph":
            raise ValueError("is not possible with recurrence: graph; use auto")
        return objective

    @field_validator("minimum_risk", mode="after")
    @classmethod
    def _check_risk(
        cls, risk: MinimumRiskConfig | None, field: FieldContext
    ) -> MinimumRiskConfig | None:
        if risk is None:
            return None
        for name in ("r_drop", "guided_alignment", "scheduled_sampling"):
            if field.data.get(name) is not None:
                raise ValueError(f"replaces the loss that {name} changes; remove one of them")
        if field.data.get("start_from") is None:
            raise ValueError("requires start_from, a run that was trained by cross entropy")
        return risk

    # No field is required on its own, but training must end.
    @model_validator(mode="after")
    def _check_end(self) -> "TrainingConfig":
        if self.epochs is None and self.steps is None and self.minutes is None:
            raise ValueError("has no end; set at least one of epochs, steps, minutes")
        return self


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
        if reads_images and model.source_word_dropout:
            message = "has no effect with images, which have no words; remove it"
            raise error_at("model.source_word_dropout", message)
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
        model, is_trained = field.data.get("model"), guided is not None or training.start_from
        if isinstance(model, ModelConfig) and model.alignment_size is not None and not is_trained:
            message = "requires training.guided_alignment, by which it learns; add it"
            raise error_at("model.alignment_size", f"{message}, or remove this option")
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
