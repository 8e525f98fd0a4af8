"""The time loop over a known target: plain, as autograd writes it, and fused."""
