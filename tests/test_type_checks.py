"""The decorator of `type_checks` refuses all that jaxtyping's own refuses."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from nmt.model.attention.score import tanh_energies
from tests.type_checks import jaxtyped


@jaxtyped
def _first(left_bs: Float[Tensor, "b s"], right_bs: Any) -> Float[Tensor, "b s"]:
    return right_bs if right_bs is not None else left_bs


@jaxtyped
@dataclass
class _Pair:
    left_bs: Float[Tensor, "b s"]
    right_bs: Float[Tensor, "b s"]


@jaxtyped
def _length(text: str) -> int:
    return text  # type: ignore[return-value]


def test_wrong_types_of_arguments_and_results_are_refused() -> None:
    with pytest.raises(TypeError, match="parameter text=1 violates"):
        _length(1)
    with pytest.raises(TypeError, match="return 'a' violates"):
        _length("a")


def test_axes_of_equal_names_have_equal_sizes() -> None:
    _first(torch.zeros(2, 3), torch.zeros(2, 3))
    for wrong in (torch.zeros(2, 4), torch.zeros(2, 3, 1), torch.zeros(2, 3, dtype=torch.long)):
        with pytest.raises(TypeError, match=r"_first\(\) return"):
            _first(torch.zeros(2, 3), wrong)
    with pytest.raises(TypeError, match="right_bs"):
        _Pair(torch.zeros(2, 3), torch.zeros(3, 2))


def test_functions_of_nmt_are_checked() -> None:
    keys_bsa = torch.zeros(1, 3, 2)
    assert tanh_energies(torch.zeros(1, 1, 2), keys_bsa, torch.zeros(2)).shape == (1, 1, 3)
    with pytest.raises(TypeError, match="v_a"):
        tanh_energies(torch.zeros(1, 1, 2), keys_bsa, torch.zeros(1))
