"""Model cards (Mitchell et al. 2019), with the metadata of the Hugging Face hub."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from nmt.config.schema import Experiment
from nmt.data.bleu_tokenizer import choose_for_references
from nmt.data.languages import language_code
from nmt.errors import UserError
from nmt.evaluation.metrics import METRICS, score
from nmt.files import MIB, is_file, read_text
from nmt.inference.saved_model import SavedModel
from nmt.storage.atomic import file_errors
from nmt.storage.reports import read_reports
from nmt.storage.run_dir import RunDir
from nmt.version import DISTRIBUTION, VERSION

TEXTS = re.compile(r"(?:training|validation) text\b.*: \d+ pairs read, .*")
MAX_LOG_BYTES = 256 * MIB


class Score(NamedTuple):
    """A score of a test set.

    Attributes:
        data: name of the test set
        metric: bleu, chrf, ter or exact
        score: the score, in percent
        signature: sacreBLEU's signature
    """

    data: str
    metric: str
    score: float
    signature: str


@dataclass(frozen=True)
class CardFacts:
    """Facts of a model card that the model itself does not contain.

    Attributes:
        name: name of the model
        precision: precision of the weights
        license: SPDX identifier or name of a license; empty if the author states none
        scores: scores of test sets
        texts: descriptions of the training and validation text, from the log of the training
    """

    name: str
    precision: str
    license: str = ""
    scores: list[Score] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


def validation_scores(run: Path, saved: SavedModel) -> list[Score]:
    """Return the scores that a training reported for a checkpoint; none without its reports."""
    file = RunDir(run).metrics
    if saved.step is None or not is_file(file):
        return []
    with file_errors(file, "cannot be read"):
        reports, _ = read_reports(file.read_bytes())
    found = [r for r, _ in reports if (r.get("kind"), r.get("step")) == ("valid", saved.step)]
    if not found:
        return []
    report, evaluation = found[-1], saved.experiment.evaluation
    names = [name for name in METRICS if isinstance(report.get(name), int | float)]
    language = saved.experiment.data.target
    tokenize = choose_for_references(names, evaluation.tokenize, language, []).name
    # Signatures name the number of references, which sacreBLEU knows after a first comparison.
    results = score(names, [""], [[""]], tokenize=tokenize, lowercase=evaluation.lowercase)
    return [Score("validation", name, report[name], results[name].signature) for name in names]


def read_scores(file: Path) -> list[Score]:
    """Read the scores that `nmt-eval --json` has written.

    Raises:
        UserError: the file cannot be read, or has another content
    """
    text = read_text(file, max_bytes=MIB)
    try:
        results = json.loads(text)
        return [
            Score(file.stem, name, float(result["score"]), str(result["signature"]))
            for name, result in results.items()
        ]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        message = "contains no scores; give the output of nmt-eval --json"
        raise UserError(message, str(file)) from None


def read_text_report(run: Path) -> list[str]:
    """Return the last lines of the log of a training about its text."""
    log = RunDir(run).log
    if not is_file(log):
        return []
    found = TEXTS.findall(read_text(log, max_bytes=MAX_LOG_BYTES))
    return list({line.partition(":")[0]: line for line in found}.values())


def write_card(saved: SavedModel, facts: CardFacts) -> str:
    """Return the model card as Markdown, with metadata as the hub expects it."""
    metadata = yaml.safe_dump(_metadata(saved, facts), sort_keys=False, allow_unicode=True)
    return f"---\n{metadata}---\n\n{_body(saved, facts)}"


def _metadata(saved: SavedModel, facts: CardFacts) -> dict[str, Any]:
    """Return the metadata, of which `model-index` holds the scores."""
    data, model = saved.experiment.data, saved.experiment.model
    languages = [*filter(None, map(language_code, (data.source, data.target)))]
    kinds = [model.encoder.type, model.decoder.type, model.score and model.score.type]
    tags = ["translation", "attention", *dict.fromkeys(filter(None, kinds))]
    metadata: dict[str, Any] = {"language": languages} if languages else {}
    metadata |= {"license": facts.license} if facts.license else {}
    metadata |= {"library_name": "nmt", "tags": tags}
    if data.pictures is None:
        metadata["pipeline_tag"] = "translation"
    if facts.scores:
        metadata["model-index"] = [{"name": facts.name, "results": _results(facts)}]
    return metadata


def _results(facts: CardFacts) -> list[dict[str, Any]]:
    by_data: dict[str, list[Score]] = {}
    for one in facts.scores:
        by_data.setdefault(one.data, []).append(one)
    return [
        {
            "task": {"type": "translation", "name": "Translation"},
            "dataset": {"type": data, "name": data},
            "metrics": [
                {
                    "type": one.metric,
                    "value": round(one.score, 2),
                    "name": f"{one.metric} ({one.signature})",
                }
                for one in scores
            ],
        }
        for data, scores in by_data.items()
    ]


def _body(saved: SavedModel, facts: CardFacts) -> str:
    experiment = saved.experiment
    data = experiment.data
    source = "images" if data.pictures is not None else f"`{data.source}`"
    sections = {
        "Use": _use(facts),
        "Training data": _data(experiment, facts),
        "Model": _model(saved, facts),
        "Scores": _scores(facts),
        "Intended use and limits": (
            f"Translation of single sentences from {source} into `{data.target}`, of the kind of "
            "the training data. Other text may be translated fluently and wrongly: names, numbers "
            "and negation need a reader who checks them. Attention shows the source words that a "
            "prediction depends on most, and is no proof of a right translation. Biases of the "
            "training data are likely in the translations."
        ),
        "License": facts.license or "The author has stated no license. Ask before you use it.",
    }
    text = "\n\n".join(f"## {title}\n\n{content}" for title, content in sections.items())
    return (
        f"# {facts.name}\n\nA model of nmt {VERSION}, from {source} to `{data.target}`.\n\n{text}\n"
    )


def _use(facts: CardFacts) -> str:
    return (
        f"```\npip install {DISTRIBUTION}\nnmt-translate -m {facts.name}.nmt input.txt\n```\n\n"
        "A folder with these files takes the place of the bundle, and so does "
        f"`hf://USER/REPOSITORY` with the extra `{DISTRIBUTION}[hub]`."
    )


def _data(experiment: Experiment, facts: CardFacts) -> str:
    names = [corpus.path.name for corpus in experiment.data.train]
    lines = [f"- training text: {', '.join(names)}", *(f"- {text}" for text in facts.texts)]
    return "\n".join(lines)


def _model(saved: SavedModel, facts: CardFacts) -> str:
    model = saved.experiment.model
    parts: Mapping[str, Any] = {
        "encoder": model.encoder.type,
        "decoder": model.decoder.type,
        "attention": model.attention and model.attention.type,
        "score function": model.score and model.score.type,
        "parameters": f"{sum(p.numel() for p in saved.model.parameters()):,}",
        "target vocabulary": f"{len(saved.target_vocabulary):,} tokens",
        "updates": saved.step and f"{saved.step:,}",
        "precision of the weights": facts.precision,
    }
    return "\n".join(f"- {name}: {value}" for name, value in parts.items() if value)


def _scores(facts: CardFacts) -> str:
    if not facts.scores:
        return "None are stated."
    rows = []
    for data, metric, value, signature in facts.scores:
        shown = signature.replace("|", r"\|")  # which ends a cell of a table, even in code
        rows.append(f"| {data} | {metric} | {value:.2f} | `{shown}` |")
    return "\n".join(["| data | metric | score | signature |", "| --- | --- | --- | --- |", *rows])
