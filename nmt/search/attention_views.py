"""Attention of each model of an ensemble, and of each head, while it reads found translations."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nmt.data.batch import Source
from nmt.inference.compile import InferenceModel
from nmt.search.source_reader import SourceReader
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
) -> list[dict[str, Translation]]:
    """Return copies of translations with the attention of each model, by the name of the model.

    Args:
        models: models and their readers by name
        texts: the source lines, with their tags
        translations: their translations; an empty one has no copies
        token_ids: id of each token of the target vocabulary
        bos: token before the first one
        heads: whether to add a copy for each head of each layer of multi-head attention
    """
    views: list[dict[str, Translation]] = [{} for _ in translations]
    # Sentences of one batch have the same number of steps, so its rows remain the same.
    steps = [0 if one.attention is None else one.attention.size(0) for one in translations]
    order = sorted((row for row, count in enumerate(steps) if count), key=steps.__getitem__)
    for count, group in groupby(order, key=steps.__getitem__):
        same = list(group)
        for start in range(0, len(same), BATCH_SENTENCES):
            rows = same[start : start + BATCH_SENTENCES]
            inputs = [[bos, *map(token_ids.__getitem__, translations[r].pieces)] for r in rows]
            inputs_bt = torch.tensor([own[:count] for own in inputs])
            for name, (model, reader) in models.items():
                ids = reader.encode([texts[r] for r in rows])
                batch = reader.batch([texts[r] for r in rows], ids, [""] * len(rows))
                found = _read(model, *batch, inputs_bt, heads=heads)
                for number, row in enumerate(rows):
                    one, tag = translations[row], len(texts[row]) - len(translations[row].source)
                    original = replace(
                        one,
                        source_pieces=tuple(reader.pieces(ids[number])),
                        source_spans=tuple(reader.spans_after_tag(texts[row], tag)),
                        n_best=(),
                    )
                    for part, weights_bts in found.items():
                        weights_ts = weights_bts[number][:, batch[1][number]]
                        view = " ".join(filter(None, (name, part)))
                        views[row][view] = replace(original, attention=weights_ts)
    return views


def _read(
    model: InferenceModel,
    source: Source,
    source_mask_bs: Bool[Tensor, "b s"],
    inputs_bt: Tensor,
    *,
    heads: bool,
) -> dict[str, Float[Tensor, "b t s"]]:
    """Return the weights by which a model attends while it reads tokens.

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
