"""Small models of all registered components, so that a new component is tested by existing."""

from collections.abc import Iterator
from functools import cache
from itertools import combinations
from typing import Any, NamedTuple

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from nmt.component_spec import ComponentSpec, Option
from nmt.config.schema import ModelConfig
from nmt.data.images import ImageSize
from nmt.errors import UserError
from nmt.inference.compile import InferenceModel
from nmt.model.build import build_model
from nmt.model.interfaces import State
from nmt.model.seq2seq import Seq2Seq
from nmt.registry import DECODERS, ENCODERS, MECHANISMS, SCORES, ComponentConfig, Registry

PIECES, WIDTH = 11, 4
# Instead of larger numbers. Three heads divide the width of an embedding, and of sixteen rectified
# units at least one is active.
COUNTS = {"layers": 2, "heads": 3, "feed_forward_size": 16}
ENCODER = ComponentConfig("bilstm", {"hidden_size": WIDTH // 2, "layers": 2})
MACHINE = ComponentConfig("ntm", {"hidden_size": WIDTH, "slots": WIDTH, "width": WIDTH})
READER = ComponentConfig("lstmn", {"hidden_size": WIDTH // 2, "layers": 2, "direction": "both"})
BILINEAR, ADDITIVE = ComponentConfig("general"), ComponentConfig("additive")
GLOBAL = ComponentConfig("global")


class Text(NamedTuple):
    """Pairs of unequal length; the token of padding is 0."""

    source_bs: Tensor
    source_mask_bs: Tensor
    target_bt: Tensor
    target_mask_bt: Tensor


def text() -> Text:
    """Return three pairs, of which one has a single token on each side."""
    source_mask_bs = torch.arange(6) < torch.tensor([[6], [3], [1]])
    target_mask_bt = torch.arange(4) < torch.tensor([[4], [3], [1]])
    generator = torch.Generator().manual_seed(5)
    source_bs = torch.randint(1, PIECES, (3, 6), generator=generator) * source_mask_bs
    target_bt = torch.randint(1, PIECES, (3, 4), generator=generator) * target_mask_bt
    return Text(source_bs, source_mask_bs, target_bt, target_mask_bt)


def choices(registry: Registry[Any], changes: int = 1) -> Iterator[ComponentConfig]:
    """Yield each component in small sizes, then with up to `changes` other options."""
    for part in registry.specs().values():
        small = {name: WIDTH for name, option in part.options.items() if _is_size(option)}
        small |= {name: COUNTS[name] for name in part.options if _is_count(name, part)}
        changed = [
            (name, value)
            for name, option in part.options.items()
            for value in _others(name, option)
            if not _is_count(name, part)
        ]
        for number in range(changes + 1):
            for chosen in combinations(changed, number):
                if len({name for name, _ in chosen}) == number:
                    yield ComponentConfig(part.name, {**small, **dict(chosen)})


def _is_size(option: Option) -> bool:
    return type(option.default) is int and option.default >= 16


def _is_count(name: str, part: ComponentSpec) -> bool:
    default = part.options[name].default
    return name in COUNTS and type(default) is int and default > WIDTH


def _others(name: str, option: Option) -> list[Any]:
    """Return other values of a Literal, a boolean or an integer; none for a float."""
    schema = TypeAdapter(option.annotation).json_schema()
    values: list[Any] = []
    for branch in schema.get("anyOf", [schema]):
        values += branch.get("enum", [])
        if branch.get("type") == "boolean":
            values += [False, True]
        if branch.get("type") == "integer":
            # No sentence of `text` is longer.
            values.append(8 if name == "max_length" else 2 if option.default == 1 else 3)
    return [value for value in values if value != option.default]


def config(
    *,
    encoder: ComponentConfig = ENCODER,
    decoder: ComponentConfig,
    attention: ComponentConfig = GLOBAL,
    score: ComponentConfig = BILINEAR,
    **options: Any,
) -> ModelConfig:
    """Return a model section; attention and score are left out where nothing uses them."""
    attends = wires(DECODERS, decoder, "attention")
    scores = attends and wires(MECHANISMS, attention, "score")
    return ModelConfig(
        embedding_size=3,
        encoder=encoder,
        decoder=decoder,
        attention=attention if attends else None,
        score=score if scores else None,
        **options,
    )


def fits(model: ModelConfig) -> bool:
    """Return whether these components and options fit together."""
    return _fits(model.model_dump_json())


@cache
def _fits(model: str) -> bool:
    try:
        # Allocating such small parameters is faster than building without memory.
        build_model(ModelConfig.model_validate_json(model), PIECES, PIECES)
    except UserError:
        return False
    return True


def wires(registry: Registry[Any], choice: ComponentConfig, name: str) -> bool:
    """Return whether a component has an injected parameter, such as attention or score."""
    part: ComponentSpec = registry.find(choice.type)
    return name in part.injected


def assemblies(
    *, decoder_changes: int = 1, scores: list[ComponentConfig] | None = None
) -> list[Any]:
    """Return every decoder x mechanism x score that fits, as parameters of a test.

    Options are changed in one of the three at a time, those of a decoder only with the usual
    attention. The encoder is the usual one, or one with an external memory or a memory tape if the
    decoder requires it.
    """
    found = []
    plain = [part for family in (DECODERS, MECHANISMS, SCORES) for part in choices(family, 0)]
    for decoder in choices(DECODERS, decoder_changes):
        looks = wires(DECODERS, decoder, "attention")
        varied = looks and decoder in plain
        for attention in list(choices(MECHANISMS)) if varied else [GLOBAL]:
            for score in _scores(attention, scores) if looks else [BILINEAR]:
                if sum(part not in plain for part in (decoder, attention, score)) > 1:
                    continue
                model = _behind_an_encoder(decoder=decoder, attention=attention, score=score)
                if model is not None:
                    name = "-".join(map(name_of, (decoder, attention, score)))
                    found.append(pytest.param(model, id=name))
    return found


def _behind_an_encoder(**parts: ComponentConfig) -> ModelConfig | None:
    """Return the configuration with the first encoder that fits, or None."""
    models = (config(encoder=encoder, **parts) for encoder in (ENCODER, MACHINE, READER))
    return next(filter(fits, models), None)


def _scores(
    attention: ComponentConfig, scores: list[ComponentConfig] | None
) -> list[ComponentConfig]:
    if not wires(MECHANISMS, attention, "score"):
        return [BILINEAR]
    return list(choices(SCORES)) if scores is None else scores


def every_part_once() -> list[Any]:
    """Return each decoder, mechanism and score in one model, as parameters of a quick test."""
    luong = {"decoder": ComponentConfig("luong", {"hidden_size": WIDTH})}
    parts: list[dict[str, ComponentConfig]] = [{"decoder": one} for one in choices(DECODERS, 0)]
    parts += [{**luong, "attention": one} for one in choices(MECHANISMS, 0)]
    parts += [{**luong, "score": one} for one in choices(SCORES, 0)]
    found = []
    for some in parts:
        model = _behind_an_encoder(**{"score": ADDITIVE, **some})
        found.append(pytest.param(model, id="-".join(part.type for part in some.values())))
    return found


def encoders(changes: int = 2) -> list[Any]:
    """Return every encoder with up to so many options changed, as parameters of a test."""
    decoder = ComponentConfig("bahdanau", {"hidden_size": WIDTH})
    models = [(config(encoder=e, decoder=decoder), name_of(e)) for e in choices(ENCODERS, changes)]
    return [pytest.param(model, id=name) for model, name in models if fits(model)]


def quick_and_slow(quick: list[Any], others: list[Any]) -> list[Any]:
    """Return parameters of a test: the quick ones, then the others, marked as slow."""
    names = {one.id for one in quick}
    return quick + [
        pytest.param(*one.values, id=one.id, marks=pytest.mark.slow)
        for one in others
        if one.id not in names
    ]


def name_of(choice: ComponentConfig) -> str:
    """Format a component and its options as the name of a test."""
    options = ",".join(f"{k}={v}" for k, v in choice.options.items() if v != WIDTH)
    return f"{choice.type}({options})" if options else choice.type


def build(
    model: ModelConfig,
    dtype: torch.dtype = torch.float64,
    seed: int = 1,
    source: int | ImageSize = PIECES,
) -> Seq2Seq:
    """Build a model in evaluation mode with random parameters, so that none is zero."""
    torch.manual_seed(seed)
    built = build_model(model, source, PIECES).to(dtype).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_(std=0.4)
    return built


def outputs_by_steps(model: Seq2Seq, given: Text) -> Tensor:
    """Compute the outputs of `forward` by one call of `step` per target position."""
    encoded = model.encode(given.source_bs, given.source_mask_bs)
    memory, state = model.decoder.start(encoded)
    outputs = []
    for embedded_bm in model.target_embedding(given.target_bt).unbind(dim=1):
        output = model.decoder.step(embedded_bm, memory, state)
        state = output.state
        outputs.append(output.output_nd)
    return torch.stack(outputs, dim=1)


def follow(
    model: Seq2Seq | InferenceModel, given: Text, memory: Any, state: State
) -> tuple[list[Tensor], list[Any]]:
    """Return log-probabilities and attention weights along given targets, by target position."""
    log_probs, weights = [], []
    for tokens_n in given.target_bt.unbind(dim=1):
        prediction = model.step(tokens_n, memory, state)
        state = prediction.state
        log_probs.append(prediction.log_probs_nv)
        weights.append(prediction.weights_ns)
    return log_probs, weights


def gradients(model: Seq2Seq) -> dict[str, Tensor]:
    """Return and reset the gradients of parameters that have one, by name."""
    found = {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    assert found
    model.zero_grad()
    return found
