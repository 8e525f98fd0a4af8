"""The sections of an experiment file."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from nmt.component_spec import NonNegative, Positive, PositiveFloat, Probability
from nmt.config.section import PartField, Section, to_dict
from nmt.registry import ComponentConfig


def _cuts(nbest: int) -> int:
    if nbest != -1 and not 2 <= nbest <= 512:
        raise ValueError(f"is {nbest}; give 2 to 512 cuts, or -1 for many")
    return nbest


class SamplingConfig(Section):
    """Subword regularisation: words cut otherwise each epoch, by P(cut)**alpha. Kudo 2018, 3.3."""

    alpha: PositiveFloat = 0.2
    """how flat the choice is: near 0 all cuts are alike, a large one leaves only the likeliest"""
    nbest: Annotated[int, AfterValidator(_cuts)] = -1
    """likeliest cuts of a word to choose among, 2 to 512; -1 for many"""


class VocabularyConfig(Section):
    """The pieces of both languages."""

    size: Positive = 8000
    """pieces of a vocabulary that is trained from the training text"""
    type: Literal["unigram", "bpe", "char"] = "unigram"
    """how SentencePiece cuts words"""
    joint: bool = True
    """one vocabulary for both languages; without meaning where the source is pictures"""
    byte_fallback: bool = False
    """write characters that are not in the vocabulary as bytes"""
    normalization: Literal["nmt_nfkc", "nmt_nfkc_cf", "nfkc", "nfkc_cf", "identity"] = "nmt_nfkc"
    """SentencePiece's rule for the text before it is cut"""
    character_coverage: Annotated[float, Field(gt=0, le=1)] = 1.0
    """share of the text's characters that get a piece of their own"""
    lines: Positive = 400_000
    """lines to learn from; of a longer training text so many are drawn, the same each time"""
    model: Path | list[Path] | None = None
    """SentencePiece models made elsewhere: one for both sides, or source and target"""
    sampling: SamplingConfig | None = None
    """subword regularisation of the training text; the type is unigram"""

    @model_validator(mode="after")
    def _nothing_beside_a_model(self) -> "VocabularyConfig":
        unused = [
            name
            for name in (
                "size",
                "type",
                "byte_fallback",
                "normalization",
                "character_coverage",
                "lines",
            )
            if getattr(self, name) != type(self).model_fields[name].default
        ]
        if self.model is not None and unused:
            raise ValueError(f"a ready model leaves {', '.join(unused)} without use; remove them")
        if isinstance(self.model, list) and len(self.model) not in (1, 2):
            raise ValueError("model: one SentencePiece model, or one for source and one for target")
        return self

    @model_validator(mode="after")
    def _only_unigram_samples(self) -> "VocabularyConfig":
        if self.sampling is not None and self.type != "unigram":
            raise ValueError(
                f"sampling: pieces of type {self.type} have no probabilities to sample by; "
                "use type: unigram or remove sampling"
            )
        return self


class PicturesConfig(Section):
    """What the source's pictures are: pixels, or ready feature maps."""

    size: Positive | None = None
    """side in pixels that pictures are stretched or squeezed to"""
    features: Positive | None = None
    """width of an annotation of the feature maps, which are .npy files of floats"""
    positions: Positive = 196
    """annotations of a feature map, rows times columns"""

    @model_validator(mode="after")
    def _one_kind(self) -> "PicturesConfig":
        if (self.size is None) == (self.features is None):
            raise ValueError(
                "give one of size, for pictures as pixels, and features, for ready feature maps"
            )
        if self.size is not None and self.positions != 196:
            raise ValueError("positions are those of feature maps, and size asks for pixels")
        return self


class DataConfig(Section):
    """Where the sentence pairs are."""

    train: Path | list[Path]
    """training text: a prefix (`train` for train.de, train.en), a .tsv file, a pattern of shards
    (`part-*`, or `part-*.de.gz` for both sides), or a list of these; each file plain or .gz"""
    valid: Path
    """validation text, named the same way"""
    source: str
    """suffix of the source files, as a rule the language's code"""
    target: str
    """suffix of the target files"""
    pictures: PicturesConfig | None = None
    """the source files name pictures, a file a line, from the text file's folder on"""
    max_length: Positive = 100
    """pairs with more pieces than this on a side are left out of training"""
    vocabulary: VocabularyConfig = VocabularyConfig()
    cache: Path | None = None
    """folder of the encoded text; that of the run when not given"""

    @model_validator(mode="after")
    def _pictures_have_no_vocabulary(self) -> "DataConfig":
        models = self.vocabulary.model
        if self.pictures is not None and isinstance(models, list) and len(models) > 1:
            raise ValueError("vocabulary.model: pictures have none; give the target's alone")
        return self


class ModelConfig(Section):
    """The parts of an encoder-decoder; widths between them follow from the parts."""

    embedding_size: Positive = 256
    """width of a piece's vector, on both sides"""
    embedding_dropout: Probability = 0.0
    """share of the vector's units dropped"""
    tied_embeddings: Literal["none", "decoder", "all"] = "none"
    """tables that are one: target and output (decoder), the source's too (all)"""
    encoder: PartField = ComponentConfig("bilstm")
    decoder: PartField = ComponentConfig("bahdanau")
    attention: PartField = ComponentConfig("global")
    score: PartField = ComponentConfig("additive")


class EarlyStoppingConfig(Section):
    """When to stop before the end."""

    metric: str = "loss"
    """what is watched: loss, or one of evaluation.metrics; also decides which checkpoint is best"""
    patience: Positive | None = None
    """validations without a better value before training stops; never when not given"""


RecurrenceBackend = Literal["auto", "eager", "fused"]
"""How a decoder's recurrence is computed under teacher forcing; see `nmt.model.recurrence`."""


class TrainingConfig(Section):
    """How parameters are fitted, and when to stop."""

    optimizer: PartField = ComponentConfig("adam")
    schedule: PartField = ComponentConfig("constant")
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
    recurrence: RecurrenceBackend = "auto"
    """decoder recurrence: eager (a loop over steps), fused (one operation for all steps, for LSTM
    layers with global attention), or auto (fused where supported)"""
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
    length_penalty: PartField = ComponentConfig("average")
    coverage_penalty: PartField = ComponentConfig("none")
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

    def to_dict(self) -> dict[str, Any]:
        """The experiment as to_dict data, defaults included, for YAML."""
        return to_dict(self)
