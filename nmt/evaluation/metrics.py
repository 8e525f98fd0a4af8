"""Corpus-level metrics of translations, computed by sacreBLEU (Post 2018) with its signatures."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.base import Metric, Score, Signature
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from nmt.errors import UserError


class MetricResult(NamedTuple):
    """Value of a metric in percent, and sacreBLEU's signature of its settings."""

    score: float
    signature: str


class ExactSignature(Signature):
    """Signature of `ExactMatch`: its case, and that lines are stripped."""

    def __init__(self, args: dict[str, object]) -> None:
        super().__init__(args)
        self.info.update({"case": "lc" if args["lowercase"] else "mixed", "strip": "yes"})


class ExactMatch(Metric):
    """Percentage of lines that equal one of their references after stripping white space.

    A subclass of sacreBLEU's metric, so that sacreBLEU's significance tests apply to it.
    """

    # sacreBLEU calls the following methods by these names.
    _SIGNATURE_TYPE = ExactSignature

    def __init__(self, lowercase: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lowercase = lowercase

    def _preprocess_segment(self, sent: str) -> str:
        return (sent.lower() if self.lowercase else sent).strip()

    def _extract_reference_info(self, refs: Sequence[str]) -> dict[str, set[str]]:
        return {"lines": set(refs)}

    def _compute_segment_statistics(
        self, hypothesis: str, ref_kwargs: dict[str, set[str]]
    ) -> list[int]:
        # Matches and lines, which are added up over the corpus or a bootstrap sample of it.
        return [int(hypothesis in ref_kwargs["lines"]), 1]

    def _compute_score_from_stats(
        self, stats: Sequence[int | float] | NDArray[np.generic]
    ) -> Score:
        return Score("exact", 100 * float(stats[0]) / float(stats[1]))

    def _aggregate_and_compute(self, stats: list[list[int]]) -> Score:
        return self._compute_score_from_stats([sum(column) for column in zip(*stats, strict=True)])


METRICS = ("bleu", "chrf", "ter", "exact")
LOWER_IS_BETTER = ("loss", "perplexity", "ter", "aer")
MEASURED = tuple(dict.fromkeys((*METRICS, *LOWER_IS_BETTER)))
"""Values of a validation that show which of two models is better."""


def higher_is_better(name: str) -> bool:
    """Return whether a higher value is better; False for losses and error rates.

    Raises:
        UserError: if it is not one of `MEASURED`
    """
    check_names([name], MEASURED)
    return name not in LOWER_IS_BETTER


def score(
    names: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    tokenize: str | None = None,
    lowercase: bool = False,
) -> dict[str, MetricResult]:
    """Compute metrics of hypotheses against references, in percent.

    Args:
        names: metrics, some of `METRICS`
        hypotheses: one line per sentence
        references: one list of lines per reference file
        tokenize: sacreBLEU's tokenizer for `bleu`; None for its default, 13a
        lowercase: ignore case in `bleu`, `chrf` and `exact`; `ter` always ignores it, as in
            sacreBLEU's own command

    Raises:
        UserError: if a metric is unknown, files differ in length or are empty, or the tokenizer is
            unknown, cannot be loaded or has no effect without `bleu`
    """
    metrics = make_metrics(names, tokenize=tokenize, lowercase=lowercase)
    check_lines(hypotheses, references)
    results = {}
    for name, metric in metrics.items():
        value = metric.corpus_score(hypotheses, references).score
        results[name] = MetricResult(float(value), str(metric.get_signature()))
    return results


def make_metrics(
    names: Sequence[str], *, tokenize: str | None = None, lowercase: bool = False
) -> dict[str, Metric]:
    """Make sacreBLEU's metric objects by name, in the given order.

    Raises:
        UserError: for the same names and tokenizers as in `score`
    """
    check_names(names)
    if tokenize is not None and "bleu" not in names:
        raise UserError(f"tokenize {tokenize!r} has no effect without bleu; add bleu or remove it")
    if lowercase and set(names) == {"ter"}:
        raise UserError("lowercase has no effect on ter, which ignores case; remove it")
    metrics: dict[str, Metric] = {}
    for name in names:
        if name == "bleu":
            metrics[name] = _make_bleu(tokenize, lowercase)
        elif name == "chrf":
            metrics[name] = CHRF(lowercase=lowercase)
        elif name == "ter":
            # TER ignores case by default, as sacreBLEU's own command does.
            metrics[name] = TER()
        else:
            metrics[name] = ExactMatch(lowercase=lowercase)
    return metrics


def _make_bleu(tokenize: str | None, lowercase: bool) -> BLEU:
    if tokenize is not None and tokenize not in BLEU.TOKENIZERS:
        known = ", ".join(sorted(BLEU.TOKENIZERS))
        raise UserError(f"unknown tokenizer {tokenize!r}; must be one of {known}")
    try:
        return BLEU(tokenize=tokenize, lowercase=lowercase)
    except (RuntimeError, ImportError, OSError) as error:
        # Some tokenizers require another package, others download a file.
        reason = " ".join(str(error).split())
        raise UserError(f"sacreBLEU cannot load its tokenizer {tokenize!r}: {reason}") from error


def check_names(names: Sequence[str], all_names: Sequence[str] = METRICS) -> None:
    """Check that a list of names is not empty, and that all are names of metrics.

    Raises:
        UserError: if not
    """
    known = ", ".join(all_names)
    if not names:
        raise UserError(f"no metric is given; give one or more of {known}")
    for name in names:
        if name not in all_names:
            raise UserError(f"unknown metric {name!r}; must be one of {known}")


def check_lines(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Check that every reference has one line per hypothesis.

    Raises:
        UserError: if not, or without any reference or hypothesis
    """
    if not references:
        raise UserError("no reference is given; give one or more")
    for number, reference in enumerate(references, start=1):
        if len(reference) != len(hypotheses):
            raise UserError(
                f"{len(hypotheses)} hypotheses but {len(reference)} lines in reference {number}; "
                "give one line for each hypothesis"
            )
    if not hypotheses:
        raise UserError("the hypotheses are empty; give at least one line")
