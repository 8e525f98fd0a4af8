"""What an LSTMN recalled of its own past while it read a sentence or wrote a translation.

    python scripts/draw_intra_attention.py RUN "Ein Mann liest ein Buch." -o source.png
    python scripts/draw_intra_attention.py RUN "Ein Mann liest." -o target.png --side target

A row is a piece that is read, a column a piece that stands on the tape. An encoder of both
directions recalls what is left of the diagonal and, reading backwards, what is right of it. A
decoder reads what it has written; `start` is the state it began with.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from nmt.cli.common import SUCCESS, run
from nmt.errors import UserError
from nmt.evaluation.plots import AttentionMatrix, plot_matrix
from nmt.model.decoders.lstmn import LSTMNDecoder
from nmt.model.encoders.lstmn import LSTMNEncoder
from nmt.search.alignments import END
from nmt.search.translator import Translator

START = "start"


class Recalled(NamedTuple):
    """Weights between the pieces that were read (rows) and those on the tape (columns)."""

    weights_ts: Float[Tensor, "t s"]
    tape: list[str]
    read: list[str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw one picture; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run directory of a model with lstmn parts")
    parser.add_argument("sentence", help="in the source language")
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG file")
    parser.add_argument("--side", choices=["source", "target"], default="source")
    parser.add_argument("--target", help="translation to read; the model's own when not given")
    return run("draw_intra_attention.py", partial(_draw, parser.parse_args(arguments)))


def _draw(options: argparse.Namespace) -> int:
    if options.side == "source" and options.target is not None:
        raise UserError("--target is read by the decoder; add --side target")
    translator = Translator.load(options.run)
    if options.side == "source":
        recalled = of_source(translator, options.sentence)
    else:
        recalled = of_target(translator, options.sentence, options.target)
    matrix = AttentionMatrix(recalled.tape, recalled.read, recalled.weights_ts)
    plot_matrix(matrix, options.output)
    return SUCCESS


@torch.inference_mode()
def of_source(translator: Translator, sentence: str) -> Recalled:
    """What the encoder's top layer recalled.

    Raises:
        UserError: when the encoder has no tapes
    """
    model = translator.models[0]
    if not isinstance(model.encoder, LSTMNEncoder):
        raise UserError("the encoder keeps no tapes; train one of type lstmn")
    assert model.source_embedding is not None, "it reads text"
    ids, source, mask_bs = _source(translator, sentence)
    weights_blss = model.encoder.intra_weights(model.source_embedding(source), mask_bs)
    pieces = [*translator.reader.pieces(ids), END]
    return Recalled(weights_blss[0, -1], pieces, pieces)


@torch.inference_mode()
def of_target(translator: Translator, sentence: str, target: str | None = None) -> Recalled:
    """What the decoder recalled while it read a translation, its own when none is given.

    Raises:
        UserError: when the decoder has no tapes
    """
    model, vocabulary = translator.models[0], translator.target_vocabulary
    if not isinstance(model.decoder, LSTMNDecoder):
        raise UserError("the decoder keeps no tapes; train one of type lstmn")
    if target is None:
        target = translator.translate([sentence])[0].text
    _, source, mask_bs = _source(translator, sentence)
    ids = [vocabulary.bos, *vocabulary.encode(target)]
    embedded_btm = model.target_embedding(torch.tensor([ids], device=translator.device))
    weights_btt = model.decoder.intra_weights(embedded_btm, model.encode(source, mask_bs))
    pieces = vocabulary.tokens(ids)
    return Recalled(weights_btt[0], [START, *pieces[:-1]], pieces)


def _source(translator: Translator, sentence: str) -> tuple[list[int], Tensor, Tensor]:
    """The pieces of a sentence without its end mark, and the batch of it alone."""
    (ids,) = translator.reader.cut([sentence])
    source, mask_bs = translator.reader.batch([sentence], [ids], lambda number: "")
    return ids, source.to(translator.device), mask_bs.to(translator.device)


if __name__ == "__main__":
    sys.exit(main())
