r"""Compare fp32, bf16 and int8 of one trained model: BLEU, CPU seconds and size.

    python scripts/compare_precisions.py runs/multi30k_de_en_gnmt \
        --test data/multi30k/test_2016_flickr --output runs/multi30k_de_en_gnmt/precisions

Each precision translates the text as by nmt-translate, on one thread. Seconds are CPU time, which
depends little on other work of the machine, without the time to load the model. The size is that of
the weights in memory, with a shared embedding counted once. int8 stores the weights of the decoder
as integers; encoder and embeddings stay in fp32.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import Pair, write_results
from nmt.cli.process import configure_process
from nmt.comparison.tables import markdown
from nmt.data.corpus import find_corpus
from nmt.evaluation.metrics import score
from nmt.search.translator import Translator
from nmt.storage.run_dir import RunDir

PRECISIONS = ("fp32", "bf16", "int8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Translate the text in every precision, and write the table and the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory of a trained model")
    parser.add_argument("--test", type=Path, required=True, help="prefix of the text")
    parser.add_argument(
        "--checkpoint", default="best", help="best, last, average or a step (default: best)"
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="path of the results without suffix"
    )
    options = parser.parse_args(arguments)
    data = RunDir(options.run).experiment().data
    pairs = list(find_corpus(options.test, data.source, data.target).pairs())
    configure_process("cpu", threads=1)
    measured = {
        precision: measure(
            Translator.load(
                options.run,
                checkpoint=options.checkpoint,
                device="cpu",
                precision=precision,
            ),
            pairs,
        )
        for precision in PRECISIONS
    }
    write_results(options.output, measured, table(measured))


def measure(translator: Translator, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Measure BLEU, chrF, CPU seconds and megabytes (10^6 bytes) of weights."""
    sources, targets = zip(*pairs, strict=True)
    start = time.process_time()
    texts = [one.text for one in translator.translate(sources)]
    seconds = time.process_time() - start
    scores = score(["bleu", "chrf"], texts, [targets])
    return {
        "bleu": scores["bleu"].score,
        "chrf": scores["chrf"].score,
        "seconds": seconds,
        "megabytes": sum(model.weight_bytes() for model in translator.models) / 1e6,
    }


def table(measured: dict[str, dict[str, Any]]) -> str:
    """Format one row per precision."""
    rows = [
        [
            precision,
            f"{found['bleu']:.2f}",
            f"{found['chrf']:.2f}",
            f"{found['seconds']:.1f}",
            f"{found['megabytes']:.1f}",
        ]
        for precision, found in measured.items()
    ]
    return markdown(["precision", "BLEU", "chrF", "CPU seconds", "MB of weights"], rows)


if __name__ == "__main__":
    main()
