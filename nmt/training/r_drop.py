"""R-Drop: two forward passes whose dropout differs have to agree. Liang et al. 2021."""

from jaxtyping import Float
from torch import Tensor


def symmetric_divergence(
    logits_rv: Float[Tensor, "r v"],
) -> tuple[Float[Tensor, " pairs"], Float[Tensor, "r v"]]:
    """Compute the divergence of both distributions of each pair of rows, and its gradient.

        D = ½ KL(p‖q) + ½ KL(q‖p)                              Liang et al. 2021, equation 2
        ∂D/∂z_p = ½ (p (log p - log q - KL(p‖q)) + p - q),     and with p and q exchanged for z_q

    Args:
        logits_rv: logits; z_p in even rows, z_q in odd rows

    Returns:
        D of each pair, and the gradient of its sum with respect to the logits
    """
    log_probs_xpv = logits_rv.view(-1, 2, logits_rv.size(1)).log_softmax(dim=-1)
    # Row 0 of a pair is p relative to q, row 1 is q relative to p.
    ratios_xpv = log_probs_xpv - log_probs_xpv.flip(1)
    probs_xpv = log_probs_xpv.exp()
    divergence_xp1 = (probs_xpv * ratios_xpv).sum(dim=-1, keepdim=True)
    d_logits_xpv = probs_xpv * (ratios_xpv - divergence_xp1) + probs_xpv - probs_xpv.flip(1)
    return divergence_xp1.mean(dim=(1, 2)), d_logits_xpv.div_(2).flatten(0, 1)
