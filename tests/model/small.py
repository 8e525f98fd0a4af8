"""Small models of all registered components, so that a new component is tested by existing."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations, product
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
    """Yield each component in small sizes, then with `changes` (0 or 1) other options."""
    for part in registry.specs().values():
        yield _with(part, {})
        for name, values in _other_values(part).items() if changes else ():
            yield from (_with(part, {name: value}) for value in values)


def option_pairs(
    part: ComponentSpec, fits: Callable[[ComponentConfig], bool]
) -> list[ComponentConfig]:
    """Return settings of a component in which every pair of option values that fits occurs."""
    axes = {name: [_usual(part, name), *values] for name, values in _other_values(part).items()}
    rows: list[dict[str, Any]] = []  # options without a value in a row are free
    for names in (*combinations(axes, 1), *combinations(axes, 2)):
        for values in product(*map(axes.__getitem__, names)):
            pair = dict(zip(names, values, strict=True))
            if any(pair.items() <= row.items() for row in rows):
                continue
            free = (r for r in rows if all(r.get(name, v) == v for name, v in pair.items()))
            row = next((r for r in free if fits(_with(part, {**r, **pair}))), None)
            if row is not None:
                row.update(pair)
            elif fits(_with(part, pair)):
                rows.append(pair)
    return [_with(part, row) for row in rows] or [_with(part, {})]


def _with(part: ComponentSpec, values: dict[str, Any]) -> ComponentConfig:
    small = {name: _usual(part, name) for name in part.options}
    options = {**small, **values}
    defaults = {name: option.default for name, option in part.options.items()}
    return ComponentConfig(part.name, {k: v for k, v in options.items() if v != defaults[k]})


def _usual(part: ComponentSpec, name: str) -> Any:
    """Return a small value for a size or a count, else the default."""
    if _is_count(name, part):
        return COUNTS[name]
    return WIDTH if _is_size(part.options[name]) else part.options[name].default


def _other_values(part: ComponentSpec) -> dict[str, list[Any]]:
    """Return values other than the default of each option that is not a count."""
    varied = {n: _others(n, option) for n, option in part.options.items()}
    return {n: values for n, values in varied.items() if values and not _is_count(n, part)}


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


@cache
def models() -> list[Any]:
    """Return models of all components in pairs, as parameters of a test.

    Every decoder, mechanism and score occurs in one quick model. The slow ones add, where they fit
    together: every pair of components of two families, every option of a mechanism with every
    decoder, every option of a score, and every pair of options of a decoder. The encoder is the
    usual one, or one with an external memory or a memory tape if the decoder requires it.
    """
    quick = every_part_once()
    covered = set().union(*(_combinations(one.values[0]) for one in quick))
    slow = []
    for parts in _candidates():
        if wanted := _combinations(config(**parts)) - covered:
            model = _behind_an_encoder(**parts)
            if model is not None:
                covered |= wanted
                used = (model.decoder, model.attention, model.score)
                name = "-".join(
                    name_of(part) for part, one in zip(parts.values(), used, strict=True) if one
                )
                slow.append(pytest.param(model, id=name, marks=pytest.mark.slow))
    return quick + slow


def _combinations(model: ModelConfig) -> set[tuple[str, ...]]:
    """Return the components and the pairs of them that count as tested by a model."""
    decoder, attention, score = (
        (part.type, name_of(part)) if part else ("", "")
        for part in (model.decoder, model.attention, model.score)
    )
    pairs = {(decoder[0], attention[1]), (decoder[0], score[0]), (attention[0], score[0])}
    return pairs | {(decoder[1],), (attention[1],), (score[1],)}


def _candidates() -> Iterator[dict[str, ComponentConfig]]:
    mechanisms, scores = list(choices(MECHANISMS)), list(choices(SCORES))
    for shift, part in enumerate(DECODERS.specs().values()):
        decoders = option_pairs(part, lambda one: _behind_an_encoder(decoder=one) is not None)
        # Diagonals meet most pairs in few models.
        for number in range(max(len(decoders), len(mechanisms), len(scores))):
            yield {
                "decoder": decoders[number % len(decoders)],
                "attention": mechanisms[number % len(mechanisms)],
                "score": scores[(number + shift) % len(scores)],
            }
        for decoder in decoders:
            yield {"decoder": decoder, "attention": GLOBAL, "score": ADDITIVE}
    for decoder, attention, score in product(choices(DECODERS, 0), mechanisms, scores):
        yield {"decoder": decoder, "attention": attention, "score": score}


def _behind_an_encoder(**parts: ComponentConfig) -> ModelConfig | None:
    """Return the configuration with the first encoder that fits, or None."""
    models = (config(encoder=encoder, **parts) for encoder in (ENCODER, MACHINE, READER))
    return next(filter(fits, models), None)


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


@cache
def encoders() -> list[Any]:
    """Return every encoder, and slow ones with every pair of options, as parameters of a test."""

    def model(encoder: ComponentConfig) -> ModelConfig:
        return config(encoder=encoder, decoder=ComponentConfig("bahdanau", {"hidden_size": WIDTH}))

    usual = [one for one in choices(ENCODERS, 0) if fits(model(one))]
    paired = [
        one
        for part in ENCODERS.specs().values()
        for one in option_pairs(part, lambda one: fits(model(one)))
        if one not in usual and fits(model(one))
    ]
    quick = [pytest.param(model(one), id=name_of(one)) for one in usual]
    return quick + [
        pytest.param(model(one), id=name_of(one), marks=pytest.mark.slow) for one in paired
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
