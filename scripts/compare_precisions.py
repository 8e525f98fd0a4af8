"""What fp32, bf16 and int8 cost and lose: BLEU, processor seconds and size of one trained model.

    python scripts/compare_precisions.py runs/multi30k_de_en_gnmt \\
        --test data/multi30k/test_2016_flickr --output runs/multi30k_de_en_gnmt/precisions

Every precision translates the text as nmt-translate would, in one thread. Seconds are those of the
processor, so that other work on the machine changes them little; they leave out loading the model.
The size is that of the weights that the model then holds, a shared table counted once: int8 holds
the decoder's weights in integers, the encoder's and the embeddings as they are.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import Pair, markdown, write_results
from nmt.cli.process import configure_process
from nmt.data.corpus import find_corpus
from nmt.evaluation.metrics import score
from nmt.model.layers.packed import PackedLinear
from nmt.model.seq2seq import Seq2Seq
from nmt.search.translator import Translator
from nmt.storage.run_dir import RunDir

PRECISIONS = ("fp32", "bf16", "int8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Translate the text in every precision; write the table and the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="of a trained model")
    parser.add_argument("--test", type=Path, required=True, help="prefix of the text")
    parser.add_argument("--checkpoint", default="best", help="best, last, average or an update")
    parser.add_argument("--output", type=Path, required=True, help="of OUTPUT.json and OUTPUT.md")
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
    """BLEU, chrF, processor seconds and megabytes (10^6) of weights."""
    sources, targets = zip(*pairs, strict=True)
    start = time.process_time()
    texts = [one.text for one in translator.translate(sources)]
    seconds = time.process_time() - start
    scores = score(["bleu", "chrf"], texts, [targets])
    return {
        "bleu": scores["bleu"].score,
        "chrf": scores["chrf"].score,
        "seconds": seconds,
        "megabytes": sum(map(weight_bytes, translator.models)) / 1e6,
    }


def weight_bytes(model: Seq2Seq) -> int:
    """Bytes of the weights of a model, whatever shares memory counted once."""
    held = {kept.data_ptr(): kept.nbytes for kept in model.state_dict().values()}
    packed = [part.size_bytes for part in model.modules() if isinstance(part, PackedLinear)]
    return sum(held.values()) + sum(packed)


def table(measured: dict[str, dict[str, Any]]) -> str:
    """A row a precision."""
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
