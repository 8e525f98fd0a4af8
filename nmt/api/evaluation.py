"""Evaluation of translations, or of a model, in a Python program."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path, PurePath
from typing import Any, TypeAlias

from nmt.api.run import Run
from nmt.data.bleu_tokenizer import choose_for_references
from nmt.data.text import list_texts, read_lines
from nmt.errors import UserError
from nmt.evaluation.metrics import MetricResult, check_lines, make_metrics, score
from nmt.evaluation.significance import Comparison, paired_bootstrap
from nmt.search.translator import Translator

Text: TypeAlias = Iterable[str] | PurePath
"""Lines of text, or the path of a file that contains them."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of translations.

    Attributes:
        results: scores in percent with sacreBLEU's signatures by metric; with a baseline also
            confidence intervals and p-values
        translations: the translations that were scored
    """

    results: Mapping[str, MetricResult | Comparison]
    translations: Sequence[str]

    def __getitem__(self, metric: str) -> MetricResult | Comparison:
        return self.results[metric]

    def __repr__(self) -> str:
        scores = (f"{name} {result.score:.2f}" for name, result in self.results.items())
        return f"Evaluation({', '.join(scores)}, {len(self.translations)} sentences)"


def evaluate(
    texts: Text,
    references: Text | Sequence[Text],
    *,
    model: Run | Translator | str | PathLike[str] | None = None,
    metrics: str | Sequence[str] = ("bleu", "chrf"),
    tokenize: str | None = None,
    language: str | None = None,
    lowercase: bool = False,
    baseline: Text | None = None,
    **options: Any,
) -> Evaluation:
    """Score translations against references as nmt-eval does, or translate and score.

    Args:
        texts: translations, or with `model` the sources; lines, or the path of a file
        references: one reference per line, or a list of several such texts
        model: the model that translates first: a run, a translator, or a run directory
        metrics: one or more of bleu, chrf and ter of sacreBLEU, and exact: the percentage of
            correct lines
        tokenize: sacreBLEU's tokenizer for bleu (default: that of the language)
        language: language of the references (default: with `model` that of its run)
        lowercase: ignore case
        baseline: translations of another system, compared by paired bootstrap (Koehn 2004)
        options: search options of the model, such as `beam_size=1`

    Raises:
        UserError: for unknown metrics or options, or texts of different lengths
    """
    if options and model is None:
        raise UserError(f"{', '.join(options)}: has no effect without model; remove it")
    if language is not None and (tokenize is not None or "bleu" not in metrics):
        other = "without bleu" if tokenize is None else "with tokenize"
        raise UserError(f"language: has no effect {other}; remove it")
    read = _lines(texts)
    metrics = [metrics] if isinstance(metrics, str) else metrics
    all_references = [_lines(one) for one in _split_references(references)]
    # Mistakes are better reported before the time of a translation.
    check_lines(read, all_references)
    make_metrics(metrics, tokenize=tokenize, lowercase=lowercase)
    if model is not None:
        translator = _translator(model)
        directory = texts.parent if isinstance(texts, PurePath) else PurePath()
        resolved = [translator.reader.resolve(text, Path(directory)) for text in read]
        read = [one.text for one in translator.translate(resolved, **options)]
        language = language or (translator.languages or (None,))[-1]
    tokenizer = choose_for_references(metrics, tokenize, language, all_references[0])
    if tokenizer.warning:
        warnings.warn(tokenizer.warning, stacklevel=2)
    settings: dict[str, Any] = {"tokenize": tokenizer.name, "lowercase": lowercase}
    if baseline is None:
        return Evaluation(score(metrics, read, all_references, **settings), read)
    compared = paired_bootstrap(metrics, read, _lines(baseline), all_references, **settings)
    return Evaluation(compared, read)


def _translator(model: Run | Translator | str | PathLike[str]) -> Translator:
    if isinstance(model, Translator):
        return model
    return model.translator() if isinstance(model, Run) else Translator.load(model)


def _lines(text: Text) -> list[str]:
    return list(read_lines(Path(text))) if isinstance(text, PurePath) else list_texts(text)


def _split_references(references: Text | Sequence[Text]) -> list[Text]:
    """Return the texts of all references, of which a list of lines is one."""
    if isinstance(references, str | PurePath):
        return [references]
    items: list[Any] = list(references)
    return [items] if all(isinstance(item, str) for item in items) else items
