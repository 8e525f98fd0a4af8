"""How good a model is on text it was not trained on: by loss, and by what it translates."""

from dataclasses import dataclass, field
from math import exp

import torch

from nmt.data.batching import batches_in_order
from nmt.data.encoded import EncodedCorpus
from nmt.data.stream import Marks, make_batch
from nmt.evaluation.metrics import score
from nmt.model.seq2seq import Seq2Seq
from nmt.search.translation import Translation
from nmt.search.translator import Translator
from nmt.training.loss import batch_loss
from nmt.training.precision import Precision
from nmt.training.ranks import ALONE, Ranks


@dataclass
class Validation:
    """What one validation found.

    Attributes:
        loss: mean -log p of a target token, in nats
        scores: of beam search, by metric
        translations: of the whole validation text; none on other ranks than the first
    """

    loss: float
    scores: dict[str, float] = field(default_factory=dict)
    translations: list[Translation] = field(default_factory=list)

    @property
    def perplexity(self) -> float:
        """e to the loss."""
        return exp(min(self.loss, 700.0))

    def value(self, metric: str) -> float:
        """The loss, or the score of a metric."""
        return self.loss if metric == "loss" else self.scores[metric]


@torch.no_grad()
def mean_loss(
    model: Seq2Seq,
    corpus: EncodedCorpus,
    specials: Marks,
    precision: Precision,
    *,
    batch_tokens: int,
    chunk: int,
    ranks: Ranks = ALONE,
) -> float:
    """Mean -log p(token) over a corpus, without smoothing, in nats; ranks read a share each."""
    model.eval()
    total, tokens = 0.0, 0
    plan = batches_in_order(corpus.source_lengths, corpus.target_lengths, batch_tokens=batch_tokens)
    for rows in plan[ranks.share.number :: ranks.count]:
        batch = make_batch(corpus, rows, specials).to(precision.device)
        with precision.autocast():
            _, likelihood = batch_loss(model, batch, smoothing=0.0, chunk=chunk)
        total += float(likelihood)
        tokens += batch.target_tokens
    total, tokens = ranks.sum(torch.tensor([total, tokens], dtype=torch.float64)).tolist()
    return total / tokens


def translate_and_score(
    translator: Translator,
    sources: list[str],
    references: list[str],
    metrics: list[str],
    *,
    tokenize: str | None,
    lowercase: bool,
    ranks: Ranks = ALONE,
) -> tuple[dict[str, float], list[Translation]]:
    """Scores of the translations of a text, by the same path as `nmt-translate`, and they.

    Every rank translates a share; all know the scores, and the first has the translations.
    """
    translations = ranks.spread(sources, lambda some, _: translator.translate(some))

    def scores() -> dict[str, float]:
        texts = [translation.text for translation in translations]
        found = score(metrics, texts, [references], tokenize=tokenize, lowercase=lowercase)
        return {name: result.score for name, result in found.items()}

    return ranks.first_says(scores), translations
