"""Scores of translations against references, through sacreBLEU (Post 2018) with its signatures."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray
from sacrebleu.metrics.base import Metric, Signature
from sacrebleu.metrics.base import Score as SacrebleuScore
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from nmt.errors import UserError


class Score(NamedTuple):
    """A score in percent and the signature that says how it was computed."""

    score: float
    signature: str


class ExactSignature(Signature):
    """Says what `Exact` compared: its case, and that lines are stripped."""

    def __init__(self, args: dict[str, Any]) -> None:
        super().__init__(args)
        self.info.update({"case": "lc" if args["lowercase"] else "mixed", "strip": "yes"})


class Exact(Metric):
    """Share of lines that equal one of their references, spaces at both ends aside, in percent.

    It is a metric of sacreBLEU's making, so that its tests of significance apply to it.
    """

    _SIGNATURE_TYPE = ExactSignature

    def __init__(self, lowercase: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lowercase = lowercase

    def _preprocess_segment(self, sent: str) -> str:
        return (sent.lower() if self.lowercase else sent).strip()

    def _extract_reference_info(self, refs: Sequence[str]) -> dict[str, Any]:
        return {"lines": set(refs)}

    def _compute_segment_statistics(self, hypothesis: str, ref_kwargs: dict[str, Any]) -> list[int]:
        return [int(hypothesis in ref_kwargs["lines"]), 1]

    def _compute_score_from_stats(
        self, stats: Sequence[int | float] | NDArray[Any]
    ) -> SacrebleuScore:
        return SacrebleuScore("exact", 100 * float(stats[0]) / float(stats[1]))

    def _aggregate_and_compute(self, stats: list[list[int]]) -> SacrebleuScore:
        return self._compute_score_from_stats([sum(column) for column in zip(*stats, strict=True)])


METRICS: dict[str, type[Metric]] = {"bleu": BLEU, "chrf": CHRF, "ter": TER, "exact": Exact}


def higher_is_better(name: str) -> bool:
    """Whether a greater score of this metric is a better one: for all but `ter`, a count of edits.

    Raises:
        UserError: there is no such metric
    """
    check_names([name])
    return name != "ter"


def score(
    metric_names: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    tokenize: str | None = None,
    lowercase: bool = False,
) -> dict[str, Score]:
    """Scores of the hypotheses by each named metric, in percent.

    Args:
        references: one list of lines a reference file
        tokenize: sacreBLEU's tokenizer for `bleu`; None is its default, 13a
        lowercase: ignore case in `bleu`, `chrf` and `exact`; `ter` always does, as sacreBLEU's
            own command has it

    Raises:
        UserError: a name is unknown, files differ in length or are empty, or the tokenizer is
            unknown, cannot be loaded or has no `bleu` to serve
    """
    metrics = make_metrics(metric_names, tokenize=tokenize, lowercase=lowercase)
    check_lines(hypotheses, references)
    scores = {}
    for name, metric in metrics.items():
        value = metric.corpus_score(hypotheses, references).score
        scores[name] = Score(float(value), str(metric.get_signature()))
    return scores


def make_metrics(
    names: Sequence[str], *, tokenize: str | None = None, lowercase: bool = False
) -> dict[str, Metric]:
    """sacreBLEU's metrics by our names, in the order given; raises as `score` does."""
    check_names(names)
    if tokenize is not None and "bleu" not in names:
        raise UserError(f"tokenize {tokenize!r} is an option of bleu; add bleu or leave it out")
    metrics: dict[str, Metric] = {}
    for name in names:
        if name == "bleu":
            metrics[name] = _make_bleu(tokenize, lowercase)
        elif name == "ter":
            metrics[name] = TER()
        else:
            metrics[name] = METRICS[name](lowercase=lowercase)  # type: ignore[call-arg]
    return metrics


def _make_bleu(tokenize: str | None, lowercase: bool) -> BLEU:
    if tokenize is not None and tokenize not in BLEU.TOKENIZERS:
        known = ", ".join(sorted(BLEU.TOKENIZERS))
        raise UserError(f"unknown tokenizer {tokenize!r}; sacreBLEU has {known}")
    try:
        return BLEU(tokenize=tokenize, lowercase=lowercase)
    except (RuntimeError, ImportError, OSError) as error:
        # Some tokenizers need a package that is not here, others fetch a file.
        told = " ".join(str(error).split())
        raise UserError(f"sacreBLEU cannot load its tokenizer {tokenize!r}: {told}") from error


def check_names(names: Sequence[str]) -> None:
    """Raises UserError unless there are names and each is one of `METRICS`."""
    known = ", ".join(METRICS)
    if not names:
        raise UserError(f"no metric is named; known are {known}")
    for name in names:
        if name not in METRICS:
            raise UserError(f"unknown metric {name!r}; known are {known}")


def check_lines(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Raises UserError unless there are lines and all references have as many as the hypotheses."""
    if not references:
        raise UserError("there is no reference to score against; give one or more")
    for number, reference in enumerate(references, start=1):
        if len(reference) != len(hypotheses):
            raise UserError(
                f"{len(hypotheses)} hypotheses but {len(reference)} lines in reference {number}; "
                "there must be one line for each"
            )
    if not hypotheses:
        raise UserError("there are no hypotheses to score; give at least one line")
