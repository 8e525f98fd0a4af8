"""Contract of all encoders of images."""

import pytest
import torch
from torch import Tensor
from torch.autograd import backward, gradcheck

from nmt.config.schema import ModelConfig
from nmt.data.images import ImageSize
from nmt.inference.linear import prepack_encoder, supports_prepacking
from nmt.model.interfaces import Encoder
from tests.model.small import build, gradients, outputs_by_steps
from tests.model.small_images import image_encoders, random_images

every_encoder = pytest.mark.parametrize(("model", "sizes"), image_encoders())


@every_encoder
def test_final_state_is_the_mean_annotation(model: ModelConfig, sizes: ImageSize) -> None:
    built, given = build(model, source=sizes), random_images(sizes)
    encoded = built.encode(given.source_bs, given.source_mask_bs)
    assert built.encoder.grid is not None
    rows, columns = built.encoder.grid
    assert encoded.states_bse.shape == (3, rows * columns, built.encoder.sizes.annotation)
    assert encoded.mask_bs.shape == (3, rows * columns) and encoded.mask_bs.all()
    torch.testing.assert_close(encoded.final_state_bx, encoded.states_bse.sum(1) / (rows * columns))
    assert encoded.final_state_bx.size(1) == built.encoder.sizes.final_state
    assert encoded.layer_states.hidden_ble.size(1) == built.encoder.sizes.layers == 0


@every_encoder
def test_teacher_forcing_equals_steps_for_images(model: ModelConfig, sizes: ImageSize) -> None:
    built, given = build(model, source=sizes), random_images(sizes)
    towards_btd = torch.randn(3, 4, built.decoder.output_size, dtype=torch.float64)
    at_once_btd = built(given.source_bs, given.source_mask_bs, given.target_bt).output_btd
    backward((at_once_btd * towards_btd).sum())
    at_once = gradients(built)
    stepwise_btd = outputs_by_steps(built, given)
    backward((stepwise_btd * towards_btd).sum())
    torch.testing.assert_close(at_once_btd, stepwise_btd, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(at_once, gradients(built), rtol=1e-8, atol=1e-11)


@every_encoder
def test_every_parameter_receives_a_gradient_from_images(
    model: ModelConfig, sizes: ImageSize
) -> None:
    built, given = build(model, source=sizes).train(), random_images(sizes)
    outputs_btd = built(given.source_bs, given.source_mask_bs, given.target_bt).output_btd
    log_probs_btv = built.output_layer(outputs_btd).log_softmax(dim=-1)
    backward(-log_probs_btv[given.target_mask_bt][:, 7].sum())
    found = gradients(built)
    names = [name for name, _ in built.named_parameters()]
    assert [name for name in names if name not in found or found[name].abs().max() <= 1e-9] == []


@every_encoder
def test_annotations_do_not_depend_on_the_batch(model: ModelConfig, sizes: ImageSize) -> None:
    built, given = build(model, source=sizes), random_images(sizes)
    together_bse = built.encode(given.source_bs, given.source_mask_bs).states_bse
    for row in range(3):
        some = slice(row, row + 1)
        alone_1se = built.encode(given.source_bs[some], given.source_mask_bs[some]).states_bse
        torch.testing.assert_close(alone_1se, together_bse[some], rtol=1e-10, atol=1e-12)


@every_encoder
def test_bits_do_not_depend_on_the_number_of_images(model: ModelConfig, sizes: ImageSize) -> None:
    if not supports_prepacking():
        pytest.skip("torch cannot prepack weights on this CPU, so rows may round differently")
    built, given = build(model, torch.float32, source=sizes), random_images(sizes)
    prepack_encoder(built.encoder)
    source = given.source_bs if given.source_bs.dtype == torch.uint8 else given.source_bs.float()
    many, mask_bs = source.repeat(3, *[1] * (source.ndim - 1)), given.source_mask_bs.repeat(3, 1)
    with torch.inference_mode():
        nine_bse = built.encode(many, mask_bs).states_bse
        for count in (2, 4, 7):
            assert torch.equal(
                built.encode(many[:count], mask_bs[:count]).states_bse, nine_bse[:count]
            )


def _everything(encoder: Encoder, source: Tensor) -> tuple[Tensor, ...]:
    encoded = encoder(source, torch.ones(len(source), 1, dtype=torch.bool))
    return encoded.states_bse, encoded.final_state_bx


@every_encoder
def test_image_encoder_gradients(model: ModelConfig, sizes: ImageSize) -> None:
    built = build(model, source=sizes)
    source = random_images(sizes).source_bs[:1].double().requires_grad_()

    def states(values: Tensor) -> tuple[Tensor, ...]:
        return _everything(built.encoder, values)

    assert gradcheck(states, (source,), eps=1e-4, fast_mode=True)


@every_encoder
def test_bfloat16_is_close_to_float32_for_images(model: ModelConfig, sizes: ImageSize) -> None:
    built, given = build(model, torch.float32, source=sizes), random_images(sizes)
    source = given.source_bs if given.source_bs.dtype == torch.uint8 else given.source_bs.float()
    exact = built(source, given.source_mask_bs, given.target_bt).output_btd
    with torch.autocast("cpu", torch.bfloat16):
        near = built(source, given.source_mask_bs, given.target_bt).output_btd
    assert near.isfinite().all()
    torch.testing.assert_close(
        near.float(), exact, rtol=0.1, atol=0.1 * float(exact.detach().abs().max())
    )


@every_encoder
def test_annotation_dropout_only_in_training(model: ModelConfig, sizes: ImageSize) -> None:
    options = {**model.encoder.options, "dropout": 0.5}
    dropping = model.model_copy(
        update={"encoder": type(model.encoder)(model.encoder.type, options)}
    )
    plain, built = build(model, source=sizes), build(dropping, source=sizes)
    source = random_images(sizes).source_bs
    assert torch.equal(_everything(built.encoder, source)[0], _everything(plain.encoder, source)[0])
    dropped_bse, _ = _everything(built.encoder.train(), source)
    kept_bse = _everything(plain.encoder, source)[0]
    share = float((dropped_bse == 0).double().mean())
    assert 0.2 < share < 0.8
    torch.testing.assert_close(dropped_bse, torch.where(dropped_bse == 0, 0.0, 2 * kept_bse))
