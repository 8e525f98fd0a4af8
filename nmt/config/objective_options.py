"""Options of training objectives besides the cross entropy."""

from typing import Annotated, Literal

from pydantic import Field

from nmt.component_spec import PositiveFloat
from nmt.config.sections import Section


class RDropConfig(Section):
    """Divergence of two passes with different dropout, added to the loss. Liang et al. 2021."""

    weight: PositiveFloat = 5.0
    """factor α of the divergence, relative to the sum of the losses of both passes"""


class MinimumRiskConfig(Section):
    """Expected metric of sampled translations instead of cross entropy. Shen et al. 2016."""

    metric: Literal["bleu", "chrf"] = "bleu"
    """metric of a sentence, whose difference from 100 % is the risk; bleu is smoothed"""
    samples: Annotated[int, Field(ge=1, le=1000)] = 20
    """samples per sentence; its candidates are the distinct ones and the reference"""
    sharpness: PositiveFloat = 0.005
    """exponent α of the model's probabilities in the distribution of the candidates"""
