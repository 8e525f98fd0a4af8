"""Attention of each model of an ensemble, and of each head, while it reads found translations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.data.batch import Source
from nmt.inference.compile import InferenceModel
from nmt.search.source_reader import SourceReader
from nmt.search.target_order import text_order
from nmt.search.translation import Translation

BATCH_SENTENCES = 32


def attention_views(
    models: Mapping[str, tuple[InferenceModel, SourceReader]],
    texts: Sequence[str],
    translations: Sequence[Translation],
    token_ids: Mapping[str, int],
    *,
    bos: int,
    heads: bool,
    right_to_left: bool = False,
) -> list[dict[str, Translation]]:
    """Return copies of translations with the attention of each model, by the name of the model.

    Copies have no `alignment_weights`.

    Args:
        models: models and their readers by name
        texts: the source lines, with their tags
        translations: their translations; an empty one has no copies
        token_ids: id of each token of the target vocabulary
        bos: token before the first one
        heads: whether to add a copy for each head of each layer of multi-head attention
        right_to_left: whether the models generate translations from the last piece to the first
    """
    views: list[dict[str, Translation]] = [{} for _ in translations]
    steps = [0 if one.attention is None else one.attention.size(0) for one in translations]
    for rows in _batches_of_equal_length(steps):
        selected, selected_texts = [translations[r] for r in rows], [texts[r] for r in rows]
        generated = [one.pieces[::-1] if right_to_left else one.pieces for one in selected]
        inputs = [[bos, *map(token_ids.__getitem__, pieces)] for pieces in generated]
        inputs_bt = torch.tensor([own[: steps[rows[0]]] for own in inputs])
        for name, (model, reader) in models.items():
            found = _model_views(model, reader, selected_texts, selected, inputs_bt, heads=heads)
            for row, parts in zip(rows, found, strict=True):
                if right_to_left:
                    parts = {part: _in_text_order(one) for part, one in parts.items()}
                named = {" ".join(filter(None, (name, part))): one for part, one in parts.items()}
                views[row].update(named)
    return views


def _in_text_order(translation: Translation) -> Translation:
    """Return a translation with its rows of attention, one per step, in the order of the text."""
    weights_ts = translation.attention
    assert weights_ts is not None
    order = text_order(len(translation.pieces), weights_ts.size(0))
    return replace(translation, attention=weights_ts[order])


def _batches_of_equal_length(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield batches of rows of the same length above 0, so that no row ends before the others."""
    order = sorted((row for row, length in enumerate(lengths) if length), key=lengths.__getitem__)
    for _, group in groupby(order, key=lengths.__getitem__):
        same = list(group)
        for start in range(0, len(same), BATCH_SENTENCES):
            yield same[start : start + BATCH_SENTENCES]


def _model_views(
    model: InferenceModel,
    reader: SourceReader,
    texts: Sequence[str],
    translations: Sequence[Translation],
    inputs_bt: Tensor,
    *,
    heads: bool,
) -> list[dict[str, Translation]]:
    """Return copies of a batch with the attention of a model as "", and of each of its heads."""
    ids = reader.encode(texts)
    source, mask_bs = reader.batch(texts, ids, [""] * len(texts))
    found = _attention_weights(model, source, mask_bs, inputs_bt, heads=heads)
    views = []
    for row, (text, one) in enumerate(zip(texts, translations, strict=True)):
        original = replace(
            one,
            source_pieces=tuple(reader.pieces(ids[row])),
            source_spans=tuple(reader.spans_after_tag(text, len(text) - len(one.source))),
            n_best=(),
            alignment_weights=None,
        )
        views.append(
            {
                part: replace(original, attention=weights_bts[row][:, mask_bs[row]])
                for part, weights_bts in found.items()
            }
        )
    return views


def _attention_weights(
    model: InferenceModel,
    source: Source,
    source_mask_bs: Bool[Tensor, "b s"],
    inputs_bt: Tensor,
    *,
    heads: bool,
) -> dict[str, Float[Tensor, "b t s"]]:
    """Return the attention weights of a model in forced decoding of a batch.

    Returns:
        the weights of the alignment as "", and those of each head
    """
    device = model.device
    memory, state = model.start(source.to(device), source_mask_bs.to(device))
    weights = []
    with model.recorded_heads() as recorded:
        for tokens_b in inputs_bt.T.to(device):
            prediction = model.step(tokens_b, memory, state)
            state = prediction.state
            weights.append(prediction.weights_ns)
    if any(one is None for one in weights):
        return {}
    found = {"": torch.stack([one for one in weights if one is not None], dim=1)}
    if heads:
        for layer, steps in enumerate(recorded, start=1):
            weights_bhts = torch.cat(steps, dim=2)[: len(inputs_bt)]
            for head in range(weights_bhts.size(1)):
                found[f"layer {layer} head {head + 1}"] = weights_bhts[:, head]
    return {name: weights_bts.float().cpu() for name, weights_bts in found.items()}
