"""Every option of every component changes the model, its training or its attention."""

from functools import cache
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor
from torch.autograd import backward

from nmt.component_spec import Option
from nmt.config.schema import ModelConfig
from nmt.errors import UserError
from nmt.model.build import build_model
from nmt.registry import DECODERS, ENCODERS, MECHANISMS, SCORES, ComponentConfig, Registry
from tests.model.small import PIECES, text
from tests.model.small_images import MAPS, PIXELS, random_images

SMALL = {
    "hidden_size": 8,
    "layers": 3,
    "heads": 2,
    "feed_forward_size": 16,
    "slots": 4,
    "width": 4,
    "channels": 2,
    "window": 1,
}
# Options that act together with another one only, which is an error without it.
NEEDS: dict[tuple[str, str], dict[str, object]] = {
    ("bilstm", "variational"): {"dropout": 0.3},
    ("transformer", "max_length"): {"positions": "learned"},
}
# Values where the first other one is the default spelled out.
VALUES: dict[tuple[str, str], object] = {
    ("bilstm", "merge"): "sum",
    ("transformer", "alignment_layer"): 1,
    ("hard", "expected"): 0.99,
}
FAMILIES: dict[str, Registry[Any]] = {
    "encoder": ENCODERS,
    "decoder": DECODERS,
    "attention": MECHANISMS,
    "score": SCORES,
}
IMAGES = {"convolution": PIXELS, "features": MAPS}
# Encoders and decoders that have a partner of the same name.
PAIRED = ("ntm", "gnmt", "rnmt_plus", "lstmn", "transformer")


def _small(family: str, name: str, **changes: object) -> ComponentConfig:
    options = FAMILIES[family].find(name).options
    # Elsewhere, `heads` is a choice.
    small = {
        key: value
        for key, value in SMALL.items()
        if key in options and isinstance(options[key].default, int | None)
    }
    return ComponentConfig(name, {**small, **changes})


def _others(option: Option, usual: object) -> list[Any]:
    """Return other values than the default and the usual one."""
    schema = TypeAdapter(option.annotation).json_schema()
    values: list[Any] = []
    for branch in schema.get("anyOf", [schema]):
        values += branch.get("enum", [])
        kinds: dict[str | None, list[Any]] = {
            "boolean": [False, True],
            "integer": [4, 2, 8],
            "number": [0.3, 0.9],
        }
        values += kinds.get(branch.get("type"), [])
    return [value for value in values if value not in (option.default, usual)]


def _options() -> list[Any]:
    return [
        pytest.param(family, name, option, id=f"{family}-{name}-{option}")
        for family, registry in FAMILIES.items()
        for name, spec in registry.specs().items()
        for option in spec.options
    ]


def _model(family: str, component: ComponentConfig) -> ModelConfig:
    names = {"encoder": "bilstm", "decoder": "bahdanau"}
    if component.type in PAIRED:
        names = dict.fromkeys(names, component.type)
    parts: dict[str, Any] = {one: _small(one, name) for one, name in names.items()}
    if component.type not in PAIRED:  # annotations as wide as queries
        parts["encoder"] = _small("encoder", "bilstm", hidden_size=4)
    return ModelConfig(embedding_size=8, **{**parts, family: component})


def _behavior(model: ModelConfig) -> list[Any]:
    return _cached_behavior(model.model_dump_json())


# Options of a component are compared with the same usual values.
@cache
def _cached_behavior(json: str) -> list[Any]:
    """Return losses and parameters of two updates, and predictions with attention weights."""
    model = ModelConfig.model_validate_json(json)
    images = IMAGES.get(model.encoder.type)
    source, mask_bs, target_bt, target_mask_bt = random_images(images) if images else text()
    source = source.float() if source.is_floating_point() else source
    torch.manual_seed(3)
    built = build_model(model, images or PIECES, PIECES)
    behavior: list[Any] = []
    for _ in range(2):
        outputs_btd, auxiliary, *_ = built(source, mask_bs, target_bt)
        log_probs_btv = built.output_layer(outputs_btd).log_softmax(-1)
        nll_bt = -log_probs_btv.gather(2, target_bt[:, :, None])[:, :, 0] * target_mask_bt
        loss = nll_bt.sum()
        extra = built.decoder.auxiliary_loss(auxiliary, nll_bt.detach(), target_mask_bt)
        loss = loss if extra is None else loss + extra
        built.zero_grad()
        backward(loss)
        with torch.no_grad():
            for parameter in built.parameters():
                if parameter.grad is not None:
                    parameter.sub_(0.5 * parameter.grad)
        behavior.append(loss.item())
    behavior += [parameter.detach().flatten().tolist() for parameter in built.parameters()]
    built.eval()
    with torch.no_grad():
        memory, state = built.start(source, mask_bs)
        for tokens_b in target_bt.unbind(1):
            prediction = built.step(tokens_b, memory, state)
            state = prediction.state
            behavior += [prediction.log_probs_nv.tolist(), _listed(prediction.weights_ns)]
    return behavior


def _listed(tensor: Tensor | None) -> object:
    return None if tensor is None else tensor.tolist()


@pytest.mark.parametrize(("family", "name", "option"), _options())
def test_every_option_of_a_component_acts(family: str, name: str, option: str) -> None:
    usual = _small(family, name, **NEEDS.get((name, option), {}))
    spec = FAMILIES[family].find(name).options[option]
    given = VALUES.get((name, option))
    for other in [given] if given else _others(spec, usual.options.get(option)):
        changed = ComponentConfig(name, {**usual.options, option: other})
        try:
            behavior = _behavior(_model(family, changed))
        except UserError:  # does not fit these sizes
            continue
        assert behavior != _behavior(_model(family, usual))
        return
    pytest.fail("no other value fits")
