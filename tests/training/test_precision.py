"""Choice of a number format."""

import pytest
import torch

from nmt.training.precision import Precision


@pytest.mark.parametrize(("major", "name"), [(7, "fp16"), (8, "bf16"), (9, "bf16")])
def test_auto_takes_bf16_only_where_a_gpu_computes_in_it(
    major: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older GPUs emulate it, which torch calls supported as well."""
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: including_emulation or major >= 8,
    )
    monkeypatch.setattr(torch.amp, "GradScaler", lambda *_, **__: None)
    assert Precision("auto", torch.device("cuda")).name == name
