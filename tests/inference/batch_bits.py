"""Comparison of a compiled model's results for a sentence in different batches, bit by bit."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from nmt.config.schema import ModelConfig
from nmt.inference.compile import InferenceModel, compile_model
from nmt.model.build import build_model
from nmt.model.interfaces import select_rows
from nmt.registry import DECODERS, MECHANISMS, ComponentConfig
from tests.model.small import wires

TOKENS = 203
SCORES = ("additive", "concat", "general", "dot", "scaled_dot", "cosine", "location")
MECHANISM_NAMES = ("local_m", "local_p", "soft", "hard", "multi_head")
OWN = 0  # replaced by the length of the compared sentence
BATCHES: dict[str, list[int]] = {
    "of equal length": [OWN],
    "of short ones": [1, 2, 3],
    "with a long one": [60],
    "of many": [3, 44, 1, 17, 9, OWN, 5, 30, 2, 12, 23, 7],
}
"""Lengths of the other sentences of a batch."""


def systems() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every score, mechanism, decoder and text encoder once, by name."""
    for score in SCORES:
        yield f"luong {score}", {"score": score}
    for mechanism in MECHANISM_NAMES:
        yield f"luong {mechanism}", {"attention": mechanism}
    for score in ("additive", "general"):
        options = {"score": score, "attention_options": {"coverage": True}}
        yield f"luong {score} coverage", options
    for score in ("additive", "general", "location"):
        yield f"luong {score} heads", {"score": score, "score_options": {"heads": 2}}
    for decoder in ("luong", "transformer"):
        yield f"{decoder} alignment", {"decoder": decoder, "alignment_size": 36}
    yield "luong local_p location", {"attention": "local_p", "score": "location"}
    for decoder in ("bahdanau", "gnmt", "lstmn", "transformer", "plain", "peeky"):
        yield decoder, {"decoder": decoder}
    yield "bahdanau large keys", {"decoder": "bahdanau", "key_scale": 40.0}
    cells = {"encoder_options": {"cell": "gru"}, "decoder_options": {"cell": "gru"}}
    yield "gru bahdanau", {"decoder": "bahdanau", **cells}
    for cell in ("lstm", "gru"):
        normalized: dict[str, Any] = {"cell": cell, "layer_norm": True, "zoneout": 0.1}
        parts = {"encoder_options": normalized, "decoder_options": normalized}
        yield f"{cell} with layer_norm bahdanau", {"decoder": "bahdanau", **parts}
    yield "gnmt gnmt", {"encoder": "gnmt", "decoder": "gnmt"}
    heads = {"score_options": {"heads": 2}}
    yield "rnmt_plus rnmt_plus", {"encoder": "rnmt_plus", "decoder": "rnmt_plus", **heads}
    yield "ntm ntm", {"encoder": "ntm", "decoder": "ntm"}
    yield "ntm bahdanau", {"encoder": "ntm", "decoder": "bahdanau"}
    yield "transformer bahdanau", {"encoder": "transformer", "decoder": "bahdanau"}
    yield "transformer transformer", {"encoder": "transformer", "decoder": "transformer"}
    deep = {"decoder_options": {"fusion": "deep"}}
    yield "lstmn lstmn deep", {"encoder": "lstmn", "decoder": "lstmn", **deep}


def compiled(
    width: int,
    *,
    encoder: str = "bilstm",
    decoder: str = "luong",
    attention: str = "global",
    score: str = "additive",
    encoder_options: dict[str, Any] | None = None,
    decoder_options: dict[str, Any] | None = None,
    attention_options: dict[str, Any] | None = None,
    score_options: dict[str, Any] | None = None,
    alignment_size: int | None = None,
    key_scale: float = 1.0,
    precision: str = "fp32",
) -> InferenceModel:
    """Compile an untrained model whose parts have one width.

    With a `key_scale` of 40, keys lie on both sides of the limit of the factored tanh.
    """
    layers = {"layers": 2, "heads": 2, "feed_forward_size": 2 * width}
    encoders: dict[str, dict[str, Any]] = {
        "bilstm": {"hidden_size": width // 2},
        "transformer": layers,
        "ntm": {"hidden_size": width, "slots": 16, "width": 8},
        "gnmt": {"hidden_size": width, "layers": 2},
        "rnmt_plus": {"hidden_size": width, "layers": 3},
    }
    sizes = layers if decoder == "transformer" else {"hidden_size": width}
    part = ComponentConfig(decoder, {**sizes, **(decoder_options or {})})
    mechanism = ComponentConfig(attention, attention_options or {})
    attends = wires(DECODERS, part, "attention")
    options = {**encoders.get(encoder, {"hidden_size": width}), **(encoder_options or {})}
    own_score = ComponentConfig(score, score_options or {})
    config = ModelConfig(
        embedding_size=width,
        encoder=ComponentConfig(encoder, options),
        decoder=part,
        attention=mechanism if attends else None,
        score=own_score if attends and wires(MECHANISMS, mechanism, "score") else None,
        alignment_size=alignment_size,
    )
    torch.manual_seed(3)
    model = build_model(config, TOKENS, TOKENS).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
        if key_scale != 1:
            key: Any = model.get_submodule("decoder.attention.score.key")
            key.weight.mul_(key_scale)
    return compile_model(model, precision=precision)


def _sentence(length: int) -> Tensor:
    return torch.randint(4, TOKENS, (length,), generator=torch.Generator().manual_seed(length))


@torch.inference_mode()
def results(
    model: InferenceModel, lengths: Sequence[int], row: int, hypotheses: int
) -> list[Tensor]:
    """Return log-probabilities and weights of one sentence of a batch in three steps of search."""
    sentences, longest = len(lengths), max(lengths)
    source_bs = torch.zeros(sentences, longest, dtype=torch.long)
    for number, length in enumerate(lengths):
        source_bs[number, :length] = _sentence(length)
    mask_bs = torch.arange(longest) < torch.tensor(lengths)[:, None]
    memory, state = model.start(source_bs, mask_bs)
    found = []
    for step in range(3):
        count = hypotheses if step else 1
        if step == 1:
            state = select_rows(state, torch.arange(sentences).repeat_interleave(count))
        if step == 2:
            # Hypotheses change their order.
            rows = torch.arange(sentences)[:, None] * count + torch.arange(count).flip(0)
            state = select_rows(state, rows.flatten())
        tokens_n = (torch.arange(count).repeat(sentences) * 7 + 5 * step + 4) % TOKENS
        prediction = model.step(tokens_n, memory, state)
        state, own = prediction.state, slice(row * count, (row + 1) * count)
        found.append(prediction.log_probs_nv[own])
        for weights_ns in (prediction.weights_ns, prediction.alignment_ns):
            if weights_ns is not None:
                found.append(weights_ns[own, : lengths[row]])
    return found


def differences(model: InferenceModel, length: int, hypotheses: int) -> list[str]:
    """Return the batches in which a sentence has other bits than alone."""
    alone, found = results(model, [length], 0, hypotheses), []
    for name, others in BATCHES.items():
        lengths = [other or length for other in others]
        row = len(lengths) // 2
        lengths.insert(row, length)
        among = results(model, lengths, row, hypotheses)
        if not all(map(torch.equal, alone, among)):
            found.append(f"{length} tokens, {hypotheses} hypotheses, in a batch {name}")
    return found
