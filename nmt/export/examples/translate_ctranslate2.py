"""Translate standard input, one sentence per line, by CTranslate2.

Requires `pip install ctranslate2 sentencepiece`.
"""

import sys
from pathlib import Path

import ctranslate2
import sentencepiece

FOLDER = Path(__file__).parent


def load_vocabulary(side: str) -> sentencepiece.SentencePieceProcessor:
    """Return the vocabulary of a side, or that of both."""
    file = FOLDER / f"{side}.model"
    file = file if file.exists() else FOLDER / "joint.model"
    return sentencepiece.SentencePieceProcessor(model_file=str(file))


def main() -> None:
    """Translate all lines together."""
    source, target = load_vocabulary("source"), load_vocabulary("target")
    engine = ctranslate2.Translator(str(FOLDER))
    lines = [line.rstrip("\n") for line in sys.stdin]
    # The score of nmt's length_penalty `average`; with patience 2 the search goes on as long.
    results = engine.translate_batch(
        source.encode(lines, out_type=str), beam_size=5, length_penalty=1, patience=2
    )
    for result in results:
        print(target.decode(result.hypotheses[0]))


if __name__ == "__main__":
    main()
