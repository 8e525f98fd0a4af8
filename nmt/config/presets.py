"""Settings of an experiment by the size of its text and the machine.

`PRESETS` is the only table of these settings. The evidence of a row says where its settings were
measured, or that they are a guess between measured rows.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

Settings = dict[str, Any]
"""Nested mapping of an experiment file."""

# The vocabulary has at least this many tokens per character of the text: SentencePiece refuses
# fewer tokens than characters.
MIN_TOKENS_PER_CHARACTER = 1.1
NUM_SPECIAL_TOKENS = 4
# Of a text with more characters, as in Chinese, the rarest are left to <unk>.
MAX_CHARACTERS, CHARACTER_COVERAGE = 2_500, 0.9995
# Fewer epochs lose more than any other setting: 7 instead of 17 cost 5.9 chrF on 3,000 pairs.
MIN_EPOCHS = 17
VALIDATIONS = 10
MIN_MAX_LENGTH = 100


class Preset(NamedTuple):
    """A row of the table.

    Attributes:
        max_pairs: most training pairs that it serves
        min_minutes: smallest budget that it serves
        name: the model in words
        vocabulary: tokens, unless the text has too many characters
        joint: whether languages of different scripts have one vocabulary too
        epochs: passes over the text
        model, training: sections of the experiment file
        evidence: origin of the settings
    """

    max_pairs: float
    min_minutes: float
    name: str
    vocabulary: int
    joint: bool
    epochs: int
    model: Settings
    training: Settings
    evidence: str


def _recurrent(size: int) -> Settings:
    """Return a BiLSTM with Bahdanau's attention; `size` is that of both directions together."""
    return {
        "embedding_size": size,
        "embedding_dropout": 0.3,
        "encoder": {"type": "bilstm", "hidden_size": size // 2, "layers": 1},
        "decoder": {"type": "bahdanau", "hidden_size": size, "dropout": 0.4},
        "score": "additive",
    }


def _transformer(size: int, layers: int, heads: int, feed_forward: int, dropout: float) -> Settings:
    stack = {"layers": layers, "heads": heads, "feed_forward_size": feed_forward}
    part = {"type": "transformer", **stack, "dropout": dropout, "norm": "pre"}
    return {"embedding_size": size, "encoder": dict(part), "decoder": dict(part)}


def _optimization(
    rate: float, warmup: int, ema: float, batch: Mapping[str, int], **adam: float
) -> Settings:
    return {
        "optimizer": {"type": "adam", "learning_rate": rate, **adam},
        "schedule": {"type": "cosine", "warmup": warmup, "floor": 0.02},
        **batch,
        "ema": ema,
    }


_SMALL_RECURRENT = _recurrent(256)
_LARGE_RECURRENT = _recurrent(512) | {
    "embedding_size": 256,
    "source_word_dropout": 0.1,
    "target_word_dropout": 0.1,
    "score": {"type": "additive", "heads": 4},
}
_SMALL_TRANSFORMER = _transformer(128, 4, 4, 256, 0.3)
_SMALL_RECURRENT_TRAINING = _optimization(3e-3, 50, 0.99, {"batch_sentences": 32})
_SMALL_TRANSFORMER_TRAINING = _optimization(3e-3, 400, 0.999, {"batch_tokens": 1500}, beta2=0.98)

# The first row that serves the text and the budget is chosen.
PRESETS = (
    Preset(
        4_000,
        0,
        "a BiLSTM of 256 with Bahdanau's attention",
        1_000,
        True,
        36,
        _SMALL_RECURRENT,
        _SMALL_RECURRENT_TRAINING,
        "chrF 31.9 with 3,042 Korean-English pairs, mean of three seeds, after 36 epochs in 10 "
        "minutes of one CPU core; 2 less by the Transformer for more pairs",
    ),
    Preset(
        8_000,
        10,
        "a Transformer of 4 layers and 128 units",
        1_500,
        True,
        56,
        _SMALL_TRANSFORMER,
        _SMALL_TRANSFORMER_TRAINING,
        "chrF 35.2 with 5,000 German-English pairs; 34.1 by a BiLSTM in the same CPU time",
    ),
    Preset(
        8_000,
        0,
        "a BiLSTM of 256 with Bahdanau's attention",
        1_500,
        True,
        36,
        _SMALL_RECURRENT,
        _SMALL_RECURRENT_TRAINING,
        "chrF 34.1 with 5,000 German-English pairs; a Transformer needs more time",
    ),
    Preset(
        25_000,
        20,
        "a Transformer of 4 layers and 128 units",
        4_000,
        False,
        45,
        _SMALL_TRANSFORMER,
        _SMALL_TRANSFORMER_TRAINING,
        "chrF 44.4 with 10,000 German-English pairs; 43.1 by a BiLSTM in the same CPU time",
    ),
    Preset(
        25_000,
        0,
        "a BiLSTM of 256 with Bahdanau's attention",
        3_000,
        False,
        28,
        _SMALL_RECURRENT,
        _SMALL_RECURRENT_TRAINING,
        "chrF 43.1 with 10,000 German-English pairs, and 40.5 with two layers and less dropout",
    ),
    Preset(
        60_000,
        40,
        "a Transformer of 4 layers and 128 units",
        8_000,
        False,
        38,
        _SMALL_TRANSFORMER,
        _SMALL_TRANSFORMER_TRAINING,
        "configs/multi30k_de_en_transformer.yaml: 42.28 BLEU on 29,000 captions in 57 minutes",
    ),
    Preset(
        60_000,
        0,
        "a BiLSTM of 512 with four heads of Bahdanau's attention",
        8_000,
        False,
        44,
        _LARGE_RECURRENT,
        _optimization(2e-3, 200, 0.999, {"batch_sentences": 64}),
        "configs/multi30k_de_en_word_dropout.yaml: 42.7 BLEU on 29,000 captions in 96 minutes of "
        "one CPU core",
    ),
    Preset(
        400_000,
        0,
        "a Transformer of 4 layers and 256 units",
        12_000,
        False,
        25,
        _transformer(256, 4, 4, 1024, 0.2),
        _optimization(1e-3, 2000, 0.999, {"batch_tokens": 3000}, beta2=0.98),
        "a guess, larger than the row for 60,000 pairs",
    ),
    Preset(
        math.inf,
        0,
        "a Transformer of 6 layers and 512 units",
        24_000,
        False,
        MIN_EPOCHS,
        _transformer(512, 6, 8, 2048, 0.1),
        _optimization(7e-4, 4000, 0.999, {"batch_tokens": 4000}, beta2=0.98),
        "the base model of Vaswani et al. 2017, which needs a GPU",
    ),
)


class Facts(NamedTuple):
    """Facts about the text and the machine that decide on the settings.

    Attributes:
        pairs: training pairs
        characters: different characters of source and target
        joint_characters: different characters of both together
        shares_letters: whether both sides are written in the same script
        longest: characters of the longest usual side (99 % are shorter)
        has_gpu: whether training runs on a GPU
        has_fast_bf16: whether the CPU has instructions for bf16
    """

    pairs: int
    characters: tuple[int, int]
    joint_characters: int
    shares_letters: bool
    longest: int
    has_gpu: bool
    has_fast_bf16: bool


class Choice(NamedTuple):
    """Chosen settings.

    Attributes:
        settings: the experiment file without the names of its texts
        reasons: reason of a setting, by its dotted key
        preset: the row of the table
        min_vocabulary: smallest vocabulary of subwords for the characters of the text
    """

    settings: Settings
    reasons: dict[str, str]
    preset: Preset
    min_vocabulary: int


def choose(facts: Facts, minutes: float | None = None) -> Choice:
    """Choose the settings of an experiment.

    Args:
        facts: facts about the text and the machine
        minutes: budget of the user; None for as long as the table advises
    """
    budget = math.inf if minutes is None else minutes
    preset = next(
        one for one in PRESETS if facts.pairs <= one.max_pairs and budget >= one.min_minutes
    )
    reasons = {"model": f"{preset.name}; {preset.evidence}"}
    vocabulary, reasons["data.vocabulary"] = _choose_vocabulary(facts, preset)
    max_length = max(MIN_MAX_LENGTH, -(-facts.longest // 50) * 50)
    if max_length > MIN_MAX_LENGTH:
        reasons["data.max_length"] = "99 % of the sides have at most this many characters"
    model = dict(preset.model)
    joint = preset.joint or facts.shares_letters
    model["tied_embeddings"] = "all" if joint else "decoder"
    training = dict(preset.training)
    training["precision"], reasons["training.precision"] = _choose_precision(facts)
    training["early_stopping"] = {"metric": "chrf"}
    reasons["training.early_stopping"] = (
        "chrF keeps the best checkpoint: the loss chose one that was 0.7 to 4.1 chrF worse in "
        "three runs on 3,000 pairs, and BLEU of short texts is mostly 0"
    )
    settings = {
        "data": {"max_length": max_length, "vocabulary": vocabulary},
        "model": model,
        "training": training,
        "evaluation": {"metrics": ["chrf", "bleu"]},
    }
    return Choice(settings, reasons, preset, _min_vocabulary(facts, joint))


def set_duration(
    choice: Choice, updates_per_epoch: int, seconds_per_epoch: float, minutes: float | None
) -> float:
    """Set the limit of training and the validations; return the expected minutes.

    The length of the schedule follows from the limit. A budget of the user is a limit of its own,
    so that the schedule ends with it on a machine that is busier than expected, too.

    Args:
        choice: the settings, which are completed
        updates_per_epoch: updates of an epoch
        seconds_per_epoch: duration of an epoch with its share of the validations
        minutes: budget of the user; None for the epochs of the table
    """
    epochs = choice.preset.epochs
    reason = f"{epochs} epochs are the advice for this size"
    if minutes is not None:
        epochs = max(1, int(minutes * 60 / max(seconds_per_epoch, 1e-9)))
        reason = f"the budget, enough for {epochs} epochs"
    if epochs < MIN_EPOCHS:
        reason += f"; fewer than {MIN_EPOCHS} lose much quality, so give it more time"
    steps = epochs * updates_per_epoch
    training = choice.settings["training"]
    schedule = training["schedule"] = dict(training["schedule"])
    schedule["warmup"] = min(schedule["warmup"], steps // 10)
    for name in ("epochs", "minutes"):
        training.pop(name, None)
        choice.reasons.pop(f"training.{name}", None)
    limit, value = ("epochs", epochs) if minutes is None else ("minutes", minutes)
    training[limit] = value
    training["validate_every"] = max(1, -(-steps // VALIDATIONS))
    choice.reasons[f"training.{limit}"] = reason
    choice.reasons["training.schedule"] = "it ends with the training"
    choice.reasons["training.validate_every"] = f"{VALIDATIONS} validations in the whole training"
    return epochs * seconds_per_epoch / 60 if minutes is None else minutes


def reduce_vocabulary(choice: Choice) -> bool:
    """Halve the vocabulary, or make it one of characters; return whether that was possible.

    A very short text does not have enough different substrings for the size of the table.
    """
    vocabulary = choice.settings["data"]["vocabulary"]
    if vocabulary.get("type") == "char":
        return False
    if vocabulary["size"] // 2 >= choice.min_vocabulary:
        vocabulary["size"] //= 2
        choice.reasons["data.vocabulary"] = "the text is too short for a larger vocabulary"
    else:
        vocabulary["type"] = "char"
        choice.reasons["data.vocabulary"] = "the text is too short for a vocabulary of subwords"
    return True


def _num_characters(facts: Facts, joint: bool) -> int:
    """Return the number of characters of the vocabulary with the most."""
    return facts.joint_characters if joint else max(facts.characters)


def _min_vocabulary(facts: Facts, joint: bool) -> int:
    characters = _num_characters(facts, joint)
    required = math.ceil(MIN_TOKENS_PER_CHARACTER * characters) + NUM_SPECIAL_TOKENS
    return -(-required // 10) * 10


def _choose_vocabulary(facts: Facts, preset: Preset) -> tuple[Settings, str]:
    joint = preset.joint or facts.shares_letters
    size = preset.vocabulary
    reason = f"{size:,} tokens are the advice for this size"
    vocabulary: Settings = {"size": size, "joint": joint}
    characters = _num_characters(facts, joint)
    if characters > MAX_CHARACTERS:
        vocabulary["character_coverage"] = CHARACTER_COVERAGE
    if (minimum := _min_vocabulary(facts, joint)) > size:
        vocabulary["size"] = minimum
        reason = f"more than the {characters:,} different characters, each of which is a token"
    return vocabulary, f"{reason}; {'one for both languages' if joint else 'one per language'}"


def _choose_precision(facts: Facts) -> tuple[str, str]:
    if facts.has_gpu:
        return "auto", "half precision of the GPU"
    if facts.has_fast_bf16:
        return "bf16", "the CPU has avx512_bf16: 1.5 times as fast as fp32 on Multi30k"
    return "fp32", "the CPU has no instructions for bf16"
