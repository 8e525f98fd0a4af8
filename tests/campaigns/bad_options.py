"""Command lines with wrong, missing and contradictory options, derived from the parsers."""

import argparse
import itertools
import random
from collections.abc import Callable, Iterator

from nmt.cli import compare, evaluate, export, init, plot, serve, train, translate
from nmt.cli.common import Parser

# A name, which stands for a file of each case or is a value by itself.
OUTPUT, TEXT, REFERENCE, LINKS = "out", "five.text", "five.iso", "five.links"
BASES: dict[str, list[list[str]]] = {
    "nmt-translate": [
        ["-m", "run", TEXT, "-o", OUTPUT],
        ["-m", "run", TEXT, "-o", OUTPUT, "--report", "view.html", "--reference", REFERENCE],
    ],
    "nmt-eval": [[TEXT, REFERENCE], ["-m", "run", TEXT, REFERENCE]],
    "nmt-train": [["dates.yaml", "--check"], ["dates.yaml", "training.steps=1", "--run", OUTPUT]],
    "nmt-compare": [
        ["run", "half", "--test", TEXT, REFERENCE, "-o", "study"],
        ["dates.yaml", "training.steps=1", "--grid", "training.seed=1", "-o", "study"],
    ],
    "nmt-export": [["run", "model.nmt"], ["half", "--hub", "folder"], ["run", "--onnx", "folder"]],
    "nmt-init": [[TEXT, REFERENCE, "-o", "new.yaml", "--minutes", "1"]],
    "nmt-plot": [["run", "half", "-o", "curves.png"]],
    # The links are no keys, so that the service ends when it has read all of its options.
    "nmt-serve": [["run", "--port", "0", "--api-keys", LINKS]],
}
PARSERS: dict[str, Callable[[], Parser]] = {
    "nmt-translate": translate.make_parser,
    "nmt-eval": evaluate._parser,
    "nmt-train": train._parser,
    "nmt-compare": compare._parser,
    "nmt-export": export._parser,
    "nmt-init": init._parser,
    "nmt-plot": plot._parser,
    "nmt-serve": serve._parser,
}
GARBAGE = [
    "",
    " ",
    "abc",
    "-1",
    "0",
    "1.5",
    "1e400",
    "nan",
    "-inf",
    "9" * 19,
    "9" * 5000,
    "\u00b2",
    "\u0663",
    "true",
    "null",
    "{a: 1}",
    "[1]",
    "!!int ''",
    "&a [*a]",
    "[" * 600,
    "missing/file",
    "x" * 300,
    "y/" * 3000,
    ".",
    "/proc/self",
    "/dev/null",
    "/dev/full",
    "/dev/zero",
    "/proc/self/mem",
    "a\nb",
    "\x07\x1b[2J",
    "\udcff",
    "--",
    "-",
    TEXT,
    "data",
    "half",
]
# Values that are right by themselves, by the name of the option.
PLAUSIBLE = {
    "alignment_level": ["piece"],
    "alignments": ["links"],
    "alpha": ["0.5"],
    "api_keys": [LINKS],
    "attention": ["plots"],
    "baseline": [TEXT],
    "batch_sentences": ["2"],
    "batch_tokens": ["50"],
    "batch_wait": ["5ms"],
    "beam_size": ["1", "3"],
    "beta": ["0.2"],
    "block_ngram_repeat": ["2"],
    "checkpoint": ["last", "average", "16"],
    "coverage_penalty": ["gnmt"],
    "ctranslate2": ["folder"],
    "device": ["cpu", "cuda"],
    "early_stopping": ["heuristic"],
    "gold": [LINKS],
    "grid": ["training.seed=3"],
    "host": ["localhost"],
    "hub": ["folder"],
    "length_penalty": ["none", "gnmt"],
    "list": ["encoder"],
    "max_length": ["3"],
    "metrics": ["exact"],
    "minutes": ["1"],
    "model": ["half"],
    "n_best": ["2", "7"],
    "onnx": ["folder"],
    "output": ["other"],
    "pair": ["de-en=run"],
    "peer": ["dates.yaml"],
    "precision": ["int8", "fp16", "bf16"],
    "reference": [REFERENCE],
    "report": ["view.html"],
    "run": [OUTPUT],
    "score_targets": [REFERENCE],
    "scores": ["run/config.yaml"],
    "seed": ["3"],
    "seeds": ["2"],
    "sentence": ["2"],
    "temperature": ["0.5"],
    "test": [TEXT],
    "threads": ["1"],
    "tokenize": ["char", "zh", "none"],
    "top_k": ["2"],
    "top_p": ["0.5"],
    "tune": ["1"],
    "valid": [REFERENCE],
    "workers": ["2"],
}


def _options(command: str) -> list[argparse.Action]:
    actions = PARSERS[command]()._actions
    return [a for a in actions if a.option_strings and a.dest not in ("help", "version")]


def _takes_value(action: argparse.Action) -> bool:
    return action.nargs != 0


def _plausible(action: argparse.Action) -> list[list[str]]:
    name = action.option_strings[-1]
    if not _takes_value(action):
        return [[name]]
    values = PLAUSIBLE.get(action.dest) or [str(one) for one in action.choices or ["1"]]
    return [[name, value] for value in values]


def _lines(command: str) -> Iterator[tuple[str, list[str]]]:
    """Yield names and command lines: garbage, missing, repeated, and pairs of options."""
    for number, base in enumerate(BASES[command]):
        label = f"{command} {number}"
        for word in range(len(base)):
            yield f"{label} without {base[word]}", base[:word] + base[word + 1 :]
            for garbage, value in enumerate(GARBAGE):
                yield f"{label} {base[word]}=g{garbage}", [*base[:word], value, *base[word + 1 :]]
        for action in _options(command):
            name = action.option_strings[-1]
            yield f"{label} {name}", [*base, name]
            yield f"{label} {name}=", [*base, f"{name}="]
            yield f"{label} {name} {name}", [*base, *_plausible(action)[0] * 2]
            for garbage, value in enumerate(GARBAGE):
                yield f"{label} {name}=g{garbage}", [*base, f"{name}={value}"]
        for one, other in itertools.combinations(_options(command), 2):
            for first, second in itertools.product(_plausible(one), _plausible(other)):
                yield f"{label} {' '.join(first + second)}", [*base, *first, *second]


def command_lines(number: int, seed: int = 1) -> list[tuple[str, tuple[str, list[str]]]]:
    """Return a random choice of command lines of each command."""
    chosen = random.Random(seed)
    found = []
    for command in BASES:
        lines = list(_lines(command))
        for name, line in chosen.sample(lines, min(number, len(lines))):
            found.append((name, (command, line)))
    return found
