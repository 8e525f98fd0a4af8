"""Annotations of source sentences or images: the output of a trained encoder."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.config.search_options import SearchOptions
from nmt.inference.compile import InferenceModel
from nmt.search.alignment import END
from nmt.search.batch_planning import plan_batches
from nmt.search.source_reader import SourceReader


@dataclass(frozen=True)
class SourceEncoding:
    """The encoder output for some sentences or images, in their order, on the CPU.

    Attributes:
        annotations_bse: one annotation per source position, the encoder states h of Bahdanau et al.
            2014; zero in padding
        mask_bs: True for real positions; an empty sentence has none
        pieces: the pieces of each sentence, `</s>` included, one per real position; for an image
            the row and column of each annotation
    """

    annotations_bse: Float[Tensor, "b s e"]
    mask_bs: Bool[Tensor, "b s"]
    pieces: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.pieces)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.annotations_bse.shape))
        return f"SourceEncoding({len(self)} sources, annotations {shape})"


def encode_sources(
    model: InferenceModel, reader: SourceReader, texts: Sequence[str], options: SearchOptions
) -> SourceEncoding:
    """Encode sentences or images; those of similar length together.

    Args:
        model: the compiled model
        reader: its reader of source lines
        texts: sentences, or file names of images
        options: the limits of a batch

    Raises:
        UserError: if an image cannot be read
    """
    ids = reader.encode(texts)
    batches = []
    for rows in plan_batches(list(map(len, ids)), options, model.device):
        source, mask_bs = reader.batch(
            [texts[r] for r in rows], [ids[r] for r in rows], [""] * len(rows)
        )
        states_bse = model.encode(source.to(model.device), mask_bs.to(model.device))
        batches.append((rows, states_bse.float().cpu(), mask_bs))
    longest = max((int(mask_bs.sum(1).max()) for _, _, mask_bs in batches), default=0)
    # Made here and not in inference mode, so that a program can train a classifier on them.
    annotations_bse = torch.zeros(len(texts), longest, model.annotation_size)
    real_bs = torch.zeros(len(texts), longest, dtype=torch.bool)
    for rows, states_bse, mask_bs in batches:
        columns = min(longest, mask_bs.size(1))
        annotations_bse[rows, :columns] = states_bse[:, :columns]
        real_bs[rows, :columns] = mask_bs[:, :columns]
    counts = real_bs.sum(1).tolist()
    pieces = tuple(
        (*reader.pieces(own), *[END] * (count - len(own)))
        for own, count in zip(ids, counts, strict=True)
    )
    return SourceEncoding(annotations_bse, real_bs, pieces)
