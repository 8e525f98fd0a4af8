"""Plot the intra-attention of an LSTMN while it reads a sentence or writes a translation.

    python scripts/draw_intra_attention.py RUN "Ein Mann liest ein Buch." -o source.png
    python scripts/draw_intra_attention.py RUN "Ein Mann liest." -o target.png --side target

Rows are the tokens that are read, columns the tokens on the tape. A bidirectional encoder attends
to the left of the diagonal in its forward direction and to the right in its backward direction. A
decoder attends to its own output; `start` is its initial state.
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
from nmt.evaluation.plots import plot_matrix
from nmt.inference.saved_model import load_saved_model
from nmt.model.decoders.lstmn import LSTMNDecoder
from nmt.model.encoders.lstmn import LSTMNEncoder
from nmt.model.seq2seq import Seq2Seq
from nmt.search.alignment import END, AttentionMatrix
from nmt.search.translator import Translator

START = "start"


class IntraAttention(NamedTuple):
    """Weights between the tokens that are read (rows) and those on the tape (columns)."""

    weights_ts: Float[Tensor, "t s"]
    tape: list[str]
    read: list[str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw one plot and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "run", type=Path, help="run directory of a model with an lstmn encoder or decoder"
    )
    parser.add_argument("sentence", help="sentence in the source language")
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG file to write")
    parser.add_argument(
        "--side", choices=["source", "target"], default="source", help="default: %(default)s"
    )
    parser.add_argument("--target", help="translation to read (default: that of the model)")
    return run("draw_intra_attention.py", partial(_draw, parser.parse_args(arguments)))


def _draw(options: argparse.Namespace) -> int:
    if options.side == "source" and options.target is not None:
        raise UserError("--target requires --side target")
    translator = Translator.load(options.run)
    model = load_saved_model(Path(options.run)).model
    if options.side == "source":
        attention = encoder_attention(model, translator, options.sentence)
    else:
        attention = decoder_attention(model, translator, options.sentence, options.target)
    matrix = AttentionMatrix(attention.tape, attention.read, attention.weights_ts)
    plot_matrix(matrix).savefig(options.output)
    return SUCCESS


@torch.inference_mode()
def encoder_attention(model: Seq2Seq, translator: Translator, sentence: str) -> IntraAttention:
    """Return the intra-attention of the encoder's top layer.

    Raises:
        UserError: the encoder is not an LSTMN
    """
    if not isinstance(model.encoder, LSTMNEncoder):
        raise UserError("the encoder has no memory tapes; requires type lstmn")
    assert model.source_embedding is not None, "the encoder reads text"
    ids, source, mask_bs = _source(translator, sentence)
    weights_blss = model.encoder.intra_weights(model.source_embedding(source), mask_bs)
    pieces = [*translator.reader.pieces(ids), END]
    return IntraAttention(weights_blss[0, -1], pieces, pieces)


@torch.inference_mode()
def decoder_attention(
    model: Seq2Seq, translator: Translator, sentence: str, target: str | None = None
) -> IntraAttention:
    """Return the intra-attention of the decoder for a translation, by default its own.

    Raises:
        UserError: the decoder is not an LSTMN
    """
    vocabulary = translator.target_vocabulary
    if not isinstance(model.decoder, LSTMNDecoder):
        raise UserError("the decoder has no memory tapes; requires type lstmn")
    if target is None:
        target = translator.translate([sentence])[0].text
    _, source, mask_bs = _source(translator, sentence)
    ids = [vocabulary.bos, *vocabulary.encode(target)]
    embedded_btm = model.target_embedding(torch.tensor([ids], device=translator.device))
    weights_btt = model.decoder.intra_weights(embedded_btm, model.encode(source, mask_bs))
    pieces = vocabulary.tokens(ids)
    return IntraAttention(weights_btt[0], [START, *pieces[:-1]], pieces)


def _source(translator: Translator, sentence: str) -> tuple[list[int], Tensor, Tensor]:
    """Return the tokens of a sentence without </s>, and a batch that contains it alone."""
    (ids,) = translator.reader.encode([sentence])
    source, mask_bs = translator.reader.batch([sentence], [ids], [""])
    return ids, source.to(translator.device), mask_bs.to(translator.device)


if __name__ == "__main__":
    sys.exit(main())
