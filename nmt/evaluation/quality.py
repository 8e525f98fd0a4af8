"""Quality estimation without references, from probabilities and attention of the model.

For the log-probabilities l_t of the T tokens of a translation, `</s>` included (Fomicheva et al.
2020, section 4.1):

    probability  TP = 1/T Σ_t l_t
    entropy      Softmax-Ent = -1/T Σ_t Σ_v p_tv log p_tv, over the vocabulary v
    deviation    Sent-Std = the standard deviation of l_t
    attention    the confidence of Rikters and Fishel 2017, in percent

A good translation has a high probability and confidence, and a low entropy and deviation.
"""

import json
from pathlib import Path
from statistics import StatisticsError, correlation, fmean, pstdev
from typing import Any, cast

from nmt.data.text import read_lines
from nmt.errors import UserError
from nmt.evaluation.report.confidence import attention_confidence
from nmt.search.sentence_metrics import SentenceChrf
from nmt.search.translation import Translation


def quality_features(translation: Translation) -> dict[str, float] | None:
    """Return the features of a translation by name; None for an empty line."""
    scores = translation.piece_scores
    if not scores:
        return None
    features = {"probability": fmean(scores), "deviation": pstdev(scores)}
    if translation.entropies:
        features["entropy"] = fmean(translation.entropies)
    if translation.attention is not None:
        features["attention"] = attention_confidence(translation.attention).percent
    return features


def quality_correlations(file: Path, reference: Path) -> dict[str, float]:
    """Return Pearson's correlation of each feature with chrF of the sentences.

    Args:
        file: output of `nmt-translate --jsonl --quality`; empty translations do not count
        reference: one line per translation

    Raises:
        UserError: if the files do not fit together, or a feature is the same for all sentences
    """
    objects = [
        _read_object(line, f"{file}:{number}") for number, line in enumerate(read_lines(file), 1)
    ]
    references = list(read_lines(reference))
    if len(objects) != len(references):
        message = (
            f"{len(references)} lines, but {file} has {len(objects)}; give one per translation"
        )
        raise UserError(message, str(reference))
    pairs = [pair for pair in zip(objects, references, strict=True) if pair[0]["quality"]]
    metric = SentenceChrf()
    values = [float(metric.matrix([one["translation"]], [text])[0, 0]) for one, text in pairs]
    results = {}
    for name in pairs[0][0]["quality"] if pairs else ():
        estimates = [one["quality"].get(name) for one, _ in pairs]
        if None in estimates:
            message = f"some translations have no {name}; write all of them by one command"
            raise UserError(message, str(file))
        try:
            results[name] = correlation(estimates, values)
        except StatisticsError:
            message = f"{name} or chrF is the same for all sentences; give more sentences"
            raise UserError(message, str(file)) from None
    if not results:
        raise UserError("contains no translation; give one or more", str(file))
    return results


def _read_object(line: str, location: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if not _is_translation(value):
        message = "is not a translation with its quality; write it by nmt-translate --jsonl"
        raise UserError(f"{message} --quality", location)
    return cast(dict[str, Any], value)


def _is_translation(value: object) -> bool:
    match value:
        case {"translation": str(), "quality": None}:
            return True
        case {"translation": str(), "quality": dict(features)}:
            return all(isinstance(one, int | float) for one in features.values())
    return False
