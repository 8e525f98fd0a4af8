"""The experiment file: its sections beside that of the data."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from nmt.config.data import DataConfig
from nmt.config.section import PartField, Section, plain
from nmt.parts import NonNegative, Positive, PositiveFloat, Probability
from nmt.registry import Choice


class ModelConfig(Section):
    """The parts of an encoder-decoder; widths between them follow from the parts."""

    embedding_size: Positive = 256
    """width of a piece's vector, on both sides"""
    embedding_dropout: Probability = 0.0
    """share of the vector's units dropped"""
    tied_embeddings: Literal["none", "decoder", "all"] = "none"
    """tables that are one: target and output (decoder), the source's too (all)"""
    encoder: PartField = Choice("bilstm")
    decoder: PartField = Choice("bahdanau")
    attention: PartField = Choice("global")
    score: PartField = Choice("additive")


class EarlyStoppingConfig(Section):
    """When to stop before the end."""

    metric: str = "loss"
    """what is watched: loss, or one of evaluation.metrics; also decides which checkpoint is best"""
    patience: Positive | None = None
    """validations without a better value before training stops; never when not given"""


class TrainingConfig(Section):
    """How parameters are fitted, and when to stop."""

    optimizer: PartField = Choice("adam")
    schedule: PartField = Choice("constant")
    batch_tokens: Positive | Literal["auto"] = 4000
    """pieces a batch on the longer side, padding included; auto: the most that a GPU holds"""
    batch_sentences: Positive | None = None
    """pairs a batch at most"""
    accumulate: Positive = 1
    """batches an update"""
    epochs: Positive | None = None
    """stop after so many passes over the text"""
    steps: Positive | None = None
    """stop after so many updates"""
    minutes: PositiveFloat | None = None
    """stop after so many minutes of training, validation included"""
    clip_norm: PositiveFloat | None = 1.0
    """the largest norm of all gradients together"""
    label_smoothing: Probability = 0.1
    """share of probability spread over the vocabulary; Szegedy et al. 2016, section 7"""
    output_chunk: Positive = 1024
    """target pieces whose logits stand in memory at once"""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: bf16 on a GPU that has it, else fp16; fp32 on a CPU"""
    seed: NonNegative = 1
    """of first values, dropout and the order of batches"""
    threads: Positive | None = None
    """CPU threads, and processes that encode a long text; all cores when not given"""
    deterministic: bool = False
    """only repeatable kernels on a GPU"""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """decay of an exponential moving average of the parameters, used to validate and translate"""
    validate_every: Positive | None = None
    """updates between validations; once an epoch when not given"""
    save_every: Positive | None = None
    """updates between checkpoints; at every validation when not given"""
    log_every: Positive = 50
    """updates between reports"""
    keep: Positive = 5
    """checkpoints that are kept beside the best; `--checkpoint average` averages them"""
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    start_from: Path | None = None
    """a run whose weights and vocabulary training begins with, the optimizer fresh"""

    @model_validator(mode="after")
    def _ends(self) -> "TrainingConfig":
        if self.epochs is None and self.steps is None and self.minutes is None:
            raise ValueError("training has no end; set one of epochs, steps, minutes")
        return self


Stop = Literal["bound", "likely"]
"""When a sentence is done; see `nmt.search.beam.beam_search`."""


class SearchConfig(Section):
    """How translations are looked for, in validation and by default in nmt-translate."""

    beam_size: Positive = 5
    """hypotheses a sentence; 1 is greedy"""
    length_penalty: PartField = Choice("average")
    coverage_penalty: PartField = Choice("none")
    max_length: Positive | None = None
    """target pieces at most; when not given, twice the source's plus 20, or 100 for a picture"""
    block_ngram_repeat: NonNegative = 0
    """no hypothesis repeats n pieces in a row; 0 for no such rule"""
    stop: Stop = "bound"
    """a sentence is done when nothing live can beat its best, or likely will: a third faster"""
    batch_tokens: Positive = 4000
    """source pieces a batch, padding included; a picture has its annotations"""


class EvaluationConfig(Section):
    """What validation reports."""

    metrics: list[Literal["bleu", "chrf", "ter", "exact"]] = ["bleu"]  # noqa: RUF012 (pydantic copies it)
    """of beam search over the validation text"""
    tokenize: str | None = None
    """sacreBLEU's tokenizer; its own default when not given"""
    lowercase: bool = False
    """compare without case"""
    samples: NonNegative = 5
    """validation sentences whose translations are written down"""
    pictures: NonNegative = 3
    """validation sentences whose attention is drawn"""


class Experiment(Section):
    """One experiment file."""

    data: DataConfig
    model: ModelConfig = ModelConfig()
    training: TrainingConfig
    search: SearchConfig = SearchConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    plugins: list[Path] = []  # noqa: RUF012
    """Python files whose parts are registered"""

    @model_validator(mode="after")
    def _watched_metric_is_measured(self) -> "Experiment":
        metric = self.training.early_stopping.metric
        known = ["loss", *self.evaluation.metrics]
        if metric not in known:
            raise ValueError(
                f"training.early_stopping.metric: '{metric}' is not measured; use one of "
                f"{', '.join(known)} or add it to evaluation.metrics"
            )
        return self

    def as_tree(self) -> dict[str, Any]:
        """The experiment as plain data, defaults included, for YAML."""
        return plain(self)
