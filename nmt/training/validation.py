"""Validation: loss and beam-search scores on held-out text."""

import logging
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from math import exp

import torch
from torch import Tensor

from nmt.config.schema import Experiment
from nmt.data.batch_plan import plan_by_length
from nmt.data.bleu_tokenizer import choose_for_references
from nmt.data.loader import make_batch
from nmt.data.pharaoh import Link
from nmt.data.special_tokens import SpecialTokenPair
from nmt.data.token_corpus import TokenCorpus
from nmt.distributed.process_group import SINGLE_PROCESS_GROUP, ProcessGroup
from nmt.evaluation.attention_entropy import attention_entropy
from nmt.evaluation.metrics import score
from nmt.model.seq2seq import Seq2Seq
from nmt.model.weights import load_weights
from nmt.prefetch import prefetch
from nmt.search.source_line import SourceLine, number_lines
from nmt.search.translation import Translation
from nmt.search.translator import Translator
from nmt.storage.atomic import file_errors
from nmt.storage.checkpoint import read_weights
from nmt.storage.run_checkpoints import find_checkpoint
from nmt.storage.run_dir import RunDir
from nmt.training.batch_loss import batch_loss
from nmt.training.best_metric import MIN_BLEU, BestMetricTracker
from nmt.training.datasets import Datasets, load_alignment_set, load_validation_text
from nmt.training.ema import ExponentialMovingAverage, applied
from nmt.training.metrics_log import MetricsLogger
from nmt.training.precision import Precision
from nmt.training.trainer import Trainer

log = logging.getLogger("nmt")


@dataclass(frozen=True)
class ValidationResult:
    """Loss, scores and translations of one validation.

    Attributes:
        loss: mean -log p per target token, in nats
        scores: scores of the translations by metric
        translations: translations of the validation text, on the first rank; empty on the others
    """

    loss: float
    scores: dict[str, float]
    translations: list[Translation]

    @property
    def perplexity(self) -> float:
        """Return the perplexity per target token."""
        # exp overflows at 710, which a diverging model can reach.
        return exp(min(self.loss, 700.0))

    @property
    def values(self) -> dict[str, float]:
        """Return the loss and the scores by metric."""
        return {"loss": self.loss, **self.scores}


class Validator:
    """Evaluates the model that is being trained: loss, beam search, samples and attention plots.

    Args:
        experiment: the experiment
        datasets: its data
        run: run directory, for samples and plots
        trainer: trainer of the model
        average: average of the parameters, which is evaluated in place of the model if present
        best: tracker of the validation metric, which is updated
        metrics: destination of the results

    Attributes:
        sources, references: lines of the validation text, also those too long to train on
        tokenizer: sacreBLEU's tokenizer for `bleu`; None for its default
        best_scores, best_texts: scores and translations of the best model, if this process has
            validated it or called `score_best`; empty otherwise, and translations on other ranks
            than the first
    """

    def __init__(
        self,
        experiment: Experiment,
        datasets: Datasets,
        run: RunDir,
        trainer: Trainer,
        average: ExponentialMovingAverage | None,
        best: BestMetricTracker,
        metrics: MetricsLogger,
    ) -> None:
        self._experiment, self._datasets, self._run = experiment, datasets, run
        self._trainer, self._average = trainer, average
        self._best, self._metrics = best, metrics
        # All lines, also those that are too long to train on: scores are of the whole text.
        self.sources, self.references = load_validation_text(experiment.data, datasets)
        self.best_scores: dict[str, float] = {}
        self.best_texts: list[str] = []
        self._alignment_set = load_alignment_set(experiment)
        self._has_warned = False
        evaluation = experiment.evaluation
        chosen = choose_for_references(
            evaluation.metrics, evaluation.tokenize, experiment.data.target, self.references
        )
        self.tokenizer = chosen.name
        if chosen.warning:
            log.warning(chosen.warning)

    def validate(self, *, is_scheduled: bool = True) -> ValidationResult:
        """Validate the model: evaluate it, log the result, update tracker and schedule.

        Args:
            is_scheduled: whether the validation is due; the last one of a run may be additional
        """
        self._trainer.flush()
        step = self._trainer.state.step
        # The averaged parameters are those that a translator will load.
        with applied(self._average):
            result = self.evaluate()
        values = {"loss": result.loss, "perplexity": result.perplexity}
        entropy = attention_entropy(result.translations)
        attention = {} if entropy is None else {"attention_entropy": entropy}
        self._metrics.add("valid", step, values | result.scores | attention)
        if self._trainer.process_group.is_first:
            self._write_samples(result, step)
        # Scores are the same on all ranks, so trackers and schedules of the ranks agree.
        best = self._best
        if is_scheduled:
            is_record = best.is_record(best.metric, result.values[best.metric])
            self._trainer.schedule.on_validation(step, is_record)
        is_best = best.update(step, result.values, is_scheduled=is_scheduled)
        if is_best:
            self.best_scores = result.scores
            self.best_texts = [translation.text for translation in result.translations]
        log.info(
            "validation after update %d: loss %.4f, perplexity %.2f%s%s",
            step,
            result.loss,
            result.perplexity,
            "".join(f", {name} {value:.2f}" for name, value in result.scores.items()),
            " (best so far)" if is_best else "",
        )
        if best.metric == "bleu" and result.scores["bleu"] < MIN_BLEU and not self._has_warned:
            self._has_warned = True
            log.warning(
                "bleu below %g says nothing yet: the loss decides which checkpoint is the best; if "
                "it stays so, use early_stopping: {metric: chrf}",
                MIN_BLEU,
            )
        return result

    def evaluate(self) -> ValidationResult:
        """Return loss, scores and translations with the current parameters."""
        process_group = self._trainer.process_group
        loss = mean_nll(
            self._trainer.model,
            self._datasets.valid,
            self._datasets.special_tokens,
            self._trainer.precision,
            batch_tokens=self._trainer.loader.batch_tokens,
            chunk=self._trainer.output_chunk,
            process_group=process_group,
        )
        translator = self._translator(self._trainer.model)
        # Every rank translates a part; the first one has all translations and computes the scores.
        translations = process_group.map(
            lambda lines: translator.translate_lines(lines, translator.options),
            list(number_lines(self.sources)),
        )
        alignments = self._align(translator)
        scores = process_group.on_first(lambda: self._score(translations, alignments))
        return ValidationResult(loss, scores, translations)

    def score_best(self) -> None:
        """Translate and score the validation text by the best checkpoint, on this rank alone.

        A process that has only continued a run may not have seen its best model.

        Raises:
            UserError: if the checkpoint cannot be read
        """
        checkpoint, _ = find_checkpoint(self._run, str(self._best.best_step))
        model = deepcopy(self._trainer.model)
        load_weights(model, read_weights(checkpoint), str(checkpoint))
        translator = self._translator(model)
        lines = list(number_lines(self.sources))
        translations = translator.translate_lines(lines, translator.options)
        self.best_scores = self._score(translations, [])
        self.best_texts = [translation.text for translation in translations]

    def _align(self, translator: Translator) -> list[list[Link]]:
        """Return the alignments of the pairs with gold alignments; on the first rank all of them.

        They are those of attention while the model reads the given targets.
        """
        pairs = self._alignment_set
        if pairs is None:
            return []
        numbered = enumerate(zip(pairs.sources, pairs.targets, strict=True))
        return self._trainer.process_group.map(
            lambda lines: [
                one.alignment for one in translator.translate_lines(lines, translator.options)
            ],
            [SourceLine(number, source, target) for number, (source, target) in numbered],
        )

    def _score(
        self, translations: list[Translation], alignments: list[list[Link]]
    ) -> dict[str, float]:
        """Return the scores of translations by metric.

        With alignments of the pairs with gold alignments, also the error rate in percent.
        """
        evaluation = self._experiment.evaluation
        results = score(
            list(evaluation.metrics),
            [translation.text for translation in translations],
            [self.references],
            tokenize=self.tokenizer,
            lowercase=evaluation.lowercase,
        )
        scores = {name: result.score for name, result in results.items()}
        if self._alignment_set is not None and alignments:
            scores["aer"] = 100 * self._alignment_set.score(alignments).error_rate
        return scores

    def _translator(self, model: Seq2Seq) -> Translator:
        """Compile the current parameters; a compiled model does not follow later updates."""
        data = self._experiment.data
        translator = Translator(
            [model],
            self._datasets.source,
            self._datasets.target_vocabulary,
            # Without the shortlist, which is learned when training has ended.
            self._experiment.search.updated({"shortlist": False}),
            device=self._trainer.precision.device,
            preparation=self._datasets.preparation.of_files,
            right_to_left=data.is_right_to_left,
        )
        translator.languages = (data.source, data.target)
        return translator

    def _write_samples(self, result: ValidationResult, step: int) -> None:
        evaluation, run = self._experiment.evaluation, self._run
        if not (evaluation.samples or evaluation.pictures):
            return
        # Importing matplotlib takes a tenth of the start time, and only the first rank needs it.
        from nmt.evaluation.samples import write_attention, write_samples

        count = min(evaluation.samples, len(self.references))
        if count:
            samples = result.translations[:count]
            with file_errors(run.samples_file(step)):
                write_samples(run.samples_file(step), samples, self.references[:count])
        if evaluation.pictures:
            plotted = result.translations[: evaluation.pictures]
            with file_errors(run.attention):
                write_attention(
                    run.attention, str(step), plotted, self.references[: evaluation.pictures]
                )


@torch.no_grad()
def mean_nll(
    model: Seq2Seq,
    corpus: TokenCorpus,
    special_tokens: SpecialTokenPair,
    precision: Precision,
    *,
    batch_tokens: int,
    chunk: int,
    process_group: ProcessGroup = SINGLE_PROCESS_GROUP,
) -> float:
    """Return the mean -log p per target token of a corpus, in nats; each rank reads a part of it.

    Args:
        model: the model, which is left in evaluation mode
        corpus: the corpus
        special_tokens: special tokens of source and target
        precision: number formats of the forward pass
        batch_tokens: tokens per batch
        chunk: number of target tokens whose logits are in memory at once
        process_group: processes that share the work
    """
    model.eval()
    nlls: list[Tensor] = []
    total, tokens = 0.0, 0
    # Sentences of similar length share a batch, which has little padding then.
    plan = plan_by_length(corpus.source_lengths, corpus.target_lengths, batch_tokens=batch_tokens)
    own = plan[process_group.rank :: process_group.world_size]
    batches = (make_batch(corpus, rows, special_tokens) for rows in own)
    if precision.device.type == "cuda":
        batches = (batch.pin_memory() for batch in batches)
    # No value is read before all batches are queued, so that a GPU computes without a pause.
    with closing(prefetch(batches)) as prefetched:
        for batch in prefetched:
            with precision.autocast():
                _, nll = batch_loss(model, batch.to(precision.device), smoothing=0.0, chunk=chunk)
            nlls.append(nll)
            tokens += batch.target_tokens
    for nll in nlls:
        total += float(nll)
    # Every rank gets the same sums, so that early stopping decides the same on all of them.
    sums = process_group.sum(torch.tensor([total, tokens], dtype=torch.float64))
    total, tokens = sums.tolist()
    return total / tokens
