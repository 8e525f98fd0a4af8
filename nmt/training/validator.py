"""The hook that validates."""

import logging

from nmt.config.schema import Experiment
from nmt.search.options import SearchOptions
from nmt.search.translator import Translator
from nmt.training.preparation import Prepared, kept_texts
from nmt.training.report import Metrics
from nmt.training.saver import Saver
from nmt.training.trainer import Trainer
from nmt.training.validation import Validation, mean_loss, translate_and_score

log = logging.getLogger("nmt")


class Validator:
    """Validates by loss and by beam search, writes samples and pictures, tells the watch.

    Args:
        experiment: what is run
        prepared: its text
        saver: run, watch, and the parameters that translators load
        trainer: whose model
        metrics: where reports go
    """

    def __init__(
        self,
        experiment: Experiment,
        prepared: Prepared,
        saver: Saver,
        trainer: Trainer,
        metrics: Metrics,
    ) -> None:
        self.experiment, self.prepared = experiment, prepared
        self.saver, self.trainer, self.metrics = saver, trainer, metrics
        self.sources, self.references = kept_texts(experiment.data, prepared.valid_corpus)
        self.translator = Translator(
            [trainer.model],
            prepared.source,
            prepared.target_vocabulary,
            SearchOptions.of(experiment.search),
            device=trainer.precision.device,
        )
        self.step = trainer.step

    def __call__(self) -> bool:
        """Validate now; whether this is the best so far."""
        self.trainer.settle()
        self.step = step = self.trainer.step
        with self.saver.translating():
            validation = self.validate()
        values = {"loss": validation.loss, "perplexity": validation.perplexity}
        self.metrics.add("valid", step, values | validation.scores)
        if self.trainer.ranks.first:
            self._show(validation)
        improved = self.saver.watch.see(step, validation.value(self.saver.watch.metric))
        self.trainer.schedule.validated(step, improved)
        scores = "".join(f", {name} {value:.2f}" for name, value in validation.scores.items())
        log.info(
            "validation after update %d: loss %.4f, perplexity %.2f%s%s",
            step,
            validation.loss,
            validation.perplexity,
            scores,
            " (best so far)" if improved else "",
        )
        return improved

    def _show(self, validation: Validation) -> None:
        """Write samples and draw pictures."""
        folder, shown = self.saver.run.folder, self.experiment.evaluation
        if not (shown.samples or shown.pictures):
            return
        # Matplotlib takes a tenth of the time of a start, and one rank of many draws.
        from nmt.evaluation.inspection import draw_translations, write_samples

        count = min(shown.samples, len(self.references))
        if count:
            samples = validation.translations[:count]
            write_samples(folder / "samples", self.step, samples, self.references[:count])
        if shown.pictures:
            drawn = validation.translations[: shown.pictures]
            draw_translations(folder / "attention", str(self.step), drawn)

    def validate(self) -> Validation:
        """Loss, scores and translations of the validation text with the model as it is."""
        training, evaluation = self.experiment.training, self.experiment.evaluation
        model = self.trainer.model.eval()
        loss = mean_loss(
            model,
            self.prepared.valid,
            self.prepared.specials,
            self.trainer.precision,
            batch_tokens=self.trainer.stream.batch_tokens,
            chunk=training.output_chunk,
            ranks=self.trainer.ranks,
        )
        scores, translations = translate_and_score(
            self.translator,
            self.sources,
            self.references,
            list(evaluation.metrics),
            tokenize=evaluation.tokenize,
            lowercase=evaluation.lowercase,
            ranks=self.trainer.ranks,
        )
        return Validation(loss, scores, translations)
