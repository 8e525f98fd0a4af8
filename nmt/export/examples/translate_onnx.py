"""Translate standard input, one sentence per line, by onnxruntime and greedy search.

Requires `pip install onnxruntime sentencepiece`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy
import onnxruntime
import sentencepiece

FOLDER = Path(__file__).parent


def load_vocabulary(side: str) -> sentencepiece.SentencePieceProcessor:
    """Return the vocabulary of a side, or that of both."""
    file = FOLDER / f"{side}.model"
    file = file if file.exists() else FOLDER / "joint.model"
    return sentencepiece.SentencePieceProcessor(model_file=str(file))


def run(session: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Run a graph on the values that it takes, and return its outputs by name."""
    inputs = {one.name: values[one.name] for one in session.get_inputs()}
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def main() -> None:
    """Translate line by line."""
    tokens = json.loads((FOLDER / "tokens.json").read_text(encoding="utf-8"))
    source, target = load_vocabulary("source"), load_vocabulary("target")
    encoder, step = (
        onnxruntime.InferenceSession(str(FOLDER / f"{name}.onnx")) for name in ("encoder", "step")
    )
    for line in sys.stdin:
        words = source.encode(line.strip())
        ids = numpy.array([[*words, tokens["source_end"]]])
        values = run(encoder, {"source": ids, "mask": numpy.ones(ids.shape, dtype=bool)})
        translation: list[int] = []
        token = tokens["begin"]
        while words and len(translation) < 2 * len(words) + 20:
            outputs = run(step, {**values, "token": numpy.array([token])})
            token = int(outputs["log_probs"][0].argmax())
            if token == tokens["end"]:
                break
            translation.append(token)
            # The new state is the input of the next step.
            values |= {
                name.removeprefix("next_"): value
                for name, value in outputs.items()
                if name.startswith("next_")
            }
        print(target.decode(translation))


if __name__ == "__main__":
    main()
