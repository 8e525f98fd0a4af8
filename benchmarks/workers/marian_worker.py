"""Worker for Marian, by the package pymarian, with its own model, trainer and search.

Differences that remain, for the BiLSTM: one encoder layer as wide as the decoder in each direction,
a decoder of two LSTM cells with additive attention between them (`--type s2s`, its default), and
dropout of recurrent layers only. By hand, a target token takes 7 % more operations than our model.
Its Transformer has no dropout here, as ours, and layer normalization after the residuals.

Marian reads text and trains in a process of its own, so the clock starts at its report of one more
update before the measured ones. Its search has no minimum length: </s> is suppressed by its bias,
and the length of a translation is in proportion to that of its source, `length` on average.
"""

import atexit
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from math import ceil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from workers.ids import Array
from workers.serve import Answer, Worker, main

SUPPRESSED = -1e4  # bias of </s>, which is never generated then
END = 0  # row of </s> in the vocabulary
REPORT = re.compile(r"Up\. [\d,]+ .* Cost ([\d.]+) ")
WORKSPACE_MB = 1024
OUTPUT_BIASES = ("decoder_ff_logit_l2_b", "decoder_ff_logit_out_b")
"""Names of the bias of the output layer, of s2s and of the Transformer."""


class MarianWorker(Worker):
    """Worker for Marian, in fp32, or in int8 by intgemm8.

    The task `prepare` has the option `model: transformer`.
    """

    def set_threads(self, threads: int) -> None:
        """Keep the number of threads for the commands of Marian; torch is not required."""
        self.threads = threads

    def versioned(self) -> dict[str, str]:
        return {"marian": "pymarian"}

    def build(self, dtype: str, device: str, options: dict[str, Any]) -> tuple[int, str]:
        if device != "cpu" or dtype not in ("fp32", "int8"):
            raise ValueError(f"{dtype} on {device} is not measured; Marian has fp32 and int8 here")
        self.dtype = dtype
        self.folder = Path(mkdtemp())
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self.model = self.folder / "model.npz"
        self.is_transformer = options.get("model") == "transformer"
        special = self.ids.special_tokens
        others = [n for n in range(self.ids.vocabulary) if n not in (special.eos, special.unk)]
        tokens = ["</s>", "<unk>", *map(str, others)]
        (self.folder / "vocabulary.txt").write_text("".join(f"{token}\n" for token in tokens))
        self.updates_done = 0
        self.translators: dict[tuple[int, int, float | None], Any] = {}
        # An update without effect initializes the weights.
        self._train([0], learning_rate=0.0)
        weights = np.load(self.model)
        parameters = sum(weights[name].size for name in weights.files if ":" not in name)
        kind = "Transformer" if self.is_transformer else "s2s with two cells"
        return int(parameters), kind

    def train(self, first: int, updates: int) -> Answer:
        numbers = range(first, first + updates)
        tokens = sum(len(target) + 1 for n in numbers for target in self.ids.batch(n)[1])
        reports = self._train([first, *numbers], learning_rate=self.sizes.learning_rate)
        (start, _), *measured = reports
        seconds = measured[-1][0] - start if measured else 0.0
        loss = sum(cost for _, cost in measured) / max(len(measured), 1)
        return {"seconds": seconds, "target_tokens": tokens, "loss": loss}

    def _train(self, numbers: Sequence[int], *, learning_rate: float) -> list[tuple[float, float]]:
        """Train on batches in order; return the time of the report and the loss of each update."""
        sides = zip(*(self.ids.batch(number) for number in numbers), strict=True)
        files = [self.folder / f"train.{side}" for side in ("source", "target")]
        for file, batches in zip(files, sides, strict=True):
            file.write_text("".join(map(_line, (one for batch in batches for one in batch))))
        self.updates_done += len(numbers)
        sentences = len(self.ids.batch(numbers[0])[0])
        command = [
            *(sys.executable, "-m", "pymarian", "train"),
            *("--model", str(self.model), "--overwrite", "--no-restore-corpus"),
            *("--train-sets", *map(str, files), "--vocabs", *2 * [self._vocabulary]),
            *("--mini-batch", str(sentences), "--mini-batch-round-up", "false"),
            *("--maxi-batch", "1", "--maxi-batch-sort", "none", "--shuffle", "none"),
            *("--max-length", "1000", "--after-batches", str(self.updates_done)),
            *("--cpu-threads", str(self.threads), "--sync-sgd", "--disp-freq", "1u"),
            *("--workspace", str(WORKSPACE_MB), "--cost-type", "ce-mean-words", "--seed", "1"),
            *("--learn-rate", str(learning_rate), "--clip-norm", str(self.sizes.clip_norm)),
            *("--label-smoothing", str(self.sizes.smoothing)),
            *self._model_options(),
        ]
        reports, last = [], ""
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            for line in process.stderr:
                sys.stderr.write(line)
                last = line.strip() or last
                if match := REPORT.search(line):
                    reports.append((self.clock(process.pid), float(match[1])))
        if process.returncode or len(reports) != len(numbers):
            raise RuntimeError(f"training ended with code {process.returncode}: {last}")
        self.translators = {}
        return reports

    def _model_options(self) -> list[str]:
        sizes = self.sizes
        options = {"dim-emb": sizes.embedding}
        if self.is_transformer:
            named: dict[str, Any] = {
                "type": "transformer",
                "enc-depth": sizes.layers,
                "dec-depth": sizes.layers,
                "transformer-heads": max(4, sizes.embedding // 64),
                "transformer-dim-ffn": sizes.readout,
                "transformer-ffn-activation": "relu",
            }
        else:
            named = {
                "type": "s2s",
                "enc-cell": "lstm",
                "dec-cell": "lstm",
                "enc-depth": 1,
                "dim-rnn": sizes.decoder,
                "dropout-rnn": sizes.dropout,
            }
        pairs = (options | named).items()
        return [word for name, value in pairs for word in (f"--{name}", str(value))]

    @property
    def _vocabulary(self) -> str:
        return str(self.folder / "vocabulary.txt")

    def translate(
        self, beam: int, sentences: int, first: int, count: int, length: int | None
    ) -> Answer:
        """Translate test sentences; Marian itself sorts them by length and makes batches."""
        test = self.ids.test[first : first + count]
        translator = self._translator(beam, sentences, _length_factor(test, sentences, length))
        lines = [_line(sentence)[:-1] for sentence in test]
        start = self.clock()
        found = translator.translate(lines)
        seconds = self.clock() - start
        translations = [[int(token) for token in line.split() if token.isdigit()] for line in found]
        return {
            "seconds": seconds,
            "sentences": len(test),
            "target_tokens": sum(map(len, translations)),
            "ids": translations,
        }

    def _translator(self, beam: int, sentences: int, factor: float | None) -> Any:
        from pymarian import Translator

        key = beam, sentences, factor
        if key not in self.translators:
            self.translators[key] = Translator(
                f"--models {self._search_model(factor)} "
                f"--vocabs {self._vocabulary} {self._vocabulary} "
                f"--beam-size {beam} --normalize 1 --max-length 1000 "
                f"--max-length-factor {factor or 3} --mini-batch {sentences} --maxi-batch 1000 "
                f"--maxi-batch-sort src --cpu-threads {self.threads} --workspace {WORKSPACE_MB} "
                "--quiet --quiet-translation"
            )
        return self.translators[key]

    def _search_model(self, factor: float | None) -> Path:
        """Return the file of the model in its number format, that never ends if lengths are set."""
        model = self.model
        if factor is not None:
            model = self.folder / "endless.npz"
            weights = dict(np.load(self.model))
            (bias,) = (weights[name] for name in weights if name in OUTPUT_BIASES)
            bias[0, END] = SUPPRESSED
            np.savez(model, **weights)
        if self.dtype == "int8":
            command = [sys.executable, "-m", "pymarian", "convert", "--gemm-type", "intgemm8"]
            packed = model.with_suffix(".bin")
            subprocess.run([*command, "--from", str(model), "--to", str(packed)], check=True)
            return packed
        return model

    def save(self, path: str) -> Answer:
        shutil.copyfile(self.model, path)
        return {}

    def load(self, path: str) -> Answer:
        shutil.copyfile(path, self.model)
        self.translators = {}
        return {}

    def update(self, number: int) -> float:
        raise NotImplementedError("Marian trains in a process of its own")

    def search(self, sentences: list[Array], beam: int, length: int | None) -> list[list[int]]:
        raise NotImplementedError("Marian makes batches itself")

    def parameters(self) -> Any:
        raise NotImplementedError("Marian's parameters are in its file")


def _line(ids: Iterable[int]) -> str:
    """Return a sentence as a line of Marian's tokens."""
    return " ".join(map(str, ids)) + "\n"


def _length_factor(test: Sequence[Array], sentences: int, length: int | None) -> float | None:
    """Return the ratio of target to source length at which translations have `length` on average.

    Marian stops a batch at this ratio to its longest source, </s> included, rounded up.
    """
    if length is None:
        return None
    widths = sorted(len(sentence) + 1 for sentence in test)
    batches = [widths[first : first + sentences] for first in range(0, len(widths), sentences)]

    def surplus(factor: float) -> float:
        tokens = sum(len(batch) * ceil(factor * batch[-1]) for batch in batches)
        return abs(tokens - length * len(widths))

    return min((number / 1000 for number in range(50, 4000)), key=surplus)


if __name__ == "__main__":
    main(MarianWorker())
