"""Tables of a comparison in Markdown, LaTeX and CSV."""

import csv
import io
from collections.abc import Iterable, Sequence

from nmt.comparison.results import SIGNIFICANT, Results, SystemResult
from nmt.evaluation.metrics import higher_is_better

NAMES = {"bleu": "BLEU", "chrf": "chrF", "ter": "TER", "exact": "exact"}
COSTS = ("parameters", "minutes", "training tokens/s", "sentences/s")

# Special characters of LaTeX's text mode.
LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"${character}$" for character in "<>|"},
    }
)


def to_markdown(results: Results) -> str:
    """Format the results as a Markdown table with its caption."""
    rows = []
    for result in results.systems:
        name = result.name.replace("|", r"\|")
        cells = [_score(results, result, metric, "**{}**", "±") for metric in results.metrics]
        rows.append([name, *cells, *_costs(results, result)])
    return f"{markdown(_header(results), rows)}\n\n{caption(results)}\n"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table with aligned columns; all but the first are aligned right."""
    table = [list(header), *map(list, rows)]
    widths = [max(3, *(len(row[column]) for row in table)) for column in range(len(header))]
    lines = [
        "| " + " | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) + " |"
        for row in table
    ]
    rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([lines[0], f"| {' | '.join(rules)} |", *lines[1:]])


def to_latex(results: Results) -> str:
    """Format the results as a LaTeX table for the package booktabs."""
    header, rows = _header(results), []
    for result in results.systems:
        cells = [_score(results, result, m, r"\textbf{{{}}}", r"$\pm$") for m in results.metrics]
        rows.append([result.name.translate(LATEX), *cells, *_costs(results, result)])
    described = caption(results).translate(LATEX).replace("±", r"$\pm$")
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        f"{' & '.join(header)} \\\\",
        r"\midrule",
        *(f"{' & '.join(row)} \\\\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        rf"\caption{{{described}}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def to_csv(results: Results) -> str:
    """Format the results as CSV, one row per system, with unrounded values."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    parts = ("mean", "deviation", "low", "high", "p_value")
    columns = [f"{metric}_{part}" for metric in results.metrics for part in parts]
    writer.writerow(["system", "seeds", *columns, *results.systems[0].costs])
    for result in results.systems:
        values: list[float | None] = []
        for metric in results.metrics:
            scores = result.scores[metric]
            p_value = result.p_values.get(metric)
            values += [scores.mean, scores.deviation, *scores.interval, p_value]
        cells = ["" if value is None else value for value in (*values, *result.costs.values())]
        writer.writerow([result.name, len(result.measurements), *cells])
    return stream.getvalue()


def caption(results: Results, differs: str = "* differs from") -> str:
    """Describe the test text, the seeds, the test of significance and the signatures."""
    seeds = {len(result.measurements) for result in results.systems}
    text = f"{len(results.test.sources):,} sentences of {results.test.description}."
    if max(seeds) > 1:
        counts = f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else str(max(seeds))
        text += f" Mean ± sample standard deviation over {counts} seeds."
    if results.baseline is not None:
        text += (
            f" {differs} {results.baseline} (p < {SIGNIFICANT}, paired bootstrap over sentences, "
            "Holm's correction)."
        )
    falling = [NAMES[name] for name in results.metrics if not higher_is_better(name)]
    text += f" Lower {', '.join(falling)} is better." if falling else ""
    return f"{text} {'; '.join(results.signatures.values())}."


def _score(results: Results, result: SystemResult, metric: str, bold: str, plus: str) -> str:
    """Format a mean: bold if no system is better, and with a star if it differs significantly.

    Means that are equal in print are equally bold.
    """
    scores = result.scores[metric]
    text = f"{scores.mean:.2f}"
    if text == f"{results.best(metric):.2f}" and len(results.systems) > 1:
        text = bold.format(text)
    if scores.deviation is not None:
        text += f" {plus} {scores.deviation:.2f}"
    p_value = result.p_values.get(metric)
    return f"{text}*" if p_value is not None and p_value < SIGNIFICANT else text


def _header(results: Results) -> list[str]:
    alignments = ["AER"] * results.has_alignments
    return ["system", *(NAMES[name] for name in results.metrics), *alignments, *COSTS]


def _costs(results: Results, result: SystemResult) -> list[str]:
    costs = result.costs
    speed, error = costs["training_tokens_per_second"], costs["alignment_error_rate"]
    alignments = ["-" if error is None else f"{error:.2f}"] * results.has_alignments
    return [
        *alignments,
        f"{costs['parameters']:,}",
        f"{costs['minutes']:.1f}",
        "-" if speed is None else f"{speed:,.0f}",
        f"{costs['sentences_per_second']:,.0f}",
    ]
